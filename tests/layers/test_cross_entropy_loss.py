"""SoftmaxWithLoss, SigmoidCrossEntropyLoss, MultinomialLogisticLoss: the cap, the floor, scores that are sure, labels
that are shares or smoothed."""

import math

import pytest
import torch
import torch.nn.functional as F

from netspec.errors import DataError
from netspec.layers import LayerError

CAP = 87.3365478515625
SOFTMAX = 'type: "SoftmaxWithLoss" top: "y"'


def test_cap(build):
    """An item's loss is at most 87.3365, and its gradient stays p - onehot."""
    scores = torch.tensor([[0.0, 1e4], [0.0, 0.0]], requires_grad=True)
    loss = build(SOFTMAX + "loss_param { normalization: NONE }", (2, 2), (2,))(scores, torch.zeros(2))
    assert loss.item() == pytest.approx(CAP + 0.693147, rel=1e-6)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[-1.0, 1.0], [-0.5, 0.5]]))


@pytest.mark.parametrize("far", [1e30, 3e38])
def test_cap_of_a_diverged_net(build, far):
    """However far the scores, the loss is the cap and the gradient is finite."""
    scores = torch.tensor([[-far, far]], requires_grad=True)
    loss = build(SOFTMAX, (1, 2), (1,))(scores, torch.zeros(1))
    assert loss.item() == pytest.approx(CAP, rel=1e-6)
    loss.backward()
    assert scores.grad.tolist() == [[-1, 1]]


@pytest.mark.parametrize(("kind", "label"), [("SoftmaxWithLoss", (1,)), ("SigmoidCrossEntropyLoss", (1, 2))])
def test_nan_scores(build, kind, label):
    """A NaN score gives a NaN loss: nothing hides it."""
    scores = torch.tensor([[0.0, torch.nan]])
    assert build(f'type: "{kind}" top: "y"', (1, 2), label)(scores, torch.zeros(label)).isnan()


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1, 1)])
def test_is_cross_entropy(build, shape):
    """Below the cap the loss and its gradient are PyTorch's, for labels of any shape with one an item."""
    scores, labels = torch.randn(6, 5, requires_grad=True), torch.randint(5, shape).float()
    loss = build(SOFTMAX, (6, 5), shape)(scores, labels)
    expected = F.cross_entropy(scores, labels.flatten().long())
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(torch.autograd.grad(loss, scores), torch.autograd.grad(expected, scores), strict=True):
        torch.testing.assert_close(ours, theirs)


WEIGHTS = (0.25, 4.5, 0.0, 1.75)
WEIGHTED = "weight_by_label_freqs: true " + " ".join(f"class_weighting: {weight}" for weight in WEIGHTS)


@pytest.mark.parametrize("ignored", [None, 2, 11])
@pytest.mark.parametrize("mode", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_classes_are_weighed(build, mode, ignored):
    """With SegNet's weights, loss and gradient are PyTorch's weighted sum, over Z, which counts items as ever."""
    scores = torch.randn(3, 4, 5, 2, requires_grad=True)
    labels = torch.randint(4, (3, 1, 5, 2))
    if ignored is not None:
        labels[0, 0, :3] = ignored
    fields = f"{WEIGHTED} normalization: {mode}" + (f" ignore_label: {ignored}" if ignored is not None else "")
    loss = build(f"{SOFTMAX} loss_param {{ {fields} }}", tuple(scores.shape), (3, 1, 5, 2))(scores, labels.float())
    total = F.cross_entropy(
        scores, labels[:, 0], torch.tensor(WEIGHTS), reduction="sum", ignore_index=-100 if ignored is None else ignored
    )
    counted = 30 if ignored is None else (labels != ignored).sum()
    expected = total / {"VALID": counted, "FULL": 30, "BATCH_SIZE": 3, "NONE": 1}[mode]
    torch.testing.assert_close(loss, expected)
    (ours,), (theirs,) = torch.autograd.grad(loss, scores), torch.autograd.grad(expected, scores)
    torch.testing.assert_close(ours, theirs)


def test_weighed_mean_of_pytorch(build):
    """Where the weights have the mean 1 over the labels that count, the loss is PyTorch's weighted mean."""
    scores, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 1])
    fields = "weight_by_label_freqs: true class_weighting: 2.5 class_weighting: 0.5"
    loss = build(f"{SOFTMAX} loss_param {{ {fields} }}", (4, 2), (4,))(scores, labels.float())
    torch.testing.assert_close(loss, F.cross_entropy(scores, labels, torch.tensor([2.5, 0.5])))


