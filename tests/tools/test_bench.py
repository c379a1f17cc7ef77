"""tools/bench.py as a command, with settings that measure nothing: its figures are not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bench_feeding
import bench_gpu
import bench_rounds
import bench_steps
import pytest
import torch
from bench_loop import Work
from bench_nets import CLASSES, NETS, Inception
from bench_plain import Plain
from bench_resident import RESIDENT
from bench_rounds import Rounds, Settings, Turn, run_rounds
from bench_tuned import tune
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
TINY = ["--rounds", "1", "--batch", "2", "--seconds", "0.01", "--threads", "1"]
NIN = ["--nets", "nin_imagenet"]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The finished command, run from the root of the repository."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tools'}", **variables}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


RUNS = {
    "default": ([], [">= 0.98", ""]),
    "fast": (["--mode", "fast"], [">= 0.98", ">= 1.5"]),
    "runs": (["runs"], [">= 1.3", "< 0.05"]),
    "data": (["data"], [">= 2.5", ">= 12", ">= 0.97"]),
}
"""Arguments, and the marks of the results."""


@pytest.mark.parametrize("what", RUNS)
def test_bench_measures(what: str, tmp_path: Path) -> None:
    """All sides have equal losses, or the bench would end; it prints a line a measurement and writes the same."""
    arguments, marks = RUNS[what]
    file = tmp_path / "bench.json"
    done = run("tools/bench.py", *arguments, *NIN, *TINY, "--json", str(file), NETSPEC_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())["results"]
    assert [result["mark"] for result in results] == marks
    for result, line in zip(results, done.stdout.splitlines()[2:], strict=True):
        assert line.startswith(result["net"])
        assert result["what"] in line
        assert f"{result['value']:.3f}" in line
        assert line.endswith({True: " met", False: " MISSED", None: ")"}[result["met"]])


# --- the sides --------------------------------------------------------------------------------------------------------


SETTINGS = Settings(batch=2, rounds=1, seconds=0.01, device="cpu", mode="exact")


@pytest.fixture
def one_thread() -> None:
    """One thread, and the same random numbers whatever ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(1)


@pytest.mark.parametrize("name", NETS)
def test_nets_by_hand_are_those_of_the_zoo(name: str, one_thread: None) -> None:
    """With netspec's weights, which come in the same order, all sides have the same loss on the same images. Of eight:
    over the values of two that are left of small maps, BatchNorm makes 1e-5 of rounding."""
    settings = replace(SETTINGS, batch=8)
    solver = bench_steps.open_solver(name, settings, RESIDENT)
    bench_steps.fill(solver)
    work = bench_steps.work_of(name, solver, settings)
    tuned = work.tuned_loop(bench_steps.take_forms(solver), is_bf16=False, layout=torch.channels_last)
    losses = [side.losses(1)[0] for side in (work.loop(), tuned, bench_steps.Ours(solver, settings))]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


@pytest.fixture
def nin(one_thread: None) -> tuple[Work, bench_steps.Ours]:
    """What the other sides train, and netspec's side."""
    solver = bench_steps.open_solver("nin_imagenet", SETTINGS, RESIDENT)
    bench_steps.fill(solver)
    return bench_steps.work_of("nin_imagenet", solver, SETTINGS), bench_steps.Ours(solver, SETTINGS)


def test_the_plain_loop_runs_elsewhere(nin: tuple[Work, bench_steps.Ours]) -> None:
    """In a process of its own the plain loop computes what it computes here, and its turns take time."""
    work, _ = nin
    with Plain(work) as plain:
        assert plain.losses(2) == pytest.approx(work.loop().losses(2), rel=1e-5)
        assert plain.turn(1).seconds > 0


def test_the_plain_loop_of_a_gpu_has_16_bits_too(nin: tuple[Work, bench_steps.Ours]) -> None:
    """Against the fast mode on a GPU the plain loop is under autocast, and the marks are others."""
    work, ours = nin
    settings = replace(SETTINGS, device="cuda", mode="fast")
    there = bench_steps.work_of("nin_imagenet", ours._solver, settings)
    assert there.is_bf16 and not work.is_bf16
    loss, plain = (each.loop().losses(1)[0] for each in (replace(there, device="cpu"), work))
    assert loss != plain and loss == pytest.approx(plain, rel=2e-2)
    assert set(bench_steps.FAST["cuda"]) == set(bench_steps.FAST["cpu"]) == set(NETS)


