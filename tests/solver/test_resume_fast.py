"""A solved run that resumes is the uninterrupted one to the bit, however fast or exact it computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_equal_paths import DRAWING_FORMS, TEXT
from test_resume import assert_identical, everything, resumed

from netspec import Solver
from netspec.forms import PLAIN, Site, choice
from netspec.schema.netspec_pb2 import Capture, Precision
from netspec.solver import layout, speed

Build = Callable[..., Solver]
Fastest = Callable[[tuple[str, ...], str], None]

HALF = 12
"""Iterations before and after the point where a run is interrupted."""

COMMON = {"snapshot": 0, "average_loss": 2 * HALF, "test_interval": 5, "test_iter": [1]}
MANY_FORMS = {"net": str(TEXT), "base_lr": 0.001, "capture": Capture.ON}

FAST: dict[str, dict[str, Any]] = {
    "FP32": {"precision": Precision.FP32},
    "BF16": {"precision": Precision.BF16},
    "averaged weights": {"type": "Adam", "momentum2": 0.999, "ema_decay": 0.9, "test_ema": True, "iter_size": 2},
}

EXACT: dict[str, dict[str, Any]] = {"as it is": {}, "replayed": {**MANY_FORMS, "iter_size": 2}}


@pytest.fixture
def fastest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fastest:
    """Let forms of some names, and a memory format, be measured to be the fastest, by a machine that knew no times."""

    def fix(names: tuple[str, ...], memory_format: str) -> None:
        def seconds(site: Site, *_: object) -> dict[str, float]:
            return {PLAIN: 2.0, **{kind.name: 1.0 if kind.name in names else 3.0 for kind in site.forms}}

        times = {name: 1.0 if name == memory_format else 2.0 for name in layout.FORMATS}
        monkeypatch.setattr(choice, "measure", seconds)
        monkeypatch.setattr(layout, "_measure", lambda _: times)
        monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "+".join(["cache", memory_format, *names])))

    return fix


def solved(solver: Solver) -> dict[str, Any]:
    """What a run has come to, all its losses too, and what it computed in."""
    assert solver.solve()
    forms, memory_format = solver.net.forms, solver.net.memory_format
    return {**everything(solver), "forms": forms, "memory format": memory_format}


@pytest.mark.parametrize("names", DRAWING_FORMS, ids="+".join)
@pytest.mark.parametrize("case", FAST)
def test_a_fast_run(
    solver_of: Build, fastest: Fastest, caplog: pytest.LogCaptureFixture, case: str, names: tuple[str, ...]
) -> None:
    """Weights, history, losses and tests are the same where passes are replayed and layers compute in other forms."""
    fields = {**COMMON, **MANY_FORMS, "fast": True, **FAST[case]}
    fastest(names, "CONTIGUOUS")
    expected = solved(solver_of(name="whole", max_iter=2 * HALF, **fields))
    assert set(expected["forms"].values()) == set(names)
    solved(solver_of(max_iter=HALF, **fields))
    assert_identical(solved(resumed(solver_of, max_iter=2 * HALF, **fields)), expected)
    assert caplog.text.count("iterations are captured, then replayed") == 3


@pytest.mark.parametrize("names", DRAWING_FORMS, ids="+".join)
def test_a_fast_run_where_times_have_changed(solver_of: Build, fastest: Fastest, names: tuple[str, ...]) -> None:
    """So they are where plain layers in another memory format look faster by the time it resumes; its tests too."""
    fields = {**COMMON, **MANY_FORMS, "fast": True, "precision": Precision.FP32, "test_iter": [4]}
    fastest(names, "CONTIGUOUS")
    expected = solved(solver_of(name="whole", max_iter=2 * HALF, **fields))
    assert set(expected["forms"].values()) == set(names) and expected["memory format"] == torch.contiguous_format
    solved(solver_of(max_iter=HALF, **fields))
    fastest((), "CHANNELS_LAST")
    assert_identical(solved(resumed(solver_of, max_iter=2 * HALF, **fields)), expected)


def test_a_long_run_with_a_short_rest(solver_of: Build, fastest: Fastest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes forms because it is long computes in them to its end, its tests too, where it resumes late."""
    monkeypatch.setattr(speed, "_WORTH_MEASURING", HALF + 1)
    fields = {**COMMON, **MANY_FORMS, "test_iter": [4]}
    fastest(DRAWING_FORMS[1], "CHANNELS_LAST")
    whole = solver_of(name="whole", max_iter=2 * HALF, **{**fields, "snapshot": HALF})
    expected = solved(whole)
    assert expected["forms"] and whole.test_nets[0].forms
    rest = solver_of(max_iter=2 * HALF, **fields)
    rest.restore(f"{whole.prefix}_iter_{HALF}.solverstate")
    assert_identical(solved(rest), expected)


def test_going_back_in_one_process(solver_of: Build, fastest: Fastest) -> None:
    """A solver that has found forms and another memory format goes back to a snapshot of before, and to what it
    computed in."""
    fastest(DRAWING_FORMS[0], "CONTIGUOUS")
    solver = solver_of(**{**COMMON, **MANY_FORMS, "fast": True, "precision": Precision.FP32, "test_interval": 0})
    solver.step(HALF)
    begun = solver.snapshot()
    solver.step(HALF)
    expected = everything(solver)
    solver.tune(HALF)
    solver.step(HALF)
    assert solver.net.forms and solver.net.memory_format == torch.contiguous_format
    solver.restore(begun)
    assert not solver.net.forms and solver.net.memory_format == torch.channels_last
    solver.step(HALF)
    assert_identical(everything(solver), expected)


@pytest.mark.parametrize("case", EXACT)
def test_an_exact_run(solver_of: Build, case: str) -> None:
    """Weights, history, losses and tests are the same, by deterministic algorithms and plain layers."""
    fields = {**COMMON, "exact": True, **EXACT[case]}
    expected = solved(solver_of(name="whole", max_iter=2 * HALF, **fields))
    assert torch.are_deterministic_algorithms_enabled() and not expected["forms"]
    solved(solver_of(max_iter=HALF, **fields))
    assert_identical(solved(resumed(solver_of, max_iter=2 * HALF, **fields)), expected)
