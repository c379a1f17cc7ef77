"""Who follows operations is known to those who would look at values."""

import pytest
import torch
from torch import Tensor

from netspec.tracing import is_traced, recorded


def test_a_recorder_is_known() -> None:
    """Inside of the context alone, however it ends."""
    with pytest.raises(ValueError, match="ended"), recorded():
        assert is_traced()
        raise ValueError("ended")
    assert not is_traced()


def test_the_compiler_is_known() -> None:
    """What PyTorch compiles does not look."""

    def function(x: Tensor) -> Tensor:
        return x + (2 if is_traced() else 1)

    assert function(torch.zeros(())) == 1
    assert torch.compile(function, backend="eager")(torch.zeros(())) == 2