def test_the_plain_process_is_free_of_netspec() -> None:
    """What the process of the plain loop imports does not load netspec, which tunes the process that it is in."""
    done = run("-c", "import sys, bench_plain; print('netspec' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_sides_that_move_otherwise_are_refused(nin: tuple[Work, bench_steps.Ours]) -> None:
    """Where a side has another rate, the bench ends at the first loss after an update."""
    work, ours = nin
    twice = replace(work, multipliers=[(2 * rate, decay) for rate, decay in work.multipliers])
    sides = {"plain loop": twice.loop(), "netspec": ours}
    with pytest.raises(SystemExit, match=r"^nin: in iteration 1 the loss is \S+ in netspec and \S+ in the plain loop$"):
        bench_steps.check_losses("nin", sides, is_bf16=False)


def test_sides_that_compute_otherwise_are_refused(
    nin: tuple[Work, bench_steps.Ours], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a side lacks a layer, the bench ends at the first loss."""
    work, ours = nin
    convolution, _, *rest = NETS["nin_imagenet"](CLASSES)
    monkeypatch.setitem(NETS, "nin_imagenet", lambda classes: nn.Sequential(convolution, *rest))
    with pytest.raises(SystemExit, match=r"^nin: in iteration 0 the loss is "):
        bench_steps.check_losses("nin", {"plain loop": work.loop(), "netspec": ours}, is_bf16=False)


# --- the forms of the tuned loop --------------------------------------------------------------------------------------

LAST, FIRST = torch.channels_last, torch.contiguous_format
FORMS = [
    ("Convolution", "product", nn.Conv2d(4, 6, 1)),
    ("Convolution", "product", nn.Conv2d(4, 6, 1, stride=2, bias=False)),
    ("Convolution", "fused", nn.Conv2d(4, 6, 3, padding=1)),
    ("Convolution", "fused", nn.Conv2d(4, 6, (3, 2), stride=2, groups=2, bias=False)),
    ("Convolution", "patches", nn.Conv2d(4, 6, 3, padding=1)),
    ("Convolution", "patches", nn.Conv2d(4, 6, (3, 2), stride=2, groups=2, bias=False)),
    ("LRN", "plain", nn.LocalResponseNorm(3, k=2)),
    ("LRN", "closed", nn.LocalResponseNorm(3, alpha=0.1)),
    ("BatchNorm", "plain", nn.BatchNorm2d(4)),
]


def outcome(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The top, with a ReLU behind, and the gradients of the bottom and of the parameters."""
    x = x.clone().requires_grad_()
    y: Tensor = layer(x * 1)
    torch.manual_seed(1)
    gradients = torch.autograd.grad(y, [x, *layer.parameters()], torch.randn(y.shape))
    return [y.detach(), *gradients]


@pytest.mark.parametrize("layout", [LAST, FIRST], ids=["last", "first"])
@pytest.mark.parametrize(("kind", "form", "layer"), FORMS, ids=[f"{kind} {form}" for kind, form, _ in FORMS])
def test_forms_compute_what_torchs_layers_compute(
    kind: str, form: str, layer: nn.Module, layout: torch.memory_format, one_thread: None
) -> None:
    """A form has the top and the gradients of the layer whose place it takes, whatever the layout."""
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 4, 7, 8).contiguous(memory_format=layout)
    plain = nn.Sequential(deepcopy(layer), nn.ReLU(inplace=True)).to(memory_format=layout)  # type: ignore[call-overload]
    tuned = deepcopy(plain)
    tune(tuned, {kind: [form]})
    assert type(tuned[0]) is not type(plain[0])
    for own, theirs in zip(outcome(tuned, x), outcome(plain, x), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [LAST, FIRST], ids=["last", "first"])
def test_branches_write_to_where_they_are_joined(layout: torch.memory_format, one_thread: None) -> None:
    """An inception whose branches write into one buffer has the top and the gradients of the plain one."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, 8).contiguous(memory_format=layout)
    plain = Inception(4, 3, 2, 5, 2, 4, 3).to(memory_format=layout)  # type: ignore[call-overload]
    tuned = nn.Sequential(deepcopy(plain))
    tune(tuned, {"Convolution": ["plain"] * 6, "BatchNorm": ["affine"] * 6, "Concat": ["one_buffer"]})
    assert type(tuned[0].join) is not type(plain.join)
    for own, theirs in zip(outcome(tuned, x), outcome(plain, x), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.5, 0.2])
def test_random_bits_hit_the_ratio(ratio: float) -> None:
    """Of many values as many are dropped as the ratio says, and the others are scaled so that the mean stays."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(ratio))
    tune(net, {"Dropout": ["bits"]})
    y = net(torch.ones(100, 100, 10))
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - ratio)])
    assert float((y == 0).float().mean()) == pytest.approx(ratio, abs=0.01)


# --- what only a GPU shows --------------------------------------------------------------------------------------------


class Still:
    """A side, and its run, of which an iteration takes four milliseconds."""

    def turn(self, iterations: int) -> Turn:
        return Turn(0.004, 1)

    def step(self, iterations: int) -> None:
        pass

    def close(self) -> None:
        pass