def test_a_weighed_cap(build):
    """The weight multiplies what the cap leaves, and the gradient is the weighted p - onehot."""
    scores = torch.tensor([[0.0, 1e4]], requires_grad=True)
    fields = "weight_by_label_freqs: true class_weighting: 0.5 class_weighting: 3"
    loss = build(f"{SOFTMAX} loss_param {{ {fields} }}", (1, 2), (1,))(scores, torch.zeros(1))
    assert loss.item() == pytest.approx(CAP / 2, rel=1e-6)
    loss.backward()
    assert scores.grad.tolist() == [[-0.5, 0.5]]


def test_weights_alone_weigh_nothing(build):
    """Without weight_by_label_freqs, SegNet's fork does not read the weights."""
    scores, labels = torch.randn(4, 2), torch.zeros(4)
    layer = build(f"{SOFTMAX} loss_param {{ class_weighting: 9 }}", (4, 2), (4,))
    torch.testing.assert_close(layer(scores, labels), F.cross_entropy(scores, labels.long()))


def test_weights_are_in_no_weights_file(build):
    """The weights belong to the text: they are no blobs of the layer, and go where the layer goes."""
    layer = build(f"{SOFTMAX} loss_param {{ {WEIGHTED} }}", (1, 4), (1,))
    assert not layer.blobs()
    assert not layer.state_dict()
    assert layer.to("meta")(torch.empty(1, 4, device="meta"), torch.empty(1, device="meta")).shape == ()


@pytest.mark.parametrize(
    ("text", "bottoms", "reason"),
    [
        (f"{SOFTMAX} loss_param {{ {WEIGHTED} }}", [(2, 3), (2,)], "class_weighting is given 4 times for 3 classes"),
        (
            f"{SOFTMAX} loss_param {{ weight_by_label_freqs: true }}",
            [(2, 3), (2,)],
            "class_weighting is given 0 times for 3 classes",
        ),
        (
            'type: "SigmoidCrossEntropyLoss" loss_param { weight_by_label_freqs: true }',
            [(2, 3), (2, 3)],
            "SigmoidCrossEntropyLoss takes no weight_by_label_freqs: only SoftmaxWithLoss does",
        ),
    ],
)
def test_wrong_weights(build, text, bottoms, reason):
    """Weights that are not one for each class, or in a loss that has none, are refused."""
    with pytest.raises(LayerError) as error:
        build(text, *bottoms)
    assert error.value.reason == reason
    assert error.value.field[0] == "loss_param"


def shares_like(scores, axis=1):
    """Random shares of the classes, which add up to 1 in each item."""
    return torch.randn(scores.shape).softmax(axis)


def assert_same(scores, ours, theirs):
    """Equal losses with equal gradients at the scores, to 1e-6."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    (mine,), (other,) = torch.autograd.grad(ours, scores), torch.autograd.grad(theirs, scores)
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
@pytest.mark.parametrize("mode", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5, 2), (1, 3)])
def test_shares(build, shape, mode, smoothing):
    """Of labels that are shares loss and gradient are PyTorch's of probabilities, divided by a Z that counts items."""
    scores = torch.randn(shape, requires_grad=True)
    shares = shares_like(scores)
    loss = build(f"{SOFTMAX} loss_param {{ normalization: {mode} label_smoothing: {smoothing} }}", shape, shape)
    total = F.cross_entropy(scores, shares, reduction="sum", label_smoothing=smoothing)
    items = math.prod(shape) // shape[1]
    expected = total / {"VALID": items, "FULL": items, "BATCH_SIZE": shape[0], "NONE": 1}[mode]
    assert_same(scores, loss(scores, shares), expected)


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_whole_shares_are_labels(build, smoothing):
    """Shares of which one is 1 and the others are 0 are the label of that class."""
    scores, labels = torch.randn(4, 5, 3, requires_grad=True), torch.randint(5, (4, 3))
    text = f"{SOFTMAX} loss_param {{ label_smoothing: {smoothing} }}"
    one_hot = F.one_hot(labels, 5).movedim(-1, 1).float()
    ours = build(text, (4, 5, 3), (4, 5, 3))(scores, one_hot)
    assert_same(scores, ours, build(text, (4, 5, 3), (4, 3))(scores, labels.float()))


def test_gradient_of_shares(build):
    """The gradient is the probabilities minus the shares; the shares get none."""
    scores, shares = torch.randn(2, 3, requires_grad=True), torch.tensor([[0.5, 0.5, 0], [0.2, 0, 0.8]])
    shares.requires_grad_()
    build(f"{SOFTMAX} loss_param {{ normalization: NONE }}", (2, 3), (2, 3))(scores, shares).backward()
    torch.testing.assert_close(scores.grad, (scores.softmax(1) - shares).detach())
    assert shares.grad is None


