"""What a run computes in: what its solver says, and what follows from it and the device."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netspec import Solver, SpecError
from netspec.data import records
from netspec.forms import FORMS, Form, choice
from netspec.forms.base import Site
from netspec.forms.trial import Setting
from netspec.schema.netspec_pb2 import Precision
from netspec.solver import layout, speed

Build = Callable[..., Solver]


@pytest.fixture
def fast_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is fast in BF16."""
    monkeypatch.setattr(speed, "is_fast", lambda kind, device: kind == Precision.BF16)


@pytest.mark.parametrize(
    ("fields", "precision", "layout"),
    [
        ({}, "FP32", torch.channels_last),
        ({"fast": True}, "BF16", torch.channels_last),
        ({"fast": True, "precision": "FP32"}, "FP32", torch.channels_last),
        ({"precision": "BF16", "memory_format": "CONTIGUOUS"}, "BF16", torch.contiguous_format),
        ({"exact": True}, "FP32", torch.channels_last),
        ({"memory_format": "CHANNELS_LAST"}, "FP32", torch.channels_last),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, dict) else "",
)
@pytest.mark.usefixtures("fast_cpu")
def test_what_is_chosen(solver_of: Build, fields: dict[str, str], precision: str, layout: torch.memory_format) -> None:
    """What is not said is Caffe's precision and the device's memory format; `fast` takes 16 bits where they are fast;
    every net of the run computes so."""
    solver = solver_of(test_interval=10, **fields)
    for net in (solver.net, *solver.test_nets):
        assert Precision.Kind.Name(net.precision) == precision
        assert net.memory_format == layout
    assert torch.are_deterministic_algorithms_enabled() is ("exact" in fields)
    assert not torch.empty(999).isnan().all()  # which deterministic algorithms fill, unless told not to


