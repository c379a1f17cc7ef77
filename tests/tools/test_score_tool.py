"""tools/score.py, tools/classify.py and tools/deploy.py as commands, on the recorded run."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec import Net, parse_net
from netspec.scores import load_scores

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "tests" / "golden" / "training"
NET, WEIGHTS = str(TRAINING / "net.prototxt"), str(TRAINING / "run_iter_100.caffemodel")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a tool from the root of the repository, in this process; its output, or the message that ends it."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("netspec.log_to_stderr", lambda: None)

    def run(tool: str, *arguments: object, fails: bool = False) -> str:
        monkeypatch.setattr("sys.argv", [f"tools/{tool}.py", *map(str, arguments)])
        if not fails:
            runpy.run_path(f"tools/{tool}.py", run_name="__main__")
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as end:
            runpy.run_path(f"tools/{tool}.py", run_name="__main__")
        assert end.value.code
        return f"{end.value.code}{capsys.readouterr().err}"

    return run


@pytest.fixture
def digit(tmp_path):
    """A grey image of another size than the digits of the recorded net."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 13), dtype=np.uint8)).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def test_a_score_file(run, tmp_path):
    """The file has Caffe's scores of every test image, and the tool prints the accuracy that Caffe printed."""
    out = run("score", NET, "--weights", WEIGHTS, "--out", tmp_path / "scores.npz")
    curve = np.load(TRAINING / "curve.npz")
    scores = load_scores(tmp_path / "scores.npz")
    np.testing.assert_allclose(scores.scores, curve["scores"], rtol=0, atol=1e-4 * np.abs(curve["scores"]).max())
    assert (scores.kind, len(scores.keys)) == ("raw", 297)
    assert out.splitlines()[0] == f"{tmp_path}/scores.npz: 297 images, 1 window each, 10 classes, raw"
    assert f"\naccuracy = {float(curve['test_accuracy']):.6g}\n" in out
    assert re.search(r"\ntop-5 = \S+\n\d+\.\d\d s, \d+ images/s on cpu\n$", out)


def test_other_crops_and_kinds(run, tmp_path):
    """Mirror images, the averages and distributions are asked for by flags, names of classes by a file."""
    (tmp_path / "names").write_text("".join(f"digit {number}\n" for number in range(10)))
    options = "--mirror", "--average", "scores", "--softmax", "--names", tmp_path / "names"
    source = "--source", TRAINING / "train_lmdb"
    out = run("score", NET, "--weights", WEIGHTS, "--out", tmp_path / "scores.npz", *options, *source)
    assert "2 windows each, 10 classes, softmax" in out
    scores = load_scores(tmp_path / "scores.npz")
    np.testing.assert_allclose(scores.scores.sum(1), 1, atol=1e-5)
    assert (scores.kind, scores.classes[9]) == ("softmax", "digit 9")


ENLARGED = "--size", 10, "--mean", 0, "--set", "data.transform_param.crop_size=8"
"""What gives the recorded net, of 8x8 pixels, images to crop."""


@pytest.mark.parametrize(("form", "windows"), [("5", 5), ("10", 10), ("random:3", 3), ("grid:2", 4)])
def test_crops_of_every_image(run, tmp_path, form, windows):
    """So many windows of each image are scored: the same images, but not the scores of their centres alone."""
    given = NET, "--weights", WEIGHTS, *ENLARGED, "--out"
    run("score", *given, tmp_path / "center.npz")
    out = run("score", *given, tmp_path / "crops.npz", "--crops", form)
    assert out.startswith(f"{tmp_path}/crops.npz: 297 images, {windows} windows each, 10 classes, raw\n")
    center, crops = (load_scores(tmp_path / f"{name}.npz") for name in ("center", "crops"))
    assert crops.scores.shape == center.scores.shape == (297, 10)
    assert (crops.keys, crops.labels.tolist()) == (center.keys, center.labels.tolist())
    assert (np.abs(crops.scores - center.scores).max(1) > 0.01).mean() > 0.9


SOFTMAX = 'layer { name: "more" type: "Softmax" bottom: "pool2" top: "more" }'