@pytest.mark.parametrize("far", [1e4, 3e38])
def test_cap_of_shares(build, far):
    """A share costs at most 87.3365 times itself, and its gradient is finite; a share of 0 costs nothing."""
    scores = torch.tensor([[-far, far]], requires_grad=True)
    layer = build(SOFTMAX, (1, 2), (1, 2))
    loss = layer(scores, torch.tensor([[0.25, 0.75]]))
    assert loss.item() == pytest.approx(CAP / 4, rel=1e-6)
    loss.backward()
    assert scores.grad.tolist() == [[-0.25, 0.25]]
    assert layer(scores, torch.tensor([[0.0, 1]])).item() == 0


@pytest.mark.parametrize(
    ("scores", "labels"), [((4, 3, 1, 1), (4, 3)), ((1, 3, 1, 1), (1, 3)), ((2, 3, 1, 5), (2, 3, 5))]
)
def test_shares_may_leave_out_axes_of_one(build, scores, labels):
    """After a global pooling, scores (N, C, 1, 1) take shares (N, C)."""
    x, shares = torch.randn(scores, requires_grad=True), torch.rand(labels)
    loss = build(SOFTMAX, scores, labels)
    assert_same(x, loss(x, shares), F.cross_entropy(x, shares.reshape(scores)))
    assert_same(x, loss(x[:1], shares[:1]), F.cross_entropy(x[:1], shares[:1].reshape(1, *scores[1:])))


def test_one_class_has_labels(build):
    """Of one class a blob in the shape of the scores holds labels, as in Caffe."""
    with pytest.raises(DataError, match="a label is none of the classes 0 to 0, but 1"):
        build(SOFTMAX, (4, 1), (4, 1))(torch.zeros(4, 1), torch.ones(4, 1))


@pytest.mark.parametrize("ignored", [None, 2])
def test_smoothed_labels(build, ignored):
    """Smoothed labels give PyTorch's loss and gradient; an ignored one still costs nothing."""
    scores, labels = torch.randn(6, 5, 3, requires_grad=True), torch.randint(5, (6, 3))
    ignore = "" if ignored is None else f"ignore_label: {ignored}"
    loss = build(f"{SOFTMAX} loss_param {{ label_smoothing: 0.3 {ignore} }}", (6, 5, 3), (6, 3))
    expected = F.cross_entropy(scores, labels, label_smoothing=0.3, ignore_index=-100 if ignored is None else ignored)
    assert_same(scores, loss(scores, labels.float()), expected)


NO_SHARES = "but bottom 1 is (4, 3): mixed labels (shares), which SoftmaxWithLoss takes"
WRONG_SHARES = [
    (SOFTMAX, (4, 10), "need 4 labels, but bottom 1 is (4, 10); shares of classes would be (4, 3)"),
    ('type: "HingeLoss"', (4, 3), f"need 4 labels, one an item, {NO_SHARES}"),
    ('type: "MultinomialLogisticLoss"', (4, 3), f"need 4 labels, one an item, {NO_SHARES}"),
    ('type: "InfogainLoss" infogain_loss_param { source: "matrix" }', (4, 3), f"need 4 labels, {NO_SHARES}"),
]
BY_LABEL = "bottom 1 holds shares of classes: {} needs one label an item"
WRONG_FIELDS = [
    ("SoftmaxWithLoss", "ignore_label: 255", (4, 3), BY_LABEL.format("ignore_label")),
    ("SoftmaxWithLoss", WEIGHTED, (4, 3), BY_LABEL.format("weight_by_label_freqs")),
    ("SoftmaxWithLoss", "label_smoothing: 1.5", (4,), "label_smoothing must be from 0 to 1, not 1.5"),
    ("SoftmaxWithLoss", "label_smoothing: nan", (4,), "label_smoothing must be from 0 to 1, not nan"),
    (
        "SoftmaxWithLoss",
        f"label_smoothing: 0.1 {WEIGHTED}",
        (4,),
        "give label_smoothing or weight_by_label_freqs, not both",
    ),
    (
        "SigmoidCrossEntropyLoss",
        "label_smoothing: 0.1",
        (4, 3),
        "SigmoidCrossEntropyLoss takes no label_smoothing: only SoftmaxWithLoss does",
    ),
]


