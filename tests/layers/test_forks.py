"""Layer types and fields of Caffe's forks, against PyTorch, torchvision and their formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_pool

from netspec.errors import DataError
from netspec.layers import LayerError

X = (2, 6, 5, 4)


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def fill(layer, *blobs):
    """Give a layer's blobs these values, in order."""
    with torch.no_grad():
        for blob, value in zip(layer.blobs(), blobs, strict=True):
            blob.copy_(value.reshape(blob.shape))
    return layer


EQUAL = [
    ('type: "ReLU6"', lambda x: x.clamp(0, 6)),
    ('type: "Permute" permute_param { order: [0, 2, 3, 1] }', lambda x: x.permute(0, 2, 3, 1)),
    ('type: "Permute" permute_param { order: 2 }', lambda x: x.permute(2, 0, 1, 3)),
    ('type: "Permute"', lambda x: x),
    ('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', lambda x: F.channel_shuffle(x, 3)),
    ('type: "ShuffleChannel"', lambda x: x),
    ('type: "Upsample"', lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    (
        'type: "Upsample" upsample_param { scale_h: 1 scale_w: 3 }',
        lambda x: x.repeat_interleave(3, 3),
    ),
    (
        'type: "Interp" interp_param { height: 9 width: 7 }',
        lambda x: F.interpolate(x, (9, 7), mode="bilinear", align_corners=True),
    ),
    (
        'type: "Interp" interp_param { zoom_factor: 2 }',
        lambda x: F.interpolate(x, (9, 7), mode="bilinear", align_corners=True),
    ),
    ('type: "Interp" interp_param { shrink_factor: 2 pad_end: -1 }', lambda x: x[:, :, :4:3, :3:2]),
    (
        'type: "Interp" interp_param { shrink_factor: 2 zoom_factor: 3 }',
        lambda x: F.interpolate(x, (7, 4), mode="bilinear", align_corners=True),
    ),
    ('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }', lambda x: F.max_pool2d(x, 2)),
    (
        'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 ceil_mode: true }',
        lambda x: F.max_pool2d(x, 2, ceil_mode=True),
    ),
    ('type: "Dropout" dropout_param { dropout_ratio: 0.4 scale_train: false }', lambda x: x * 0.6),
]


@pytest.mark.parametrize(("text", "formula"), EQUAL, ids=[text[:60] for text, _ in EQUAL])
def test_equals_its_formula(build, text, formula):
    """In testing the layer computes its formula, on the values and on the meta device."""
    x = rand(*X) * 4
    layer = build(text, X)
    torch.testing.assert_close(layer(x), formula(x), rtol=1e-5, atol=1e-6)
    assert layer(x.to("meta")).shape == formula(x).shape


def test_axpy(build):
    """Axpy is a x + b with a factor a channel, and passes gradients to all three."""
    a, x, b = (rand(*shape).requires_grad_() for shape in ((2, 6, 1, 1), X, X))
    y = build('type: "Axpy"', *(tuple(t.shape) for t in (a, x, b)))(a, x, b)
    torch.testing.assert_close(y, a * x + b)
    y.sum().backward()
    torch.testing.assert_close(a.grad, x.detach().sum((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("fields", "axes", "scale"),
    [("", (1, 2, 3), rand(1)[0]), ("across_spatial: false channel_shared: false eps: 0.5", (1,), rand(6))],
)
def test_normalize(build, fields, axes, scale):
    """Normalize divides by the root of the sum of squares plus eps, and multiplies by the learned scale."""
    x, eps = rand(*X), 0.5 if "eps" in fields else 1e-10
    layer = fill(build(f'type: "Normalize" norm_param {{ {fields} }}', X), scale)
    expected = x / (x.pow(2).sum(axes, keepdim=True) + eps).sqrt() * scale.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), expected)
    assert layer.blob_fillers["scale"].value == 1
    assert layer.blobs()[0].shape == scale.shape


def test_normalize_of_zeros_has_finite_gradients(build):
    """eps under the root keeps the gradient of an empty position finite."""
    layer = fill(build('type: "Normalize" norm_param { across_spatial: false }', X), torch.ones(1))
    x = torch.zeros(X, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_upsample_puts_values_back(build):
    """With the mask of a MAX pooling, Upsample is PyTorch's max_unpool2d, odd sizes too, and passes gradients back."""
    x = rand(2, 3, 7, 5)
    pool = build('type: "Pooling" top: "y" top: "mask" pooling_param { kernel_size: 2 stride: 2 }', tuple(x.shape))
    y, places = pool(x)
    y.requires_grad_()
    shapes = [tuple(y.shape)] * 2
    text = 'type: "Upsample" upsample_param { scale: 2 pad_out_h: true pad_out_w: true }'
    top = build(text, *shapes)(y, places)
    expected = F.max_unpool2d(y, places.long(), 2, output_size=(7, 5))
    torch.testing.assert_close(top, expected)
    top.backward(rand(*top.shape))
    torch.testing.assert_close(y.grad.flatten(2), rand(*top.shape).flatten(2).gather(2, places.long().flatten(2)))
    sized = build('type: "Upsample" upsample_param { upsample_h: 7 upsample_w: 5 }', *shapes)
    torch.testing.assert_close(sized(y, places), expected)


def test_upsample_refuses_a_place_outside_its_top(build):
    """A mask of a pooling over a larger plane is an error that names the layer, the place and the places there are."""
    layer = build('name: "up" type: "Upsample"', (1, 1, 2, 2), (1, 1, 2, 2))
    with pytest.raises(DataError, match=r'layer "up": the index 16 is not from 0 to 15'):
        layer(torch.zeros(1, 1, 2, 2), torch.tensor([0.0, 3, 15, 16]).reshape(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("height: 7 width: 3", (7, 3)),
        ("height: 7 width: 3 zoom_factor: 2", (9, 7)),
        ("height: 0 width: 0 shrink_factor: 2", (3, 2)),
        ("height: 7 width: 3 shrink_factor: 2 zoom_factor: 2", (7, 3)),
    ],
)
def test_interp_takes_one_of_several_sizes(build, fields, size):
    """In Interp a factor alone wins over height and width, and these over both factors together."""
    layer = build(f'type: "Interp" interp_param {{ {fields} }}', X)
    assert layer(rand(*X)).shape == (2, 6, *size)


@pytest.mark.parametrize("size", [(63, 47), (81, 90), (1, 16), (97, 500)])
def test_interp_leaves_labels_whole(build, size):
    """Where a label map has one value only, Interp gives exactly this value, in whatever size."""
    layer = build(f'type: "Interp" interp_param {{ height: {size[0]} width: {size[1]} }}', (2, 1, 64, 375))
    for label in (7.0, 15.0, 255.0):
        assert layer(torch.full((2, 1, 64, 375), label)).unique().tolist() == [label]


@pytest.mark.parametrize("fields", ["zoom_factor: 1", "height: 4 width: 3 pad_end: -1"])
def test_interp_to_the_same_size_is_a_copy(build, fields):
    """Interp that changes no size gives the same values in a blob of their own, as an in-place layer after it needs."""
    x = rand(*X)
    y = build(f'type: "Interp" interp_param {{ {fields} }}', X)(x)
    torch.testing.assert_close(y, x[:, :, : y.shape[2], : y.shape[3]], rtol=0, atol=0)
    assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_interp_passes_gradients_back(build):
    """The gradient of Interp, cut values included, is that of PyTorch's interpolation of what the cut leaves."""
    x, other = rand(*X).requires_grad_(), rand(*X).requires_grad_()
    build('type: "Interp" interp_param { height: 9 width: 2 pad_beg: -1 }', X)(x).square().sum().backward()
    resized = F.interpolate(other[:, :, 1:, 1:], (9, 2), mode="bilinear", align_corners=True)
    resized.square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


def test_interp_to_the_size_of_another_blob(build):
    """A second bottom gives Interp the height and width of its top."""
    layer = build('type: "Interp"', X, (1, 1, 8, 3))
    expected = F.interpolate(rand(*X), (8, 3), mode="bilinear", align_corners=True)
    torch.testing.assert_close(layer(rand(*X), torch.zeros(1, 1, 8, 3)), expected)


def test_roi_pooling(build):
    """ROIPooling is the definition's, cell by cell, and torchvision's roi_pool; gradients go to the largest values."""
    x = rand(2, 3, 9, 8).requires_grad_()
    regions = torch.tensor([[0, 0, 0, 15, 17], [1, 3, 5, 9, 9], [1, 14, 2, 12, 1], [0, -9, -9, -4, -4]]).float()
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }'
    layer = build(text, tuple(x.shape), (4, 5))
    top = layer(x, regions)
    assert layer(x.to("meta"), regions.to("meta")).shape == top.shape == (4, 3, 3, 2)
    torch.testing.assert_close(top, roi_pool(x, regions, (3, 2), 0.5))
    for region, cells in zip(regions.numpy(), top.detach().numpy(), strict=True):
        image, *corners = region
        x1, y1, x2, y2 = (int(np.floor(abs(c) * 0.5 + 0.5) * np.sign(c)) for c in corners)
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i, j in np.ndindex(3, 2):
            rows = slice(*np.clip([y1 + i * height // 3, y1 - (-(i + 1) * height // 3)], 0, 9))
            columns = slice(*np.clip([x1 + j * width // 2, x1 - (-(j + 1) * width // 2)], 0, 8))
            window = x.detach()[int(image), :, rows, columns].flatten(1).numpy()
            np.testing.assert_array_equal(cells[:, i, j], window.max(1, initial=-np.inf) if window.size else 0)
    top.sum().backward()
    assert x.grad.sum().item() == (top != 0).sum().item()


def test_batch_norm_with_five_blobs(build):
    """With scale_bias BatchNorm has a slope and a bias: the layer without them, then scaled, in both phases."""
    x, slope, bias = rand(*X) * 2 + 1, rand(6), rand(6) + 3
    for phase in ("TRAIN", "TEST"):
        plain = build('type: "BatchNorm"', X, phase=phase)
        five = build('type: "BatchNorm" batch_norm_param { scale_bias: true }', X, phase=phase)
        state = [rand(6), rand(6).abs(), torch.ones(1)]
        fill(plain, *state), fill(five, *state, slope, bias)
        expected = plain(x) * slope.view(-1, 1, 1) + bias.view(-1, 1, 1)
        torch.testing.assert_close(five(x), expected, rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(five.blobs(), plain.blobs(), strict=False):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fields", ["use_weight_bias: true", "scale_filler { value: 2 }", "bias_filler { }"])
def test_what_asks_for_five_blobs(build, fields):
    """Intel's flag and either filler ask for the slope and the bias as well."""
    layer = build(f'type: "BatchNorm" batch_norm_param {{ {fields} eps: 1e-9 }}', X)
    assert [tuple(blob.shape) for blob in layer.blobs()] == [(6,), (6,), (1,), (6,), (6,)]
    assert layer.blob_fillers["slope"].value == (2 if "scale_filler" in fields else 1)
    assert layer.eps == 1e-5


def test_intels_filler_alone_asks_for_nothing(build):
    """Intel's `filler` is for the slope where `use_weight_bias` asks for one; published files state it beside Scale."""
    text = 'type: "BatchNorm" batch_norm_param {{ {} filler {{ value: 3 }} bias_filler {{ }} }}'
    assert len(build(text.format(""), X).blobs()) == 3
    assert build(text.format("use_weight_bias: true"), X).blob_fillers["slope"].value == 3


def test_bn_trains_as_pytorch(build):
    """PSPNet's BN is PyTorch's batch norm with momentum 1 - momentum, but keeps the biased variance."""
    x, slope, bias = rand(*X) * 2 + 1, rand(6), rand(6)
    mean, variance = torch.zeros(6), torch.ones(6)
    layer = fill(build('type: "BN" bn_param { momentum: 0.8 }', X, phase="TRAIN"), slope, bias, mean, variance)
    expected = F.batch_norm(x, mean, variance, slope, bias, training=True, momentum=0.2)
    torch.testing.assert_close(layer(x), expected)
    biased = 0.8 + 0.2 * x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(layer.mean.flatten(), mean)
    torch.testing.assert_close(layer.variance.flatten(), biased)
    torch.testing.assert_close(layer.eval()(x), F.batch_norm(x, mean, biased, slope, bias))


def test_frozen_bn(build):
    """A frozen BN takes the stored statistics in training, learns nothing, and starts at variance 1."""
    layer = build('type: "BN" bn_param { frozen: true }', X, phase="TRAIN")
    assert not list(layer.parameters())
    assert layer.blob_fillers["variance"].value == 1
    fill(layer, torch.ones(6), torch.zeros(6), torch.full((6,), 2.0), torch.full((6,), 4.0))
    x = rand(*X)
    torch.testing.assert_close(layer(x), (x - 2) / (4 + 1e-5) ** 0.5)
    assert layer.mean.unique().item() == 2


def test_bn_of_segnet(build):
    """SegNet's BN takes the batch's statistics in testing too; INFERENCE is a slope and a bias alone."""
    x, slope, bias = rand(*X), rand(6), rand(6)
    by_batch = fill(build('type: "BN" bn_param { scale_filler { value: 1 } }', X), slope, bias)
    torch.testing.assert_close(by_batch(x), F.batch_norm(x, None, None, slope, bias, training=True, eps=1e-9))
    folded = fill(build('type: "BN" bn_param { bn_mode: INFERENCE }', X), slope, bias)
    torch.testing.assert_close(folded(x), x * slope.view(-1, 1, 1) + bias.view(-1, 1, 1))
    assert [tuple(blob.shape) for blob in folded.blobs()] == [(1, 6, 1, 1)] * 2


@pytest.mark.parametrize("fields", ["slope_filler { }", "scale_filler { }"])
def test_bn_of_one_value_a_channel(build, fields):
    """One value a channel is its own mean: in training the top is the bias, and the stored variance moves to 0."""
    layer = build(f'type: "BN" bn_param {{ {fields} }}', (1, 3, 1, 1), phase="TRAIN")
    torch.nn.init.ones_(layer.slope)
    layer.bias.data.copy_(torch.tensor([1.0, 2, 3]).view_as(layer.bias))
    x = rand(1, 3, 1, 1).requires_grad_()
    y = layer(x)
    assert y.flatten().tolist() == [1, 2, 3]
    y.sum().backward()
    assert not x.grad.any()
    assert not layer.slope.grad.any()
    assert layer.bias.grad.flatten().tolist() == [1, 1, 1]
    if not layer.is_segnet:
        torch.testing.assert_close(layer.mean.flatten(), x.detach().flatten() * 0.1)
        assert not layer.variance.any()


def test_bn_with_eps_zero(build):
    """With eps 0 BN divides by the deviation itself."""
    x = rand(*X)
    layer = fill(
        build('type: "BN" bn_param { eps: 0 slope_filler { } }', X, phase="TRAIN"), *map(torch.ones, [6, 6, 6, 6])
    )
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(layer(x), (x - mean) / variance.sqrt() + 1)


def test_dropout_of_forks(build):
    """Unscaled dropout keeps values as they are in training; sample_weights_test drops in testing."""
    x = torch.ones(10_000)
    torch.manual_seed(0)
    unscaled = build('type: "Dropout" dropout_param { scale_train: false }', (10_000,), phase="TRAIN")(x)
    assert unscaled.unique().tolist() == [0, 1]
    bayesian = build('type: "Dropout" dropout_param { sample_weights_test: true }', (10_000,))(x)
    assert bayesian.unique().tolist() == [0, 2]
    assert bayesian.mean().item() == pytest.approx(1, abs=0.05)


ERRORS = [
    ('type: "Permute" permute_param { order: [0, 4] }', [X], "axis 4 does not exist: the bottom has 4 axes"),
    ('type: "Permute" permute_param { order: [0, 0] }', [X], "axis 0 is named twice"),
    (
        'type: "ShuffleChannel" shuffle_channel_param { group: 4 }',
        [X],
        "6 channels cannot be divided into 4 groups",
    ),
    ('type: "Interp"', [X], "give height and width, zoom_factor or shrink_factor"),
    ('type: "Interp" interp_param { height: 0 width: 7 }', [X], "the top would have the size (0, 7)"),
    ('type: "Interp" interp_param { height: 9 }', [X], "height and width belong together"),
    ('type: "Interp" interp_param { zoom_factor: 0 }', [X], "zoom_factor must be at least 1, not 0"),
    ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', [X], "pad_beg cuts, so it is 0 or less"),
    ('type: "Interp" interp_param { zoom_factor: 2 pad_beg: -4 }', [X], "nothing is left of (2, 6, 5, 4)"),
    ('type: "Upsample" upsample_param { scale: 0 }', [X], "scale must be at least 1, not 0"),
    ('type: "Upsample" upsample_param { scale: 3 pad_out_w: true }', [X], "pad_out_w needs a scale of 2, not 3"),
    ('type: "Upsample" upsample_param { scale_h: 2 }', [X], "scale_h and scale_w belong together"),
    ('type: "Upsample" upsample_param { upsample_w: 7 }', [X], "upsample_h and upsample_w belong together"),
    (
        'type: "Upsample" upsample_param { scale: 2 scale_h: 2 scale_w: 3 }',
        [X],
        "give scale, or scale_h and scale_w, not both",
    ),
    ('type: "Upsample"', [X, (2, 6, 5, 5)], "bottom 1, the places, is (2, 6, 5, 5), unlike bottom 0, (2, 6, 5, 4)"),
    ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 }', [X, (3, 5)], "pooled_w must be given and at least 1"),
    (
        'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 2 }',
        [X, (3, 4)],
        "bottom 1 is (3, 4); a region is 5 numbers",
    ),
    ('type: "Axpy"', [(2, 6), X, (2, 6, 5, 3)], "bottom 2 is (2, 6, 5, 3), unlike bottom 1, which is (2, 6, 5, 4)"),
    (
        'type: "Axpy"',
        [(2, 5), X, X],
        "bottom 0 is (2, 5); it must be a factor for each channel of bottom 1, (2, 6, 5, 4)",
    ),
    ('type: "BN" bn_param { momentum: 2 }', [X], "momentum must be from 0 to 1, not 2"),
    (
        'type: "BN" bn_param { bn_mode: INFERENCE frozen: true }',
        [X],
        "bn_mode is of SegNet's fork, frozen of PSPNet's",
    ),
    (
        'type: "Pooling" pooling_param { kernel_size: 2 ceil_mode: false round_mode: FLOOR }',
        [X],
        "give round_mode or ceil_mode, not both",
    ),
]


@pytest.mark.parametrize(("text", "bottoms", "reason"), ERRORS, ids=[reason[:40] for *_, reason in ERRORS])
def test_error(build, text, bottoms, reason):
    """A message or shapes that make no sense are refused with one sentence."""
    with pytest.raises(LayerError) as caught:
        build(text, *bottoms)
    assert caught.value.reason == reason
