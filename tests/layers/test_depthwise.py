"""The two depthwise types against a convolution of each channel by itself."""

import pytest
import torch
import torch.nn.functional as F

from netspec.layers import LayerError

SIZES = "kernel_size: 3 stride: 2 pad: 1"
X = (2, 6, 7, 5)


@pytest.mark.parametrize(
    ("layer_type", "fields", "outputs"),
    [
        ("DepthwiseConvolution", "num_output: 6 group: 6", 6),
        ("DepthwiseConvolution", "num_output: 6", 6),
        ("DepthwiseConvolution", "num_output: 12 group: 6", 12),
        ("ConvolutionDepthwise", "num_output: 6", 6),
        ("ConvolutionDepthwise", "", 6),
        ("ConvolutionDepthwise", "num_output: 5 group: 2 axis: 2", 6),
    ],
)
def test_every_channel_has_its_own_filters(build, layer_type, fields, outputs):
    """Output o is channel o // (outputs / channels) convolved with filter o, whatever the text says of groups."""
    layer = build(f'type: "{layer_type}" top: "y" convolution_param {{ {fields} {SIZES} }}', X)
    weight, bias = (torch.randn(blob.shape) for blob in layer.blobs())
    assert weight.shape == (outputs, 1, 3, 3)
    layer.load_state_dict({"weight": weight, "bias": bias})
    x = torch.randn(X)
    alone = [F.conv2d(x[:, [o // (outputs // 6)]], weight[[o]], bias[[o]], stride=2, padding=1) for o in range(outputs)]
    torch.testing.assert_close(layer(x), torch.cat(alone, 1))


@pytest.mark.parametrize(
    ("layer_type", "fields", "bottom", "reason"),
    [
        ("DepthwiseConvolution", "num_output: 6 group: 3", X, "group must be the 6 input channels, not 3"),
        ("DepthwiseConvolution", "num_output: 8", X, "num_output 8 cannot be divided into 6 groups"),
        ("DepthwiseConvolution", "", X, "num_output must be given and at least 1"),
        ("ConvolutionDepthwise", "", X[:3], "ConvolutionDepthwise needs a bottom of 4 axes, not 3"),
    ],
)
def test_errors(build, layer_type, fields, bottom, reason):
    """Groups that are not the channels, and outputs that they cannot share, are refused."""
    with pytest.raises(LayerError) as error:
        build(f'type: "{layer_type}" top: "y" convolution_param {{ {fields} {SIZES} }}', bottom)
    assert error.value.reason == reason
