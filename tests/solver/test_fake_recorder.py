"""The stand-in for CUDA graphs is as strict as they are."""

import time

import numpy as np
import pytest
import torch
from fake_recorder import FakeRecorder
from torch import Tensor


class Frozen:
    """Functions that do what a graph cannot, or gets wrong."""

    def __init__(self) -> None:
        self.tensor, self.number = torch.ones(3), 1.0

    def reads(self) -> float:
        return self.tensor.sum().item()

    def looks_at_the_clock(self) -> Tensor:
        return self.tensor + time.perf_counter()

    def takes_a_number(self) -> Tensor:
        self.number += 1
        return self.tensor * self.number

    def takes_another_tensor(self) -> Tensor:
        return self.tensor + torch.from_numpy(np.ones(3, np.float32))

    def does_more(self) -> Tensor:
        self.number += 1
        return self.tensor + 1 if self.number < 3 else (self.tensor + 1) * 2


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("reads", RuntimeError, "not permitted"),
        ("looks_at_the_clock", AssertionError, "clock"),
        ("takes_a_number", AssertionError, "not what was recorded"),
        ("takes_another_tensor", AssertionError, "from outside"),
        ("does_more", AssertionError, "not what was recorded"),
    ],
)
def test_the_stand_in_is_strict(name: str, error: type[Exception], text: str) -> None:
    """What a CUDA graph refuses or would get wrong fails on the CPU."""
    with pytest.raises(error, match=text):
        FakeRecorder().record(getattr(Frozen(), name))


def test_the_stand_in_overwrites() -> None:
    """A recording runs the function once; each replay reads the tensors anew, and writes into the same result."""
    total, batch = torch.zeros(2), torch.ones(2)
    recording = FakeRecorder().record(lambda: total.add_(batch) * 2)
    result = recording.result
    assert result.tolist() == [2.0, 2.0]
    batch.fill_(2)
    for expected in (6.0, 10.0):
        assert recording.replay is not None and recording.replay() is result
        assert result.tolist() == [expected, expected]
