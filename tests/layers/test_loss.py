"""What losses share: the divisor, ignored labels, labels that are no class, and what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import DataError
from netspec.layers import LayerError
from netspec.layers.loss import clamp

MODES = {"": "VALID", "normalize: false": "BATCH_SIZE", "normalize: true": "VALID"} | {
    f"normalization: {mode}": mode for mode in ("FULL", "VALID", "BATCH_SIZE", "NONE")
}
MODES |= {
    "normalize: true normalization: FULL": "FULL",
    "normalization: PRE_FIXED pre_fixed_normalizer: 2.5": "2.5",
    "normalization: PRE_FIXED pre_fixed_normalizer: 0.5": "1",
}
DIVIDED = ("SoftmaxWithLoss", "InfogainLoss", "SigmoidCrossEntropyLoss")
MODES_OF = {kind: sorted(MODES) for kind in DIVIDED} | {"InfogainLoss": [m for m in MODES if "normalize:" not in m]}


def divisor(mode, counted, batch):
    """Z, for the mask of the labels that count."""
    named = {"FULL": counted.size, "VALID": counted.sum(), "BATCH_SIZE": batch, "NONE": 1}
    return max(named[mode] if mode in named else float(mode), 1)


def text_of(kind, loss_param, axis=1):
    """A layer's text with its classes on `axis`."""
    message = "softmax_param" if kind == "SoftmaxWithLoss" else "infogain_loss_param"
    place = "" if kind == "SigmoidCrossEntropyLoss" else f"{message} {{ axis: {axis} }}"
    return f'type: "{kind}" top: "y" {place} loss_param {{ {loss_param} }}'


def expected(kind, scores, labels, gains, axis, ignore):
    """The loss of every item and its gradient at the scores, in double precision; 0 where the label is ignored."""
    if kind == "SigmoidCrossEntropyLoss":
        p = 1 / (1 + np.exp(-scores))
        losses, grad = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)), p - labels
        return losses * (labels != ignore), grad * (labels != ignore), labels != ignore
    rows = np.moveaxis(scores, axis, -1)
    p = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    counted = labels != ignore
    worth = gains[np.where(counted, labels, 0)] * counted[..., None]
    grad = p * worth.sum(-1, keepdims=True) - worth
    return -(worth * np.log(p)).sum(-1), np.moveaxis(grad, -1, axis), counted


@st.composite
def cases(draw):
    """A layer type, its scores, labels and matrix, the axis of the classes, a mode, and a label to ignore."""
    kind = draw(st.sampled_from(DIVIDED))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    axis = draw(st.integers(1, len(shape) - 1))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ignore = draw(st.none() | st.sampled_from((0, 1, 255)))
    binary = kind == "SigmoidCrossEntropyLoss"
    classes = 2 if binary else shape[axis]
    labels = random.integers(classes, size=shape if binary else shape[:axis] + shape[axis + 1 :])
    if ignore is not None:
        labels[random.random(labels.shape) < draw(st.sampled_from((0, 0.5, 1)))] = ignore
    labels_fit = labels.reshape(draw(st.sampled_from((labels.shape, (shape[0], -1, 1)))))
    scores = random.normal(size=shape).astype(np.float32)
    gains = random.random((classes, classes)) if kind == "InfogainLoss" else np.eye(classes)
    mode = draw(st.sampled_from(MODES_OF[kind]))
    return kind, scores, labels, labels_fit, gains.astype(np.float32), axis, draw(st.booleans()), mode, ignore


@settings(max_examples=300)
@given(cases())
def test_normalized_losses(build, case):
    """Over any axis, with any mode and ignored label, loss and gradient are the formula's; labels in any shape do."""
    kind, scores, labels, labels_fit, gains, axis, backwards, mode, ignore = case
    bottoms = [scores, labels_fit] + [gains] * (kind == "InfogainLoss")
    loss_param = mode if ignore is None else f"{mode} ignore_label: {ignore}"
    layer = build(text_of(kind, loss_param, axis - scores.ndim if backwards else axis), *(x.shape for x in bottoms))
    tensors = [torch.from_numpy(x.astype(np.float32)).requires_grad_() for x in bottoms]
    loss = layer(*tensors)
    loss.backward()

    losses, grad, counted = expected(kind, scores.astype(float), labels, gains, axis, ignore)
    named = "BATCH_SIZE" if kind == "SigmoidCrossEntropyLoss" and not mode else MODES[mode]
    batch = scores.shape[0] if kind == "SigmoidCrossEntropyLoss" else np.prod(scores.shape[:axis], dtype=int)
    z = divisor(named, counted, batch)
    assert loss.item() == pytest.approx(losses.sum() / z, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(tensors[0].grad, grad / z, rtol=1e-4, atol=1e-6)
    assert all(x.grad is None for x in tensors[1:])


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in DIVIDED for mode in MODES_OF[kind]])
def test_all_ignored(build, kind, mode):
    """With every label ignored the loss and the gradient are 0, not NaN, whatever the mode."""
    shapes = [(4, 3), (4, 3) if kind == "SigmoidCrossEntropyLoss" else (4,), (3, 3)][: 2 + (kind == "InfogainLoss")]
    scores = torch.randn(4, 3, requires_grad=True)
    layer = build(text_of(kind, f"{mode} ignore_label: 255"), *shapes)
    loss = layer(scores, torch.full(shapes[1], 255.0), *map(torch.ones, shapes[2:]))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


