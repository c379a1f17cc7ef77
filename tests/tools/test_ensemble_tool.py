"""tools/ensemble.py as a command."""

import json
import re
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from netspec.ensemble import METHODS, WEIGHTS_BY
from netspec.scores import Scores, load_scores

ROOT = Path(__file__).parents[2]


class Finished(NamedTuple):
    """What a command leaves behind."""

    returncode: int | str
    stdout: str
    stderr: str


NAMES = tuple(f"n{number:08d} class {number}" for number in range(10))


def run(folder: Path, *arguments: str) -> Finished:
    """The finished command, run in a folder of score files."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["ensemble.py", *arguments])
        try:
            runpy.run_path(str(ROOT / "tools" / "ensemble.py"), run_name="__main__")
        except SystemExit as end:
            return Finished(end.code or 0, out.getvalue(), err.getvalue() + str(end.code))
    return Finished(0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nets, of which c knows nothing, on labelled images (`a_val.npz`) and on others without labels (`a.npz`),
    whose classes are in truth.txt; and scores of these for other classes."""
    folder = tmp_path_factory.mktemp("scores")
    random = np.random.default_rng(0)
    for end, images in (("_val", 300), ("", 200)):
        labels = random.permutation(np.arange(images) % 10)
        keys = tuple(f"test/images/test_{number}.JPEG" for number in range(images))
        for name, strength in (("a", 1.6), ("b", 1.5), ("c", 0)):
            values = random.normal(size=(images, 10)).astype(np.float32)
            values[np.arange(images), labels] += strength
            known = labels if end else None
            Scores(3 * values, keys, known, NAMES).save(folder / f"{name}{end}.npz")
    for name, names in (("few", NAMES[:9]), ("renamed", (*NAMES[:9], "n00000099 cat"))):
        Scores(values[:, : len(names)], keys, None, names).save(folder / f"{name}.npz")
    lines = (f"{Path(key).name} {NAMES[label].split()[0]}\n" for key, label in zip(keys, labels, strict=True))
    (folder / "truth.txt").write_text("".join(lines))
    (folder / "two.json").write_text('{"score_files": []}')
    return folder


def right(folder: Path, name: str) -> int:
    """How many lines of a predictions file are those of the truth."""
    lines, truth = (path.read_text().splitlines() for path in (folder / name, folder / "truth.txt"))
    return sum(line == true for line, true in zip(lines, truth, strict=True))


def test_predictions_are_better_than_those_of_one_net(folder: Path) -> None:
    """The file is in the form of a submission, and the combined scores say the same."""
    for out, files in (("one.txt", ["a.npz"]), ("two.txt", ["a.npz", "b.npz"])):
        done = run(folder, *files, "--out", out, "--out-scores", "combined.npz")
        assert done.returncode == 0, done.stderr
    assert right(folder, "two.txt") > right(folder, "one.txt") + 5
    first = (folder / "two.txt").read_text().splitlines()[0]
    combined = load_scores(folder / "combined.npz")
    assert first == f"test_0.JPEG {NAMES[combined.predictions[0]].split()[0]}"
    assert "as the ensemble" in done.stdout


def test_weights_are_learned_and_used_again(folder: Path) -> None:
    """The net that knows nothing is left out; the recipe of the others makes the same predictions later."""
    learned = ["--weights-by", "greedy", "--validation", "a_val.npz", "b_val.npz", "c_val.npz"]
    done = run(folder, "a.npz", "b.npz", "c.npz", *learned, "--save-recipe", "recipe.json", "--out", "learned.txt")
    assert done.returncode == 0, done.stderr
    validation, combined = done.stdout.split("on the images to combine:\n")
    assert validation.startswith("on the images of the validation, each held out once in 5 folds:\nscore file")
    assert re.search(r"^c_val.npz +0\.000 ", validation, re.MULTILINE)
    assert "ensemble less" in validation
    assert "ensemble less" not in combined
    assert json.loads((folder / "recipe.json").read_text())["score_files"] == ["a_val.npz", "b_val.npz"]
    done = run(folder, "a.npz", "b.npz", "--recipe", "recipe.json", "--out", "again.txt")
    assert done.returncode == 0, done.stderr
    assert (folder / "again.txt").read_text() == (folder / "learned.txt").read_text()