@pytest.mark.parametrize(
    ("more", "options", "classes"),
    [
        ("", ("--raw",), 10),
        ("", ("--blob", "ip"), 10),
        ("", ("--blob", "prob"), 10),
        (SOFTMAX, ("--blob", "prob"), 10),
        (SOFTMAX, ("--blob", "more"), 16),
        ("", ("--blob", "pool2"), 16),
    ],
)
def test_the_blob_that_is_scored(run, beside, tmp_path, more, options, classes):
    """--raw says what is written anyway, --blob which scores, by their own name or by that of their softmax."""
    run("score", beside(more), "--weights", WEIGHTS, "--out", tmp_path / "scores.npz", *options)
    run("score", NET, "--weights", WEIGHTS, "--out", tmp_path / "plain.npz")
    scores, plain = (load_scores(tmp_path / f"{name}.npz") for name in ("scores", "plain"))
    assert (scores.kind, scores.scores.shape) == ("raw", (297, classes))
    assert np.array_equal(scores.scores, plain.scores) == (classes == 10)


@pytest.fixture
def beside(tmp_path):
    """Write the recorded net with more layers, and give its path."""

    def beside(more: str, name: str = "more.prototxt") -> Path:
        text = re.sub(r'(source|mean_file): "', rf'\1: "{TRAINING}/', Path(NET).read_text())
        (tmp_path / name).write_text(text + more)
        return tmp_path / name

    return beside


def test_a_deploy_text(run, tmp_path):
    """The written deploy net has the scores of the test net, over a set that it is given."""
    run("deploy", NET, "--out", tmp_path / "deploy.prototxt")
    assert run("deploy", NET) == (tmp_path / "deploy.prototxt").read_text()
    options = "--scale", 0.0078125, "--source", TRAINING / "test_lmdb"
    run("score", tmp_path / "deploy.prototxt", "--weights", WEIGHTS, "--out", tmp_path / "a.npz", *options)
    run("score", NET, "--weights", WEIGHTS, "--out", tmp_path / "b.npz", "--mean", 0)
    first, second = load_scores(tmp_path / "a.npz"), load_scores(tmp_path / "b.npz")
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-5)
    assert first.labels.tolist() == second.labels.tolist()


def test_classes_of_an_image(run, digit, tmp_path):
    """An image's classes are printed as Caffe's example did, best first, the same for each form of the net."""
    out = run("classify", NET, "--weights", WEIGHTS, "--top", 3, digit)
    lines = out.splitlines()
    assert lines[0] == f"---------- Prediction for {digit} ----------"
    shares = [float(re.fullmatch(r'(0\.\d{4}) - "class \d"', line)[1]) for line in lines[1:]]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    alone = "--size", 8, "--mean-file", TRAINING / "mean.binaryproto"
    assert run("classify", WEIGHTS, *alone, "--top", 3, digit) == out


def test_classification_as_caffes_example(run, digit, tmp_path):
    """A deploy text, its weights, a mean file and names are all that an image needs."""
    (tmp_path / "words").write_text("".join(f"n{number:08d} digit\n" for number in range(10)))
    run("deploy", NET, "--out", tmp_path / "deploy.prototxt")
    given = "--mean-file", TRAINING / "mean.binaryproto", "--scale", 0.0078125, "--names", tmp_path / "words"
    lines = run("classify", tmp_path / "deploy.prototxt", "--weights", WEIGHTS, *given, digit, digit).splitlines()
    assert len(lines) == 12
    assert all(re.fullmatch(r'0\.\d{4} - "n0000000\d digit"', line) for line in lines[1:6])


@pytest.fixture
def mistaken(tmp_path, beside):
    """A folder with nets that have more layers or outputs, one that has nothing to learn, and weights of other nets."""
    beside(SOFTMAX, "two.prototxt")
    beside('layer { name: "fc" type: "InnerProduct" bottom: "pool2" top: "fc" inner_product_param { num_output: 4 } }')
    data = "layer".join(Path(NET).read_text().split("layer")[:3])
    (tmp_path / "data.prototxt").write_text(data.replace('source: "', f'source: "{TRAINING}/'))
    for name, layer in (("other", "fc"), ("narrow", "ip")):
        product = f'type: "InnerProduct" bottom: "data" top: "{layer}" inner_product_param {{ num_output: 4 }}'
        inputs = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 16] } } }'
        Net(parse_net(f'{inputs} layer {{ name: "{layer}" {product} }}')).save(tmp_path / f"{name}.caffemodel")
    (tmp_path / "text.caffemodel").write_text("weights")
    return tmp_path


