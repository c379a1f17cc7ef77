"""The figures of a run are the same from its log.csv, from what it logged, and from what Caffe logged."""

import io
import logging
import math
from pathlib import Path

import pytest

from netspec import DataError, Solver, SpecError, parse_solver
from netspec.curves import rates_ahead, read_curves
from netspec.log import GlogFormatter, logger
from netspec.spec import Document, to_text

HERE = Path(__file__).parent
CAFFE = HERE / "golden" / "caffe_train.log"


def test_a_log_of_caffe() -> None:
    """Losses, rates and outputs of all nets, those of a resumed run over the ones before; several numbers of an output
    count from 0, whatever is logged between them."""
    curves = read_curves(CAFFE)
    assert curves.name == str(CAFFE)
    last = curves.points["loss"].pop(1000)
    assert math.isnan(last)
    assert curves.points == {
        "loss": {0: 2.35126, 250: 3.1e-05, 500: 0.125},
        "lr": {0: 0.01, 250: 0.01, 500: 0.001},
        "train accuracy": {0: 0.109375, 250: 1.0, 500: 0.96875},
        "train loss": {0: 2.35126, 250: 3.1e-05, 500: 0.5},
        "test accuracy": {0: 0.0979, 500: 0.98},
        "test loss": {0: 2.36021, 500: 0.0625},
        "test 1 per_class[0]": {0: 0.25},
        "test 1 per_class[1]": {0: 0.5},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run, with the lines that it logged in `run.log`."""
    folder = tmp_path_factory.mktemp("run")
    handler, level = logging.StreamHandler(io.StringIO()), logger.level
    handler.setFormatter(GlogFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        settings = {"max_iter": 6, "display": 2, "test_interval": 3, "snapshot_prefix": str(folder / "digits")}
        Solver(HERE / "solver" / "digits.solver", settings=["test_iter=[1, 2]"], **settings).solve()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    (folder / "run.log").write_text(handler.stream.getvalue())
    return folder


@pytest.mark.parametrize("name", ["log.csv", "", "digits", "run.log"])
def test_a_run_by_each_of_its_names(run: Path, name: str) -> None:
    """The log, its folder, the prefix of the snapshots and the lines on standard error have the same figures."""
    curves = read_curves(run / name)
    assert curves.name == str(run / name)
    assert list(curves.points["loss"]) == [0, 2, 4, 6] and list(curves.points["test 1 accuracy"]) == [0, 3, 6]
    assert set(curves.points) == {
        "lr", "loss", "train loss", "test accuracy", "test loss", "test 1 accuracy", "test 1 loss",
    }  # fmt: skip
    for column, points in read_curves(run / "log.csv").points.items():
        assert curves.points[column] == pytest.approx(points, rel=1e-5)


def test_runs_that_share_a_folder(tmp_path: Path) -> None:
    """Each is found by its prefix; a folder alone must have one log, and says which it has."""
    for mark, name in (("", "a"), ("b_", "b")):
        (tmp_path / f"{mark}environment.txt").write_text(f"prefix {name}\n")
    (tmp_path / "b_log.csv").write_text("iteration,loss\n0,2\n")
    assert read_curves(tmp_path / "b").points == read_curves(tmp_path).points == {"loss": {0: 2.0}}
    (tmp_path / "c_log.csv").write_text("iteration,loss\n0,3\n")
    with pytest.raises(DataError, match=r"name one of b_log\.csv, c_log\.csv"):
        read_curves(tmp_path)
    (tmp_path / "log.csv").write_text("iteration,loss\n0,1\n")
    assert read_curves(tmp_path / "a").points == read_curves(tmp_path).points == {"loss": {0: 1.0}}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing", None, "no log, no folder with one, and no prefix"),
        ("empty.log", b"", "there are no figures of a run in it"),
        ("log.csv", b"iteration,epoch\n", "there are no figures of a run in it"),
        ("log.csv", b"iteration,loss\n0,two\n", '"two" is no number'),
        ("image.png", bytes(range(256)), "there are no figures of a run in it"),
        ("dir/x", b"", r"there is no log\.csv in it"),
    ],
)
def test_what_is_no_run(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """One message says what is missing."""
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_curves(path.parent if "/" in name else path)


def ahead(text: str) -> dict[int, float]:
    solver = parse_solver(f'net: "n" max_iter: 10 base_lr: 1 {text}')
    return rates_ahead(Document(solver, to_text(solver), "a.solver"))


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ('lr_policy: "fixed"', [1] * 10),
        ('lr_policy: "multistep" gamma: 0.5 stepvalue: 4 stepvalue: 8', [1] * 4 + [0.5] * 4 + [0.25] * 2),
        ('lr_policy: "poly" power: 1 warmup_iter: 2', [0, 0.45, *(1 - i / 10 for i in range(2, 10))]),
        ('lr_policy: "plateau" gamma: 0.1 watch: "accuracy" test_interval: 1', [1] * 10),
    ],
)
def test_the_rate_ahead(text: str, rates: list[float]) -> None:
    """The rate of every iteration of a short run; that of a plateau as if every test were better."""
    assert ahead(text) == pytest.approx(dict(enumerate(rates)), abs=1e-6)


def test_the_rate_of_a_long_run() -> None:
    """A million iterations are some thousand points, the first included."""
    solver = parse_solver('net: "n" max_iter: 1000000 base_lr: 1 lr_policy: "fixed"')
    rates = rates_ahead(Document(solver, "", "a.solver"))
    assert 0 in rates and 1000 < len(rates) < 10_000


def test_a_wrong_solver() -> None:
    """A mistake in the solver is said as for a run."""
    with pytest.raises(SpecError, match="needs gamma"):
        ahead('lr_policy: "exp"')
