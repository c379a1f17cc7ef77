"""What the tests of a run decide: plateaus, early ends, the best snapshot."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netspec import Net, Solver, SpecError, parse_net, parse_solver
from netspec.solver.rates import learning_rate
from netspec.solver.watch import Watch
from netspec.spec import Document

Build = Callable[..., Solver]
NET = parse_net("""
    layer { name: "in" type: "Input" top: "accuracy" top: "loss" input_param { shape { dim: 1 } } }
    layer { name: "out" type: "Silence" bottom: "loss" }
""")


def watch_of(fields: str) -> tuple[Watch, Callable[[float, int], None]]:
    """A watch, and a function that hands it one value."""
    solver = parse_solver(f'watch: "accuracy" {fields}')
    watch = Watch(Document(solver, "", "a.solver"), solver, [Net(NET)])
    return watch, lambda value, iteration: watch.look([{"accuracy": [value]}], iteration)


@pytest.mark.parametrize("mode", ["MAX", "MIN"])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_is_torchs(mode: str, patience: int) -> None:
    """The rates over 200 random values are those of torch's ReduceLROnPlateau with an absolute threshold."""
    fields = f"watch_mode: {mode} plateau_patience: {patience} watch_threshold: 0.05"
    fields += ' base_lr: 0.5 lr_policy: "plateau" gamma: 0.7 min_lr: 0.01'
    solver = parse_solver(fields)
    watch, look = watch_of(fields)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode.lower(), 0.7, patience, threshold=0.05, threshold_mode="abs", min_lr=0.01, eps=0
    )
    draw = random.Random(5)
    for iteration in range(200):
        value = math.nan if iteration % 31 == 30 else draw.gauss(iteration / 100, 0.5)
        look(value, iteration)
        scheduler.step(value)
        ours = learning_rate(solver, iteration, watch.drops)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
    assert watch.drops > 3


def test_nothing_drops_below_the_floor(caplog: pytest.LogCaptureFixture) -> None:
    """Once the rate is min_lr a plateau drops nothing, and the log says of no drop."""
    watch, look = watch_of('base_lr: 0.5 lr_policy: "plateau" gamma: 0.1 min_lr: 0.02 plateau_patience: 0')
    for iteration in range(9):
        look(0.5, iteration)
    assert watch.drops == caplog.text.count("the rate drops") == 2


def test_the_mode_follows_from_the_output(solver_of: Build) -> None:
    """A loss is better where it is smaller, anything else where it is larger."""
    for name, better in (("loss", 0.5), ("accuracy", 2.0)):
        solver = solver_of(watch=name)
        for value in (1.0, better):
            solver._watch.look([{name: [value]}], 0)
            assert solver._watch.is_best


@pytest.mark.parametrize(
    ("patience", "end"),
    [(1, 6), (2, 7), (4, 9), (0, 10)],
)
def test_an_early_end(patience: int, end: int) -> None:
    """The run ends with the test after which more than stop_patience in a row were no better."""
    watch, look = watch_of(f"stop_patience: {patience}")
    values = [0.1, 0.2, 0.2, 0.3, 0.3, 0.2, 0.3, 0.1, 0.3, 0.3]
    ended = next((index for index, value in enumerate(values) if look(value, index) or watch.has_enough), len(values))
    assert ended + 1 == end + (0 if patience else 1)


def test_a_run_that_ends_early_is_finished_and_saved(solver_of: Build, tmp_path: Path) -> None:
    """Where nothing counts as better the run ends at its fourth test, with a snapshot and a line."""
    solver = solver_of(base_lr=0, watch="loss", watch_threshold=1000, stop_patience=2, test_interval=4, max_iter=50)
    assert solver.solve() is True
    assert solver.iter == 12
    assert (tmp_path / "run_iter_12.solverstate").is_file()


def test_the_best_snapshot_is_kept(solver_of: Build, tmp_path: Path) -> None:
    """Beside the run's own snapshots there is that of the best test, and of no other; it can be resumed."""
    solver = solver_of(watch="accuracy", snapshot_best=True, test_iter=[], test_interval=5, snapshot=0)
    values = iter([0.2, 0.5, 0.4, 0.6, 0.3])
    solver._tests.run = lambda iteration, stop: [{"accuracy": [next(values)]}]  # type: ignore[method-assign]
    solver.step(22)
    assert sorted(path.name for path in tmp_path.glob("run_best*")) == [
        "run_best_iter_15.caffemodel",
        "run_best_iter_15.solverstate",
    ]
    other = solver_of(watch="accuracy", test_interval=5)
    other.restore(tmp_path / "run_best_iter_15.caffemodel")
    assert other.iter == 15


def test_the_last_test_counts(solver_of: Build, tmp_path: Path) -> None:
    """Where the test of the final weights is the best of all, they are the best snapshot; the run that resumes from it
    goes on as the one that resumes from the last snapshot."""
    fields = {"watch": "accuracy", "snapshot_best": True, "test_iter": [], "test_interval": 5}
    solver = solver_of(max_iter=10, snapshot=0, **fields)
    values = iter([0.2, 0.5, 0.6])
    solver._tests.run = lambda iteration, stop: [{"accuracy": [next(values)]}]  # type: ignore[method-assign]
    solver.solve()
    ends = []
    for name in ("run_best_iter_10.solverstate", "run_iter_10.solverstate"):
        other = solver_of(**fields)
        other.restore(tmp_path / name)
        other.step(2)
        ends.append([param.tensor.detach().clone() for param in other.net.params])
    assert all(torch.equal(best, last) for best, last in zip(*ends, strict=True))


def test_nothing_is_decided_without_a_watch() -> None:
    """A solver that names no output judges nothing."""
    watch = Watch(Document(parse_solver(""), "", "a.solver"), parse_solver(""), [])
    watch.look([{"accuracy": [1.0]}], 0)
    assert (watch.is_best, watch.has_enough, watch.drops) == (False, False, 0)


def test_an_output_that_is_not_there(solver_of: Build) -> None:
    """The message stands at the field, and names the nearest output of the test nets."""
    with pytest.raises(SpecError, match='no test net has an output "acuracy"; there are accuracy, loss') as caught:
        solver_of(watch="acuracy", test_interval=5)
    assert caught.value.hint == 'did you mean "accuracy"?'
    assert caught.value.source_line.startswith("watch:")
