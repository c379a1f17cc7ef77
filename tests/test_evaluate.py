"""Scores over a whole set, and over some batches as Caffe takes them."""

from pathlib import Path

import numpy as np
import pytest

from netspec import Net, SpecError, evaluate, parse_net

TRAINING = Path(__file__).parent / "golden" / "training"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    """The recorded test net with Caffe's weights: batches of 33 of 297 records."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    return Net(TRAINING / "net.prototxt", weights=TRAINING / "run_iter_100.caffemodel")


@pytest.mark.parametrize("iterations", [9, None])
def test_caffes_scores(net: Net, iterations: int | None) -> None:
    """Loss and accuracy over the whole set are those that Caffe printed."""
    curve = np.load(TRAINING / "curve.npz")
    scores = evaluate(net, iterations)
    assert scores["loss"] == [pytest.approx(float(curve["test_loss"]), abs=1e-5)]
    assert scores["accuracy"] == [pytest.approx(float(curve["test_accuracy"]), abs=1e-6)]


def from_anywhere() -> str:
    """The recorded net's text with the full paths of its files, to be parsed without its file."""
    text = (TRAINING / "net.prototxt").read_text()
    for source in ("test_lmdb", "train_lmdb", "mean.binaryproto"):
        text = text.replace(f'"{source}"', f'"{TRAINING / source}"')
    return text


@pytest.mark.parametrize("batch", [1, 32, 100, 297, 500])
def test_a_pass_does_not_depend_on_the_batch_size(net: Net, batch: int) -> None:
    """Without a number of iterations every record counts once, whatever remains for the last batch."""
    other = Net(parse_net(from_anywhere().replace("batch_size: 33", f"batch_size: {batch}")), share=net)
    assert evaluate(other) == {name: pytest.approx(values, abs=1e-6) for name, values in evaluate(net).items()}


def test_a_pass_leaves_the_position(net: Net) -> None:
    """A whole pass does not move the data layer; batches do."""
    evaluate(net, 2)
    assert net.sources[0][1].position == 66
    evaluate(net)
    assert net.sources[0][1].position == 66


def test_batches_go_on_from_the_position(net: Net) -> None:
    """Nine calls of one batch have the mean of one call of nine."""
    single = [evaluate(net, 1)["loss"][0] for _ in range(9)]
    assert len(set(single)) == 9
    assert evaluate(net, 9)["loss"] == [pytest.approx(np.mean(single))]


def test_no_gradients_are_kept(net: Net) -> None:
    """Evaluation leaves no gradient behind."""
    evaluate(net, 1)
    assert all(param.grad is None for param in net.parameters())


def test_a_top_of_several_numbers_is_a_list(net: Net) -> None:
    """An output of several numbers comes flattened, in order."""
    text = from_anywhere()
    scores = Net(parse_net(text[: text.index('layer { name: "loss"')]), share=net)
    data, label = next(scores.sources[0][1].once())
    expected = scores(data=data, label=label)["ip"].flatten().tolist()
    assert evaluate(scores, 1)["ip"] == pytest.approx(expected)


def test_a_pass_needs_data() -> None:
    """A net without a data layer cannot go over every record."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 2] } } }'
    with pytest.raises(SpecError, match="the net has no data layer"):
        evaluate(Net(parse_net(text)))


def test_scores_as_outputs(net: Net) -> None:
    """An output with a row a record becomes the mean row over all records, though the last batch is short."""
    text = "".join(line for line in from_anywhere().splitlines(True) if "Loss" not in line and "Accuracy" not in line)
    scores = Net(parse_net(text.replace("batch_size: 33", "batch_size: 100")), share=net)
    assert scores.outputs == ("ip", "label")
    expected = np.load(TRAINING / "curve.npz")["scores"].mean(0)
    assert evaluate(scores) == {"ip": pytest.approx(expected.tolist(), abs=1e-4)}