@pytest.mark.parametrize("label", [-1, 3, 1e9, float("nan")])
@pytest.mark.parametrize(
    "kind", ["SoftmaxWithLoss", "InfogainLoss", "HingeLoss", "MultinomialLogisticLoss", "Accuracy"]
)
def test_a_label_that_is_no_class(build, kind, label):
    """A label outside the classes is refused where it is read, by name of the classes."""
    bottoms = [torch.rand(2, 3), torch.tensor([0, label])] + [torch.eye(3)] * (kind == "InfogainLoss")
    layer = build(f'type: "{kind}" top: "y"', *(tuple(x.shape) for x in bottoms))
    assert layer.classes == 3
    with pytest.raises(DataError, match="a label is none of the classes 0 to 2"):
        layer(*bottoms)


@pytest.mark.parametrize(("least", "most"), [(0, 1), (0, None), (None, 1)])
def test_clamp_passes_the_gradient(least, most):
    """What is clamped has the gradient of what was not."""
    x = torch.tensor([-1.0, 0.5, 2], requires_grad=True)
    clamp(x, least, most).backward(torch.tensor([1.0, 2, 3]))
    assert x.grad.tolist() == [1, 2, 3]


INFOGAIN = "infogain_loss_param"
ERRORS = [
    (
        'type: "SoftmaxWithLoss"',
        [(2, 3, 4), (4, 2)],
        "bottoms (2, 3, 4) and (4, 2) differ in their first axis, the items",
        ("bottom",),
    ),
    (
        'type: "SigmoidCrossEntropyLoss"',
        [(4, 5), (4, 4)],
        "bottoms (4, 5) and (4, 4) differ in their first axis or their number of values",
        ("bottom",),
    ),
    ('type: "EuclideanLoss"', [(), ()], "the bottoms need a first axis, that of the items", ("bottom",)),
    (
        'type: "HingeLoss"',
        [(4, 5), (4, 2)],
        "scores (4, 5) need 4 labels, one an item, but bottom 1 is (4, 2)",
        ("bottom",),
    ),
    (
        'type: "MultinomialLogisticLoss"',
        [(4, 5), (2, 2)],
        "scores (4, 5) need 4 labels, one an item, but bottom 1 is (2, 2)",
        ("bottom",),
    ),
    (
        'type: "ContrastiveLoss"',
        [(4, 5), (3, 5), (4,)],
        "bottoms (4, 5) and (3, 5) differ in their first axis, the items",
        ("bottom",),
    ),
    (
        'type: "ContrastiveLoss"',
        [(4, 5, 2), (4, 5, 2), (4,)],
        "a bottom is (4, 5, 2); vectors are (N, C) or (N, C, 1, 1)",
        ("bottom",),
    ),
    (
        'type: "ContrastiveLoss"',
        [(4, 5), (4, 6), (4,)],
        "vectors of 5 and 6 numbers make no pairs",
        ("bottom",),
    ),
    ('type: "ContrastiveLoss"', [(4, 5), (4, 5), (4, 2)], "4 pairs need 4 labels, but bottom 2 is (4, 2)", ("bottom",)),
    (
        'type: "ContrastiveLoss"',
        [(4, 5, 1, 1, 1), (4, 5), (4,)],
        "a bottom is (4, 5, 1, 1, 1); it needs 1 to 4 axes",
        ("bottom",),
    ),
    (
        'type: "InfogainLoss" loss_param { normalize: true }',
        [(4, 5), (4,), (5, 5)],
        "InfogainLoss takes no normalize: give normalization",
        ("loss_param", "normalize"),
    ),
    ('type: "InfogainLoss"', [(4, 5), (4,)], "the matrix is missing: give a third bottom or a source", (INFOGAIN,)),
    (
        'type: "InfogainLoss"',
        [(4, 5), (4,), (1, 1, 5, 4)],
        "bottom 2 has 20 values; 5 classes need 25",
        ("bottom",),
    ),
    (
        'type: "InfogainLoss" infogain_loss_param { axis: 2 }',
        [(4, 5), (4,), (5, 5)],
        "axis 2 does not exist: the bottom has 2 axes",
        (INFOGAIN, "axis"),
    ),
    (
        'type: "SmoothL1Loss"',
        [(2, 4), (2, 4), (2, 1)],
        "bottom 2 is (2, 1), unlike bottom 0, which is (2, 4)",
        ("bottom",),
    ),
    (
        'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 0 }',
        [(2, 4), (2, 4)],
        "sigma must be above 0, not 0",
        ("smooth_l1_loss_param", "sigma"),
    ),
]


@pytest.mark.parametrize(("text", "bottoms", "reason", "field"), ERRORS, ids=[reason for _, _, reason, _ in ERRORS])
def test_error(build, text, bottoms, reason, field):
    """A wrong parameter or shape is refused with its numbers and the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, *bottoms)
    assert error.value.reason == reason
    assert error.value.field == field
