"""Convolution and ReLU in one kernel: what equality on finite numbers leaves out."""

import pytest
import torch
from google.protobuf import text_format

from netspec.forms.fused_relu import FusedReLU
from netspec.layers.activation import ReLU
from netspec.layers.convolution import Convolution
from netspec.schema.netspec_pb2 import LayerParameter

SHAPE = (2, 3, 5, 5)


@pytest.fixture
def fused():
    param = LayerParameter(top=["conv"])
    text_format.Parse("convolution_param { num_output: 4 kernel_size: 3 }", param)
    convolution = Convolution(param, [SHAPE]).to_empty(device="cpu")
    torch.nn.init.normal_(convolution.weight)
    torch.nn.init.zeros_(convolution.bias)
    return FusedReLU([convolution, ReLU(LayerParameter(), [SHAPE])])


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["bottom", "weight"])
def test_divergence_is_seen(fused, where, wrong):
    """A bottom or a weight that is not finite leaves NaN in the top, which oneDNN's own ReLU would not."""
    x = torch.randn(SHAPE)
    (x if where == "bottom" else fused.of[0].weight.detach())[-1, -1, -1, -1] = wrong
    assert fused(x).isnan().any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_types(fused, dtype):
    """Number types that the kernel may not have are computed plainly."""
    convolution, relu = (layer.to(dtype) for layer in fused.of)
    x = torch.randn(SHAPE, dtype=dtype)
    assert torch.equal(fused(x), relu(convolution(x)))
