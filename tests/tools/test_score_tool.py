"""tools/score.py, tools/classify.py and tools/deploy.py as commands, on the recorded run."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score", NET, "--weights", WEIGHTS), "required: --out"),
        (("score", NET, "--out", "x.npz"), "required: --weights"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--crops", "9"), '"9" is none of center, 5,'),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--crops", "5"), "there is nothing to crop"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--names", "none"), "none: the names of the classes"),
        (("score", NET, "--weights", WEIGHTS, "--out", "x.npz", "--source", "none"), "none: there is no such folder"),
        (("score", NET, "--weights", WEIGHTS, "--out", "README.md/x.npz"), "README.md/x.npz: cannot be written: "),
        (("score", WEIGHTS, "--out", "x.npz"), "has no data of its own"),
        (("score", WEIGHTS, "--out", "x.npz", "--set", "a.b=1"), "--set, --stage and --define are for net files"),
        (("classify", NET, "--weights", WEIGHTS, "none.jpg"), "none.jpg: there is no such image"),
        (("classify", NET, "--weights", WEIGHTS, "README.md"), "README.md: cannot decode an image"),
        (("classify", NET, "--weights", WEIGHTS, "--top", "0", "README.md"), "--top must be at least 1"),
        (("classify", NET, "--weights", WEIGHTS, "--size", "0", "README.md"), "argument --size: invalid"),
        (("deploy", "zoo/nin.prototext"), 'did you mean "zoo/nin.prototxt"?'),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_message(run, arguments, message):
    """A mistake ends a tool with one message and writes nothing."""
    assert message in run(*arguments, fails=True)
    assert not (ROOT / "x.npz").exists()