class Profile:
    """A profiler that has seen two kernels of a millisecond each, and an operation of the CPU."""

    def __init__(self, activities: list[object]) -> None:
        self.activities = activities

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def events(self) -> list[SimpleNamespace]:
        span = SimpleNamespace(elapsed_us=lambda: 1000.0)
        kinds = (SimpleNamespace(name=name) for name in ("CUDA", "CPU", "CUDA"))
        return [SimpleNamespace(device_type=kind, time_range=span) for kind in kinds]


def test_limits_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an iteration's 4 ms kernels take 2; 1,024 images in 4 ms are 256,000 a second, of which the floor, 0.11 s for
    100,000, makes 0.28."""
    monkeypatch.setattr(bench_gpu, "profile", Profile)
    monkeypatch.setattr(bench_gpu, "_ready", lambda name, settings: (Still(), Still(), 1))
    kernels, floor = bench_gpu.measure_limits("nin_imagenet", SETTINGS)
    assert (kernels.value, kernels.mark, kernels.met) == (pytest.approx(0.5), ">= 0.97", False)
    assert (floor.value, floor.mark, floor.met) == (pytest.approx(0.2816), ">= 0.25", True)
    assert floor.netspec == pytest.approx(256_000)
    assert set(bench_gpu.FLOORS) == set(NETS)


def test_a_solver_is_ready_to_be_measured(one_thread: None) -> None:
    """What the limits are measured of trains with the batch that is asked for, its forms chosen."""
    solver, side, iterations = bench_gpu._ready("nin_imagenet", replace(SETTINGS, mode="default"))
    assert solver.net.blob_shapes["data"][0] == SETTINGS.batch
    assert solver.net.forms
    assert side.turn(iterations).seconds > 0


def test_feeding_a_gpu_is_held_against_its_mark() -> None:
    """The value is the share of two million images a second."""
    speeds = iter([1e6, 3e6, 2.5e6])
    result = bench_feeding._share_of_mark(lambda: next(speeds), replace(SETTINGS, rounds=3))
    assert (result.least, result.value, result.most, result.met) == (0.5, 1.25, 1.5, True)


# --- rounds -----------------------------------------------------------------------------------------------------------


def rounds(calibrations: list[float], loads: list[float], seconds: list[float]) -> Rounds:
    """Rounds of two sides, of which the first always takes 2 s."""
    turns = [[Turn(2, 2), Turn(took, load)] for took, load in zip(seconds, loads, strict=True)]
    return Rounds(turns, calibrations)


@pytest.mark.parametrize(
    ("calibrations", "loads", "quiet"),
    [
        ([1, 1.1, 1.2, 1], [2, 2, 2, 2], [0, 1, 3]),
        ([1, 1, 1, 1], [1.5, 1.9, 2, 1.6], [1, 2]),
        ([1, 1.2, 1, 1], [2, 2, 1.5, 2], [0, 3]),
        ([1, 1.2, 1.2, 1.2], [1.5, 2, 2, 2], [0]),
    ],
    ids=["slow machine", "less of the CPU", "either", "always"],
)
def test_contended_rounds_are_dropped(calibrations: list[float], loads: list[float], quiet: list[int]) -> None:
    """A round does not count in which the machine was slower than in the best one, or a side got less of the CPU; the
    one on the fastest machine is left at any rate."""
    assert rounds(calibrations, loads, [1, 1, 1, 1]).quiet == quiet


def test_results_are_medians_of_quiet_rounds() -> None:
    """Speeds and their ratio are medians, with the extremes; dropped rounds count in none of them."""
    result = rounds([1, 1, 9, 1], [2, 2, 2, 2], [1, 2, 100, 0.5]).result("nin", "step", (0, 1), 100, 1.5)
    assert (result.by_hand, result.netspec) == (50, 100)
    assert (result.least, result.value, result.most) == (1, 2, 4)
    assert (result.met, result.mark, result.rounds, result.dropped) == (True, ">= 1.5", 4, 1)


def test_rounds_go_on_until_enough_were_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contended rounds are made up for, up to three times as many as are asked for."""
    calibrations = iter([1.2, 1.0, 5.0, 5.0, 1.1, 1.0])
    monkeypatch.setattr(bench_rounds, "_calibration", lambda: next(calibrations))
    done = run_rounds([Still()], replace(SETTINGS, rounds=2))
    assert (len(done.turns), done.quiet) == (5, [1, 4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets", "lenet"], "invalid nets value: 'lenet'"),
        (["--rounds", "0"], "must be at least 1"),
        (["--mode", "slow"], "invalid choice: 'slow'"),
        (["data", "--data", "nowhere"], "error: nowhere/train_lmdb: no such file or folder"),
        (["decoding"], "invalid choice: 'decoding'"),
    ],
)
def test_a_mistake_gets_one_message(arguments: list[str], message: str) -> None:
    """A mistake ends the command with a message and no traceback."""
    done = run("tools/bench.py", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
