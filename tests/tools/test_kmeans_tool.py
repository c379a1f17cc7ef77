"""tools/kmeans.py: what it prints, and what it says of a mistake."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "kmeans.py"
DIGITS = ROOT / "netspec" / "data" / "digits"
SETS = [str(DIGITS / "train_lmdb"), str(DIGITS / "test_lmdb")]
SMALL = ["--clusters", "40", "--patches", "2000", "--patch-size", "3", "--stride", "1", "--images", "600"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["kmeans.py", *arguments])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_the_digits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Handwritten digits are told apart far better than by guessing, and the study's error stands below."""
    pytest.importorskip("sklearn")
    run(monkeypatch, *SETS, *SMALL, "--seed", "1")
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == "600 train and 297 val images of 10 classes"
    assert last == "the study's baseline on Tiny ImageNet: error 0.982"
    assert [re.sub(r"error .*", "", line) for line in lines] == [
        "raw pixels, 40 clusters: ",
        "whitened patches, 40 clusters, triangle, nearest class mean: ",
        "whitened patches, 40 clusters, triangle, linear: ",
    ]
    errors = [float(found[1]) for line in lines if (found := re.search(r"error (0\.\d{4}) \(95 %: ", line))]
    assert len(errors) == 3 and max(errors) < 0.4 and errors[2] < 0.2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([SETS[0], "nowhere"], "error: nowhere: the list cannot be read: No such file or directory"),
        ([*SETS, "--clusters", "0"], "argument --clusters: invalid positive value: '0'"),
        ([*SETS, "--images", "20"], "200 clusters need as many images in "),
        ([*SETS, "--patch-size", "9"], "patches of 9 pixels are larger than the images"),
    ],
)
def test_a_mistake_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What is wrong is said at the end of the program, without a traceback."""
    pytest.importorskip("sklearn")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)
    message = f"{ended.value.code}{capsys.readouterr().err}"
    assert said in message and "Traceback" not in message


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install without it gets one line before anything is read, which names the extra."""
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "nowhere", "nowhere")
    assert ended.value.code == "error: scikit-learn is not installed: pip install 'netspec[kmeans]'"