WRONG_WEIGHTS = [
    ("none.caffemodel", "none.caffemodel: "),
    ("text.caffemodel", "text.caffemodel: this is no caffemodel, or it is damaged"),
    ("other.caffemodel", "other.caffemodel: no layer of this net is in it (it has fc; the net conv1, "),
    ("narrow.caffemodel", 'narrow.caffemodel: blob 0 of layer "ip" has shape (10, 16) here and (4, 16) there'),
]


@pytest.mark.parametrize(("weights", "message"), WRONG_WEIGHTS)
@pytest.mark.parametrize("tool", ["score", "classify"])
def test_wrong_weights_get_one_message(run, mistaken, digit, tool, weights, message):
    """Weights that are missing, damaged or of another net end either tool with one message, and nothing is written."""
    own = ("--out", mistaken / "x.npz") if tool == "score" else (digit,)
    said = run(tool, NET, "--weights", mistaken / weights, *own, fails=True)
    assert said.startswith(f"error: {mistaken}/{message}")
    assert said.count("\n") == 0
    assert not (mistaken / "x.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", "two.prototxt"), "which of these outputs are the scores is not known: "),
        (("score", "more.prototxt"), "weights of another net: they lack fc"),
        (("score", NET, "--blob", "fc"), 'the net has no blob "fc"; its outputs are prob'),
        (("score", NET, "--blob", "conv1"), '"conv1" has the shape (33, 12, 8, 8) for 33 images'),
        (("score", "data.prototxt"), "no layer with weights leads to an output, so there is nothing to score"),
        (("classify", "data.prototxt"), "no layer with weights leads to an output, so there is nothing to score"),
    ],
)
def test_a_net_without_scores_gets_one_message(run, mistaken, digit, arguments, message):
    """A net that has no scores, or several outputs of which none is named, ends a tool with one message."""
    tool, net, *options = arguments
    own = ("--out", mistaken / "x.npz") if tool == "score" else (digit,)
    said = run(tool, mistaken / net, "--weights", WEIGHTS, *options, *own, fails=True)
    assert said.startswith("error: ")
    assert message in said
    assert not (mistaken / "x.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", NET, "--weights", WEIGHTS), "required: --out"),
        (("score", NET, "--out", "x.npz"), "required: --weights"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--crops", "9"), '"9" is none of center, 5,'),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--crops", "5"), "there is nothing to crop"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--raw", "--softmax"), "not allowed with argument"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--names", "none"), "none: the names of the classes"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--source", "none"), "none: there is no such folder"),
        (("score", NET, "--weights", WEIGHTS, "--out", "README.md/x.npz"), "README.md/x.npz: cannot be written: "),
        (("score", WEIGHTS, "--out", "x.npz"), "has no data of its own"),
        (("score", WEIGHTS, "--out", "x.npz", "--set", "a.b=1"), "--set, --stage and --define are for net files"),
        (("classify", NET, "--weights", WEIGHTS, "none.jpg"), "none.jpg: there is no such image"),
        (("classify", NET, "--weights", WEIGHTS, "README.md"), "README.md: cannot decode an image"),
        (("classify", NET, "--weights", WEIGHTS, "--top", "0", "README.md"), "--top must be at least 1"),
        (("classify", NET, "--weights", WEIGHTS, "--size", "0", "README.md"), 'argument --size: "0" is no size'),
        (("classify", NET, "--weights", WEIGHTS, "--std", "a", "README.md"), 'argument --std: "a" is no number'),
        (("deploy", "zoo/nin.prototext"), 'did you mean "zoo/nin.prototxt"?'),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_message(run, arguments, message):
    """A mistake ends a tool with one message and writes nothing."""
    assert message in run(*arguments, fails=True)
    assert not (ROOT / "x.npz").exists()