def test_fast_is_plain_where_16_bits_are_slow(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fast` keeps 32 bits on a processor without instructions for 16."""
    monkeypatch.setattr(speed, "is_fast", lambda kind, device: False)
    assert solver_of(fast=True).net.precision == Precision.FP32


@pytest.mark.parametrize(
    ("fields", "place", "reason"),
    [
        ({"exact": True, "fast": True}, "fast", "fast is not for a run that is exact"),
        ({"exact": True, "precision": "BF16"}, "precision", "precision is not for a run that is exact"),
        ({"exact": True, "forms": True}, "forms", "forms is not for a run that is exact"),
        ({"exact": True, "compile": "WHOLE"}, "compile", "compile is not for a run that is exact"),
        (
            {"forms": True, "compile": "BLOCKS"},
            "forms",
            "forms are not measured with compile: leave one of the two out",
        ),
        ({"forms": True, "compile": "WHOLE"}, "forms", "forms are not measured with compile: leave one of the two out"),
        ({"capture": "ON", "compile": "BLOCKS"}, "capture", "capture: ON with compile needs a GPU"),
        ({"precision": "TF32"}, "precision", "TF32 is a precision of GPUs"),
    ],
)
def test_contradictions(solver_of: Build, fields: dict[str, str], place: str, reason: str) -> None:
    """What contradicts itself, or the device cannot do, is refused at its field."""
    with pytest.raises(SpecError, match=reason) as caught:
        solver_of(**fields)
    assert place in str(caught.value)


def test_the_log_says_what_was_chosen(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """One line at the start: precision, memory format, and why."""
    caplog.set_level("INFO", "netspec")
    solver_of(max_iter=1).solve()
    (line,) = [message for message in caplog.messages if message.startswith("Speed: ")]
    assert "FP32: as in Caffe; CHANNELS_LAST: convolutions are faster so" in line


@pytest.mark.parametrize("fields", [{}, {"fast": True}, {"forms": False}], ids=str)
@pytest.mark.parametrize("kind", ["BLOCKS", "WHOLE"])
def test_the_log_says_what_is_compiled(
    solver_of: Build, caplog: pytest.LogCaptureFixture, kind: str, fields: dict[str, bool]
) -> None:
    """With `compile` the line at the start names its kind, and says that no forms are measured, even where the solver
    is `fast`."""
    solver_of(compile=kind, **fields).tune(60)
    (line,) = [message for message in caplog.messages if message.startswith("Speed: ")]
    assert f"compile {kind}: as asked for, so no forms are measured" in line


def test_residence_is_that_of_every_data_layer(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data_residence` reaches the data layers of all nets: here a disk cache is nothing that DEVICE would use."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)
    for residence, in_memory in (("HOST", False), ("DEVICE", True)):
        solver = solver_of(settings=[f"data_residence={residence}"], test_interval=10)
        for net in (solver.net, *solver.test_nets):
            net.sources[0][1].next()
            images, _ = net.sources[0][1]._batches._images.kept()  # type: ignore[attr-defined]
            assert images.flags.owndata is in_memory


# --- deterministic algorithms -----------------------------------------------------------------------------------------

MODES = {"default": 0, "warn": 1, "error": 2}


@pytest.mark.parametrize("mode", MODES)
def test_a_solver_after_an_exact_one_computes_as_python_said(solver_of: Build, mode: str) -> None:
    """A solver that is not exact goes back to what was switched on before the first exact one, by the user or not."""
    solver_of()
    torch.set_deterministic_debug_mode(mode)
    filled = torch.utils.deterministic.fill_uninitialized_memory
    solver_of()
    assert torch.get_deterministic_debug_mode() == MODES[mode]
    for _ in range(2):
        solver_of(exact=True)
        assert torch.get_deterministic_debug_mode() == MODES["error"]
    solver_of()
    assert torch.get_deterministic_debug_mode() == MODES[mode]
    assert torch.utils.deterministic.fill_uninitialized_memory is filled is True


@pytest.mark.parametrize("go_on", [lambda solver: solver.step(1), lambda solver: solver.solve()], ids=["step", "solve"])
def test_solvers_in_turn(solver_of: Build, go_on: Callable[[Solver], None]) -> None:
    """Of several solvers in a process the one that goes on says whether algorithms are deterministic."""
    exact, plain = (solver_of(max_iter=1, exact=is_exact, snapshot_after_train=False) for is_exact in (True, False))
    for solver in (exact, plain):
        go_on(solver)
        assert torch.are_deterministic_algorithms_enabled() is (solver is exact)


# --- forms ------------------------------------------------------------------------------------------------------------


class Same(Form):
    """What the convolution gives, counted."""

    name = "same"
    calls = 0

    @classmethod
    def fits(cls, layers, bottoms):  # type: ignore[no-untyped-def]
        return True

    def forward(self, *bottoms):  # type: ignore[no-untyped-def]
        Same.calls += 1
        return self.of[0](*bottoms)


@pytest.fixture
def one_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A form of every inner product, and of nothing else, that always looks the fastest."""
    kept = dict(FORMS)
    FORMS.clear()
    FORMS[("InnerProduct",)] = [Same]
    monkeypatch.setattr(choice, "measure", lambda *_: {"plain": 2.0, "same": 1.0})
    monkeypatch.setattr(speed, "_WORTH_MEASURING", 3)
    Same.calls = 0
    yield
    FORMS.clear()
    FORMS.update(kept)


@pytest.mark.parametrize(
    ("fields", "is_used"),
    [
        ({"max_iter": 2}, False),
        ({"max_iter": 3}, True),
        ({"max_iter": 2, "forms": True}, True),
        ({"max_iter": 2, "fast": True}, True),
        ({"max_iter": 3, "forms": False}, False),
        ({"max_iter": 3, "exact": True}, False),
    ],
    ids=str,
)
@pytest.mark.usefixtures("one_form")
def test_when_forms_are_used(solver_of: Build, fields: dict[str, object], is_used: bool) -> None:
    """Forms are for runs that are long, unless the solver says otherwise, and never for exact ones."""
    solver_of(**fields).solve()
    assert (Same.calls > 0) is is_used


@pytest.mark.usefixtures("one_form")
def test_a_resumed_run_computes_in_the_forms_of_its_snapshot(
    solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is remembered and plain layers look faster by now, a resumed run still computes as it began; but
    where its solver says otherwise."""
    solver = solver_of(max_iter=4)
    solver.solve()
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(choice, "measure", lambda *_: {"plain": 1.0, "same": 2.0})
    Same.calls = 0
    for steps in (1, 4):
        resumed = solver_of(max_iter=8)
        resumed.restore(solver.last_snapshot)
        resumed.step(1) if steps == 1 else resumed.solve()
        assert Same.calls >= steps
        Same.calls = 0
    plain = solver_of(max_iter=8, forms=False)
    plain.restore(solver.last_snapshot)
    plain.solve()
    assert Same.calls == 0


@pytest.mark.usefixtures("one_form")
def test_the_faster_memory_format_is_taken(
    solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A long run takes the memory format in which its net is faster, and keeps it when it resumes; an exact one, or
    one that is told, does not look."""
    monkeypatch.setattr(layout, "_measure", lambda net: {"CHANNELS_LAST": 2.0, "CONTIGUOUS": 1.0})
    solver = solver_of(max_iter=4, test_interval=4)
    solver.solve()
    for net in (solver.net, *solver.test_nets):
        assert net.memory_format == torch.contiguous_format
    assert "CONTIGUOUS: measured to be faster in this net" in caplog.text
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(layout, "_measure", lambda net: {"CHANNELS_LAST": 1.0, "CONTIGUOUS": 2.0})
    resumed = solver_of(max_iter=8, test_interval=4)
    resumed.restore(solver.last_snapshot)
    resumed.solve()
    assert resumed.net.memory_format == torch.contiguous_format
    for fields in ({"exact": True}, {"memory_format": 2}, {"max_iter": 2}):
        other = solver_of(**{"max_iter": 4, **fields})
        other.solve()
        assert other.net.memory_format == torch.channels_last


def test_measuring_a_net_leaves_it_as_it_was(solver_of: Build) -> None:
    """Statistics, gradients, random state and memory format are put back."""
    net = solver_of().net
    before, state = {name: blob.clone() for name, blob in net.state_dict().items()}, torch.get_rng_state()
    times = layout._measure(net)
    assert set(times) == {"CHANNELS_LAST", "CONTIGUOUS"} and min(times.values()) > 0
    assert all(torch.equal(blob, before[name]) for name, blob in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(param.tensor.grad is None for param in net.params)
    assert net.memory_format == torch.channels_last


@pytest.mark.usefixtures("one_form")
def test_the_plan(solver_of: Build) -> None:
    """The plan names the layers of every net, the times of their forms, and the fastest one."""
    lines = solver_of(test_interval=10).plan()
    assert lines[0] == "train net"
    assert any("plain 2000.000  same 1000.000" in line and line.endswith("same") for line in lines)
    assert "test net 0" in lines
    assert lines[-1] == "saved: 1e+03 ms an iteration"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"forms": False}, "the solver says forms: false"),
        ({"exact": True}, "the solver says exact: true"),
        ({"compile": "BLOCKS"}, "the solver says compile: BLOCKS"),
        ({"compile": "WHOLE", "fast": True}, "the solver says compile: WHOLE"),
        ({"max_iter": 2}, "2 iterations are fewer than 3; forms: true takes them all the same"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("one_form")
def test_the_plan_of_a_run_without_forms(solver_of: Build, fields: dict[str, object], reason: str) -> None:
    """Where a run takes no form, its plan has the times, nothing taken, and says why."""
    lines = solver_of(**fields).plan()
    assert any(line.endswith("plain 2000.000  same 1000.000") for line in lines)
    assert lines[-1] == f"no form is taken: {reason}"


@pytest.mark.usefixtures("one_form")
def test_the_plan_is_for_the_format_of_the_run(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms are timed in the memory format that the run takes; then the nets are as they were."""
    monkeypatch.setattr(layout, "_measure", lambda net: {"CHANNELS_LAST": 2.0, "CONTIGUOUS": 1.0})
    timed = []

    def measure(site: Site, setting: Setting, *_: bool) -> dict[str, float]:
        timed.append(setting.memory_format)
        return {"plain": 2.0, "same": 1.0}

    monkeypatch.setattr(choice, "measure", measure)
    solver = solver_of(test_interval=10)
    solver.plan()
    assert timed == [torch.contiguous_format] * 2
    assert [net.memory_format for net in (solver.net, *solver.test_nets)] == [torch.channels_last] * 2
    solver.solve()
    assert len(timed) == 2 and solver.net.memory_format == torch.contiguous_format


@pytest.mark.parametrize(
    ("iterations", "times", "last"),
    [
        (4, {"plain": 1.0, "same": 2.0}, "saved: -1e+03 ms an iteration"),
        (2, {"plain": 2.0, "same": 1.0}, "no form is taken: a run that resumes computes as it began"),
    ],
)
@pytest.mark.usefixtures("one_form")
def test_the_plan_of_a_run_that_resumes(
    solver_of: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    iterations: int,
    times: dict[str, float],
    last: str,
) -> None:
    """A run that resumes takes the forms of its snapshot, and so its plan says, whatever is faster by now."""
    begun = solver_of(max_iter=iterations)
    begun.solve()
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(choice, "measure", lambda *_: times)
    resumed = solver_of(max_iter=8, test_interval=0)
    resumed.restore(begun.last_snapshot)
    *_, site, end = resumed.plan()
    assert site.endswith("same" if iterations == 4 else "2000.000  same 1000.000") and end == last


@pytest.mark.usefixtures("one_form")
def test_measuring_is_not_exact(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plan of an exact run measures is remembered for other runs, so no deterministic algorithms are timed."""
    seen = []

    def measure(*_: object) -> dict[str, float]:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return {"plain": 2.0, "same": 1.0}

    monkeypatch.setattr(choice, "measure", measure)
    solver_of(exact=True).plan()
    assert seen and not any(seen)
    assert torch.are_deterministic_algorithms_enabled()


# --- torch.compile ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("kind", ["BLOCKS", "WHOLE"])
def test_a_compiled_run_is_the_plain_one(solver_of: Build, kind: str) -> None:
    """What goes through torch.compile gives the same losses within rounding; dropout, which draws otherwise there,
    rests."""
    losses = []
    for fields in ({}, {"compile": kind}):
        torch.manual_seed(0)
        solver = solver_of(["drop1.dropout_param.dropout_ratio=0"], average_loss=1, **fields)
        losses.append([(solver.step(1), solver.loss)[1] for _ in range(5)])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-5, atol=1e-6)
