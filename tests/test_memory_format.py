"""The memory format of a net's inputs."""

import pytest
import torch

from netspec.memory_format import fastest_format
from netspec.schema.netspec_pb2 import Precision


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        ("cpu", Precision.FP32, torch.channels_last),
        ("cpu", Precision.BF16, torch.channels_last),
        ("cuda", Precision.FP32, torch.contiguous_format),
        ("cuda", Precision.TF32, torch.contiguous_format),
        ("cuda", Precision.BF16, torch.channels_last),
        ("cuda", Precision.FP16, torch.channels_last),
    ],
)
def test_the_fastest_memory_format(device: str, precision: Precision.Kind, expected: torch.memory_format) -> None:
    """Channels last on the CPU, and on GPUs in 16 bits."""
    assert fastest_format(torch.device(device), precision) == expected
