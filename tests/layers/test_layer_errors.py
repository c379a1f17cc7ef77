"""What a layer answers to parameters and shapes that make no sense."""

import pytest

from netspec.layers import LayerError

X = (2, 3, 7, 5)
CONV, IP, POOL, BN = "convolution_param", "inner_product_param", "pooling_param", "batch_norm_param"


def conv(fields: str, bottom: tuple[int, ...] = X) -> tuple[str, list[tuple[int, ...]]]:
    return f'type: "Convolution" top: "y" convolution_param {{ {fields} }}', [bottom]


def pool(fields: str, bottom: tuple[int, ...] = X) -> tuple[str, list[tuple[int, ...]]]:
    return f'type: "Pooling" top: "y" pooling_param {{ {fields} }}', [bottom]


def text(text: str, *bottoms: tuple[int, ...]) -> tuple[str, list[tuple[int, ...]]]:
    return text, list(bottoms or [X])


ERRORS = [
    # Convolution
    (conv("num_output: 4 kernel_size: 8"), "kernel 8 is larger than the padded input 7", (CONV, "kernel_size")),
    (
        conv("num_output: 4 kernel_size: 3 dilation: 4"),
        "kernel 3 spans 9 with dilation 4, which is larger than the padded input 7",
        (CONV, "kernel_size"),
    ),
    (conv("kernel_size: 3"), "num_output must be given and at least 1", (CONV, "num_output")),
    (conv("num_output: 0 kernel_size: 3"), "num_output must be given and at least 1", (CONV, "num_output")),
    (conv("num_output: 4"), "kernel_size is missing", (CONV,)),
    (conv("num_output: 4 kernel_size: 0"), "kernel_size must be at least 1, not 0", (CONV, "kernel_size")),
    (
        conv("num_output: 4 kernel_size: 3 kernel_h: 3 kernel_w: 3"),
        "give kernel_size or kernel_h and kernel_w, not both",
        (CONV, "kernel_size"),
    ),
    (conv("num_output: 4 kernel_h: 3"), "kernel_h needs kernel_w beside it", (CONV, "kernel_h")),
    (conv("num_output: 4 kernel_size: 3 stride_w: 2"), "stride_w needs stride_h beside it", (CONV, "stride_w")),
    (conv("num_output: 4 kernel_size: 3 stride: 0"), "stride must be at least 1, not 0", (CONV, "stride")),
    (
        conv("num_output: 4 kernel_size: 3 stride_h: 0 stride_w: 1"),
        "stride must be at least 1, not 0",
        (CONV, "stride_h"),
    ),
    (conv("num_output: 4 kernel_size: 3 dilation: 0"), "dilation must be at least 1, not 0", (CONV, "dilation")),
    (
        conv("num_output: 4 kernel_size: [1, 1, 1]"),
        "kernel_size is given 3 times; the bottom has 2 spatial axes",
        (CONV, "kernel_size"),
    ),
    (
        conv("num_output: 4 kernel_h: 1 kernel_w: 1", (2, 3, 7)),
        "kernel_h and kernel_w are for 2 spatial axes; the bottom has 1",
        (CONV, "kernel_h"),
    ),
    (conv("num_output: 4 kernel_size: 1 group: 0"), "group must be at least 1, not 0", (CONV, "group")),
    (
        conv("num_output: 4 kernel_size: 1 group: 2"),
        "input channels 3 cannot be divided into 2 groups",
        (CONV, "group"),
    ),
    (conv("num_output: 4 kernel_size: 1 group: 3"), "num_output 4 cannot be divided into 3 groups", (CONV, "group")),
    (conv("num_output: 4 kernel_size: 1 axis: 4"), "axis 4 does not exist: the bottom has 4 axes", (CONV, "axis")),
    (text(conv("num_output: 4 kernel_size: 1")[0], X, X), "2 bottoms need as many tops, not 1", ("top",)),
    (
        text('top: "z" ' + conv("num_output: 4 kernel_size: 1")[0], X, (2, 3, 7, 6)),
        "bottom 1 is (2, 3, 7, 6), unlike bottom 0, which is (2, 3, 7, 5)",
        ("bottom",),
    ),
    # InnerProduct
    (text('type: "InnerProduct"'), "num_output must be given and at least 1", (IP, "num_output")),
    (
        text('type: "InnerProduct" inner_product_param { num_output: 2 axis: -5 }'),
        "axis -5 does not exist: the bottom has 4 axes",
        (IP, "axis"),
    ),
    # Pooling
    (pool("kernel_size: 8"), "kernel 8 is larger than the padded input 7", (POOL, "kernel_size")),
    (pool(""), "kernel_size is missing", (POOL,)),
    (pool("kernel_size: 2 pad: 2"), "pad 2 must be smaller than kernel 2", (POOL, "pad")),
    (pool("kernel_size: 2 stride: 0"), "stride must be at least 1, not 0", (POOL, "stride")),
    (
        pool("kernel_size: 2 kernel_w: 2"),
        "give kernel_size or kernel_h and kernel_w, not both",
        (POOL, "kernel_size"),
    ),
    (pool("kernel_w: 2"), "kernel_w needs kernel_h beside it", (POOL, "kernel_w")),
    (pool("global_pooling: true kernel_h: 2"), "global_pooling takes no kernel_h", (POOL, "kernel_h")),
    (
        pool("global_pooling: true stride: 2"),
        "global_pooling takes no pad and no stride but 1",
        (POOL, "global_pooling"),
    ),
    (pool("pool: STOCHASTIC kernel_size: 3 pad: 1"), "STOCHASTIC pooling takes no pad", (POOL, "pad")),
    (pool("kernel_size: 1", (2, 3)), "Pooling needs a bottom of 4 axes, not 2", ()),
    (
        text('top: "m" ' + pool("pool: AVE kernel_size: 2")[0]),
        "only MAX pooling has a second top",
        ("top",),
    ),
    # Normalization, activation
    (text('type: "LRN" lrn_param { local_size: 4 }'), "local_size must be odd, not 4", ("lrn_param", "local_size")),
    (text('type: "BatchNorm"', ()), "BatchNorm needs a bottom of at least 1 axes, not 0", ()),
    (
        text('type: "BatchNorm" param { lr_mult: 1 }'),
        "the statistics are not learned: lr_mult must be 0",
        ("param", "lr_mult"),
    ),
    (
        text('type: "Dropout" dropout_param { dropout_ratio: 1 }'),
        "dropout_ratio must be at least 0 and below 1, not 1",
        ("dropout_param", "dropout_ratio"),
    ),
    (
        text('type: "Softmax" softmax_param { axis: 4 }'),
        "axis 4 does not exist: the bottom has 4 axes",
        ("softmax_param", "axis"),
    ),
    (text('type: "PReLU"', (2,)), "PReLU needs a bottom of at least 2 axes, not 1", ()),
    # Elementwise
    (
        text('type: "Eltwise"', (2, 3), (2, 1)),
        "bottom 1 is (2, 1), unlike bottom 0, which is (2, 3)",
        ("bottom",),
    ),
    (
        text('type: "Eltwise" eltwise_param { coeff: 1 }', X, X),
        "coeff is given 1 times for 2 bottoms",
        ("eltwise_param", "coeff"),
    ),
    (
        text('type: "Eltwise" eltwise_param { operation: PROD coeff: [1, 1] }', X, X),
        "PROD takes no coeff",
        ("eltwise_param", "coeff"),
    ),
    (
        text('type: "Scale" scale_param { axis: 2 num_axes: 3 }'),
        "3 axes from axis 2 on: the bottom has 4",
        ("scale_param", "num_axes"),
    ),
    (
        text('type: "Bias" bias_param { num_axes: -2 }'),
        "-2 axes from axis 1 on: the bottom has 4",
        ("bias_param", "num_axes"),
    ),
    (
        text('type: "Scale"', X, (3, 5)),
        "bottom 1 is (3, 5), but bottom 0 is (3, 7) from axis 1 on",
        ("bottom",),
    ),
    # Shape
    (
        text('type: "Concat"', (2, 3), (4, 3)),
        "bottom 1 is (4, 3), but bottom 0 (2, 3): only axis 1 may differ",
        ("bottom",),
    ),
    (
        text('type: "Concat" concat_param { axis: 1 concat_dim: 1 }', X, X),
        "give axis or concat_dim, not both",
        ("concat_param", "concat_dim"),
    ),
    (
        text('type: "Concat" concat_param { concat_dim: 4 }', X, X),
        "axis 4 does not exist: the bottom has 4 axes",
        ("concat_param", "concat_dim"),
    ),
    (
        text('type: "Slice" top: "a" top: "b"'),
        "axis 1 of size 3 cannot be cut into 2 equal tops",
        ("slice_param",),
    ),
    (
        text('type: "Slice" top: "a" top: "b" slice_param { slice_point: [1, 2] }'),
        "2 slice points for 2 tops",
        ("slice_param", "slice_point"),
    ),
    (
        text('type: "Slice" top: "a" top: "b" slice_param { slice_point: 3 }'),
        "slice points [3] must rise between 0 and the size 3",
        ("slice_param", "slice_point"),
    ),
    (
        text('type: "Flatten" flatten_param { axis: 2 end_axis: 1 }'),
        "end_axis 1 lies before axis 2",
        ("flatten_param", "end_axis"),
    ),
    (
        text('type: "Reshape" reshape_param { shape { dim: [-1, -1] } }'),
        "sizes [-1, -1]: only one may be -1, and none less",
        ("reshape_param", "shape"),
    ),
    (
        text('type: "Reshape" reshape_param { shape { dim: 0 } axis: -1 num_axes: 0 }'),
        "size 0 is 0, but the bottom has no axis 4 to copy",
        ("reshape_param", "shape"),
    ),
    (
        text('type: "Reshape" reshape_param { shape { dim: [0, 100] } }'),
        "210 values of bottom (2, 3, 7, 5) do not fill (2, 100)",
        ("reshape_param", "shape"),
    ),
    (
        text('type: "Reshape" reshape_param { shape { dim: [4, -1] } }'),
        "210 values of bottom (2, 3, 7, 5) do not fill (4, -1)",
        ("reshape_param", "shape"),
    ),
    (
        text('type: "Reshape" reshape_param { axis: 3 num_axes: 2 }'),
        "2 axes from axis 3 on: the bottom has 4",
        ("reshape_param", "num_axes"),
    ),
    (
        text('type: "Reshape" reshape_param { axis: 5 }'),
        "axis 5 does not exist: the bottom has 4 axes",
        ("reshape_param", "axis"),
    ),
    # Loss, accuracy
    (
        text('type: "SoftmaxWithLoss" top: "y"', (4, 5), (3,)),
        "scores (4, 5) with classes on axis 1 need 4 labels, but bottom 1 is (3,)",
        ("bottom",),
    ),
    (
        text('type: "EuclideanLoss"', (4, 5), (5, 4)),
        "bottoms (4, 5) and (5, 4) differ in their first axis or their number of values",
        ("bottom",),
    ),
    (
        text('type: "Accuracy" accuracy_param { top_k: 6 }', (4, 5), (4,)),
        "top_k must be from 1 to the 5 classes, not 6",
        ("accuracy_param", "top_k"),
    ),
]


@pytest.mark.parametrize(("case", "reason", "field"), ERRORS, ids=[reason for _, reason, _ in ERRORS])
def test_error(build, case, reason, field):
    """A wrong parameter or shape is refused with its numbers and the path of its field."""
    text, bottoms = case
    with pytest.raises(LayerError) as error:
        build(text, *bottoms)
    assert error.value.reason == reason
    assert error.value.field == field


def test_huge_kernel_is_refused_before_allocation(build):
    """A kernel of 2^31 - 1 is compared with the bottom, not allocated."""
    with pytest.raises(LayerError, match="kernel 2147483647 is larger than the padded input 7"):
        build(*conv("num_output: 4 kernel_size: 2147483647")[:1], X)
