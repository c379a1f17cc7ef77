"""Labels are classes, whoever looks."""

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from netspec.errors import DataError
from netspec.layers.labels import NO_LABEL, class_numbers
from netspec.tracing import recorded


@pytest.fixture(params=["plain", "recorded"])
def way(request: pytest.FixtureRequest) -> tuple[AbstractContextManager[None], type[Exception]]:
    """How labels are read, and what a wrong one is then: a recorder's replay runs once more, for a DataError."""
    return (nullcontext(), DataError) if request.param == "plain" else (recorded(), RuntimeError)


@pytest.mark.parametrize(
    ("labels", "ignored", "is_right"),
    [
        ([0, 4, 2], NO_LABEL, True),
        ([0, 5, 2], NO_LABEL, False),
        ([-1, 4, 2], NO_LABEL, False),
        ([0, 255, 2], 255, True),
        ([-1, -1, -1], -1, True),
        ([-1, 255, 2], -1, False),
    ],
)
def test_a_label_is_a_class_or_ignored(
    way: tuple[AbstractContextManager[None], type[Exception]], labels: list[int], ignored: int, is_right: bool
) -> None:
    """Five classes have the numbers 0 to 4; the label to ignore may be any number."""
    context, error = way
    expected = nullcontext() if is_right else pytest.raises(error, match="a label is none of the classes 0 to 4")
    with context, expected:
        numbers = class_numbers(torch.tensor(labels, dtype=torch.float32), torch.zeros(3, 5), 1, "loss", ignored)
        assert numbers.tolist() == labels