def test_labels_of_the_images_themselves_are_used_in_folds(folder: Path) -> None:
    """Without files for validation the accuracy is one of held-out images, and the title says so."""
    done = run(folder, "a_val.npz", "b_val.npz", "c_val.npz", "--method", "naive-bayes", "--folds", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("each image is combined as learned from the others, in 3 folds:\nscore file")


def test_counts_come_out_even(folder: Path) -> None:
    """With --balance each class has 20 of 200 images, with --counts as many as the file says."""
    done = run(folder, "a.npz", "b.npz", "--balance")
    assert "predicted: 10 of 10 classes, 20 to 20 images each" in done.stdout
    counts = [11, *[21] * 9]
    (folder / "counts.txt").write_text("".join(f"n{i:08d} {count}\n" for i, count in enumerate(counts)))
    done = run(folder, "a.npz", "b.npz", "--counts", "counts.txt")
    assert "predicted: 10 of 10 classes, 11 to 21 images each" in done.stdout


@pytest.mark.parametrize("strength", [0, 0.25, 0.5, 1])
def test_counts_come_part_of_the_way(strength: float, folder: Path) -> None:
    """With a strength of --balance below 1 each count comes so far from where it was to the even one."""
    counts = []
    for options in ([], ["--balance", str(strength)]):
        done = run(folder, "a.npz", "b.npz", *options, "--out-scores", "combined.npz")
        assert done.returncode == 0, done.stderr
        counts.append(np.bincount(load_scores(folder / "combined.npz").predictions, minlength=10))
    own, balanced = counts
    assert own.max() > 20 > own.min()
    assert np.abs(balanced - (own + strength * (20 - own))).max() < 1


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "geometric", "--weights", "1,2,0.5"],
        ["--of", "raw"],
        ["--rank-cutoff", "3", "--weights-by", "accuracy"],
        ["--weights-by", "subsets"],
        ["--method", "dawid-skene", "--smoothing", "5"],
    ],
    ids=" ".join,
)
def test_every_way_prints_a_report(options: list[str], folder: Path) -> None:
    """The last lines are the ensemble's."""
    done = run(folder, "a_val.npz", "b_val.npz", "c_val.npz", *options)
    assert done.returncode == 0, done.stderr
    accuracy, top_5 = r"0\.\d{4}  0\.\d{4} to 0\.\d{4}", r"[01]\.\d{4}  0\.\d{4} to [01]\.\d{4}"
    assert re.search(rf"^ensemble +{accuracy} +{top_5}$", done.stdout, re.MULTILINE)


def test_the_choices_are_those_of_the_package() -> None:
    """--help names every method, and every way to find weights."""
    done = run(ROOT, "--help")
    assert "{" + ",".join(METHODS) + "}" in done.stdout.replace("\n", "")
    assert "{" + ",".join(WEIGHTS_BY) + "}" in done.stdout.replace("\n", "")


MISTAKES = [
    (["none.npz"], "error: none.npz: there is no such score file"),
    (["truth.txt"], "error: truth.txt: no score file of tools/score.py: it is no .npz file"),
    (["a.npz", "a_val.npz"], "error: a.npz: no scores of test/images/test_200.JPEG and 99 more, which a_val.npz has"),
    (["a.npz", "few.npz"], "error: few.npz: scores for 9 classes, but a.npz has them for 10"),
    (
        ["a.npz", "renamed.npz"],
        'error: renamed.npz: class 9 is "n00000099 cat", but in a.npz it is "n00000009 class 9"',
    ),
    (["a.npz", "b.npz", "--weights", "1"], "error: 1 weights for 2 score files"),
    (["a.npz", "b.npz", "--weights", "1,-1"], "error: the weight -1 is none: weights are 0 or above"),
    (["a.npz", "b.npz", "--weights", "1,x"], "argument --weights: invalid weights value: '1,x'"),
    (
        ["a.npz", "b.npz", "--weights-by", "accuracy"],
        "error: a.npz: no labels, but weights by accuracy must be learned",
    ),
    (
        ["a.npz", "--weights-by", "greedy", "--validation", "b.npz"],
        "error: b.npz: no labels, so it is nothing",
    ),
    (["a.npz", "b.npz", "--validation", "a_val.npz"], "error: 1 score files for validation, but 2 to combine"),
    (["a.npz", "--method", "dawid-skene", "--weights", "1"], "error: dawid-skene takes no weights: it learns how good"),
    (["a.npz", "--of", "raw", "--rank-cutoff", "5"], "a rank cut-off needs a sum of softmax scores"),
    (["a.npz", "--recipe", "none.json"], "error: none.json: there is no such file"),
    (["a.npz", "--recipe", "two.json"], "error: two.json: no recipe of tools/ensemble.py: it has no 'method'"),
    (["a.npz", "--recipe", "two.json", "--rank-cutoff", "3"], "--rank-cutoff does not go with --recipe, which has it"),
    (["a.npz", "--recipe", "two.json", "--weights", "3"], "argument --weights: not allowed with argument --recipe"),
    (["a.npz", "--balance", "2"], "error: the strength of the balancing is 2: it goes from 0 to 1"),
    (["a.npz", "b.npz", "--out-scores", "./b.npz"], "./b.npz is to be written, but is another of these files too"),
    (["a.npz", "--out", "x.txt", "--save-recipe", "x.txt"], "x.txt is to be written, but is another of these files"),
    (["a.npz", "--out", "x.npz"], "--out writes predictions as text; --out-scores writes a score file"),
    (["a.npz", "--out", "truth.txt/out.txt"], "error: truth.txt/out.txt: cannot be written: "),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_gets_one_message(arguments: list[str], message: str, folder: Path) -> None:
    """A mistake ends the command with a message; anything but SystemExit would come through here."""
    done = run(folder, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert not done.stdout