@pytest.mark.parametrize(("text", "labels", "reason"), WRONG_SHARES)
def test_wrong_shares(build, text, labels, reason):
    """Shares of other classes, and shares in a layer that takes none, are called so."""
    with pytest.raises(LayerError) as error:
        build(text, (4, 3), labels)
    assert error.value.reason.endswith(reason)
    assert error.value.field == ("bottom",)


@pytest.mark.parametrize(("kind", "fields", "labels", "reason"), WRONG_FIELDS)
def test_wrong_fields(build, kind, fields, labels, reason):
    """What needs one label an item is refused beside shares; so is a smoothing that makes no sense."""
    with pytest.raises(LayerError) as error:
        build(f'type: "{kind}" top: "y" loss_param {{ {fields} }}', (4, 3), labels)
    assert error.value.reason == reason
    assert error.value.field[0] == "loss_param"


def test_classes_on_the_first_axis(build):
    """The classes may lie on axis 0, where the labels are as many as the classes."""
    scores, labels = torch.randn(4, 4), torch.randint(4, (4,))
    layer = build(SOFTMAX + "softmax_param { axis: 0 }", (4, 4), (4,))
    torch.testing.assert_close(layer(scores, labels.float()), F.cross_entropy(scores.T, labels))


@pytest.mark.parametrize(("kind", "more"), [("SoftmaxWithLoss", ()), ("InfogainLoss", ((3, 3),))])
def test_probabilities(build, kind, more):
    """A second top holds the probabilities and passes no gradient."""
    scores = torch.randn(4, 3, requires_grad=True)
    layer = build(f'type: "{kind}" top: "y" top: "p"', (4, 3), (4,), *more)
    loss, probabilities = layer(scores, torch.zeros(4), *map(torch.ones, more))
    torch.testing.assert_close(probabilities, scores.detach().softmax(1))
    assert loss.requires_grad
    assert not probabilities.requires_grad


@pytest.mark.parametrize(
    ("score", "target", "loss"),
    [(-15, 0, 3.059023e-07), (15, 1, 3.059023e-07), (0, 1, math.log(2)), (1e4, 0, 1e4), (-1e4, 1, 1e4), (-1e4, 0, 0)],
)
def test_sure_scores(build, score, target, loss):
    """The sigmoid's loss is exact however sure the score is, right or wrong; so is its gradient, at 0 too."""
    scores = torch.tensor([[float(score)]], requires_grad=True)
    top = build('type: "SigmoidCrossEntropyLoss"', (1, 1), (1, 1))(scores, torch.tensor([[float(target)]]))
    assert top.item() == pytest.approx(loss, rel=1e-5)
    top.backward()
    p = torch.tensor(score, dtype=torch.float64).sigmoid().item()
    assert scores.grad.item() == pytest.approx(p - target, rel=1e-5)


def test_ignored_target_by_its_whole_part(build):
    """A target is ignored where its whole part is `ignore_label`: with 0 every one between -1 and 1 is."""
    layer = build('type: "SigmoidCrossEntropyLoss" loss_param { ignore_label: 0 normalization: NONE }', (1, 4), (1, 4))
    scores = torch.zeros(1, 4, requires_grad=True)
    layer(scores, torch.tensor([[0, 0.9, -0.9, 1]])).backward()
    assert scores.grad.tolist() == [[0, 0, 0, -0.5]]


def test_multinomial_floor(build):
    """Below 1e-20 a probability costs what 1e-20 does, with the gradient there; the sum is divided by N."""
    probabilities = torch.tensor([[0.25, 0.75], [0, 1]], requires_grad=True)
    loss = build('type: "MultinomialLogisticLoss"', (2, 2), (2, 1))(probabilities, torch.zeros(2, 1))
    assert loss.item() == pytest.approx((math.log(4) + 20 * math.log(10)) / 2)
    loss.backward()
    torch.testing.assert_close(probabilities.grad, torch.tensor([[-2.0, 0], [-5e19, 0]]))


@pytest.mark.parametrize(
    ("kind", "label"), [("SoftmaxWithLoss", ()), ("SigmoidCrossEntropyLoss", (3,)), ("MultinomialLogisticLoss", ())]
)
def test_last_batch(build, kind, label):
    """A batch smaller than compiled is divided by its own size."""
    layer = build(f'type: "{kind}" top: "y"', (8, 3), (8, *label))
    scores = torch.rand(1, 3)
    twice = layer(scores.repeat(2, 1), torch.ones(2, *label))
    torch.testing.assert_close(layer(scores, torch.ones(1, *label)), twice)
