"""The loop: its order, iter_size, its test nets, its device, and what it is built from."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netspec import Solver, SpecError, parse_net, read_solver
from netspec.schema.netspec_pb2 import NetState
from netspec.solver.device import choose_device

Build = Callable[..., Solver]
Write = Callable[..., Path]

DIGITS = Path(__file__).parents[2] / "netspec" / "data" / "digits"
PLAIN_LAYERS = [
    f'layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ scale: 0.0078125 }} '
    f'data_param {{ source: "{DIGITS}/train_lmdb" batch_size: 32 }} }} ',
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
    'inner_product_param { num_output: 10 weight_filler { type: "xavier" } } } ',
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }',
]


def messages(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.message.strip() for record in caplog.records if part in record.message]


# --- the loop ---------------------------------------------------------------------------------------------------


def test_order_of_a_run(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """Tests come before the iteration whose number they bear, snapshots after the update, the last test at the end."""
    solver_of(display=4, max_iter=8, test_interval=4, snapshot=3).solve()
    said = []
    for message in (record.message for record in caplog.records):
        if "Testing" in message:
            said.append(f"test {message.split()[1]}")
        elif ", loss =" in message:
            said.append(f"loss {message.split()[1].rstrip(',')}")
        elif "caffemodel" in message:
            said.append(Path(message.split()[-1]).stem)
    expected = ["test 0,", "loss 0", "run_iter_3", "test 4,", "loss 4", "run_iter_6", "run_iter_8", "loss 8", "test 8,"]
    assert said == expected


def test_iter_size_is_one_larger_batch(solver_of: Build, tmp_path: Path) -> None:
    """Two passes of 16 records, without anything that depends on the batch, are one pass of 32."""
    (tmp_path / "plain.prototxt").write_text("".join(PLAIN_LAYERS))
    runs = []
    for size in (1, 2):
        settings = [f"data.data_param.batch_size={32 // size}"]
        solver = solver_of(net=str(tmp_path / "plain.prototxt"), iter_size=size, test_interval=0, settings=settings)
        solver.step(5)
        runs.append((solver.net.layer_params["ip"][0].detach(), torch.tensor(solver._display.shown_losses)))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-5, atol=1e-6)


def test_step_goes_beyond_max_iter(solver_of: Build) -> None:
    """`step` runs as many iterations as it is told to."""
    solver = solver_of(max_iter=2)
    solver.step(3)
    assert solver.iter == 3


def test_same_seed_same_run(solver_of: Build) -> None:
    """Two runs with one random_seed are equal to the bit; with none they are not."""
    weights = {}
    for seed in (5, 5, 6, -1):
        solver = solver_of(random_seed=seed)
        solver.step(3)
        weights.setdefault(seed, []).append(solver.net.layer_params["ip"][0])
    assert torch.equal(*weights[5])
    assert not torch.equal(weights[5][0], weights[6][0])
    assert not torch.equal(weights[5][0], weights[-1][0])


def test_a_run_learns(solver_of: Build) -> None:
    """A few epochs are enough to read most of the digits, if nothing makes them harder."""
    settings = ["drop1.dropout_param.dropout_ratio=0", "data@TRAIN.transform_param.mirror=false"]
    solver = solver_of(test_iter=[], test_interval=1000, snapshot=0, lr_policy="fixed", settings=settings)
    solver.step(200)
    assert solver.test()[0]["accuracy"][0] > 0.75


def test_weights_to_start_from(solver_of: Build) -> None:
    """The solver's field `weights` names a file that the run starts from."""
    first = solver_of()
    first.step(3)
    weights = first.snapshot().with_suffix(".caffemodel")
    second = solver_of(weights=[str(weights)], random_seed=99)
    assert second.iter == 0
    assert torch.equal(first.net.layer_params["ip"][0], second.net.layer_params["ip"][0])


# --- what it is built from --------------------------------------------------------------------------------------


def test_from_a_path_a_message_or_keywords(write_solver: Write) -> None:
    """A path, a message and overrides by keyword give the same run."""
    path = write_solver(max_iter=7)
    built = [Solver(path), Solver(read_solver(path)), Solver(write_solver("other"), max_iter=7)]
    assert [solver.param.max_iter for solver in built] == [7, 7, 7]
    assert [solver.net.graph.name for solver in built] == ["digits"] * 3


def test_nets_written_out_in_the_solver(write_solver: Write) -> None:
    """train_net_param and test_net_param hold nets inside the solver's text."""
    solver = read_solver(write_solver(net=None, test_iter=[2]))
    text = "".join(PLAIN_LAYERS)
    solver.train_net_param.CopyFrom(parse_net(text))
    solver.test_net_param.add().CopyFrom(parse_net(text.replace("train_lmdb", "test_lmdb")))
    run = Solver(solver)
    assert [source.epoch_size for net in (run.net, *run.test_nets) for _, source in net.sources] == [1500, 297]


def test_a_net_file_that_is_not_there(write_solver: Write, tmp_path: Path) -> None:
    """The message stands at the field of the solver file, and names the nearest file."""
    (tmp_path / "digits.prototxt").write_text("")
    path = write_solver(net=str(tmp_path / "digit.prototxt"))
    with pytest.raises(SpecError) as caught:
        Solver(path)
    assert caught.value.path == str(path)
    assert caught.value.source_line.startswith("net:")
    assert "digits.prototxt" in caught.value.hint


# --- test nets --------------------------------------------------------------------------------------------------


def test_test_nets_share_the_weights(solver_of: Build) -> None:
    """A test net has the train net's own blobs, statistics included."""
    solver = solver_of()
    (test_net,) = solver.test_nets
    for name, blobs in test_net.layer_params.items():
        assert all(a is b for a, b in zip(blobs, solver.net.layer_params[name], strict=True))


@pytest.mark.parametrize(("test_iter", "position"), [([3], 120), ([9], 360), ([], 0)])
def test_how_much_a_test_sees(solver_of: Build, test_iter: list[int], position: int) -> None:
    """test_iter batches from where the last test ended, as in Caffe; without it every record once."""
    solver = solver_of(test_iter=test_iter)
    (result,) = solver.test()
    (_, source), *_ = solver.test_nets[0].sources
    assert source.position == position
    if not test_iter:
        # Every record counts once: the accuracy is a whole number of 297ths.
        assert result["accuracy"][0] * 297 == pytest.approx(round(result["accuracy"][0] * 297), abs=1e-4)


def test_one_test_net_for_every_test_iter(solver_of: Build) -> None:
    """Several test_iter make as many test nets of `net`, each with its own."""
    solver = solver_of(test_iter=[1, 2])
    solver.test()
    assert [source.position for net in solver.test_nets for _, source in net.sources] == [40, 80]


def test_states_of_the_nets(write_solver: Write, tmp_path: Path) -> None:
    """train_state and test_state add stages and level to what the net's own state has."""
    layers = [
        f'layer {{ name: "{name}" type: "TanH" bottom: "ip" top: "{name}" include {{ stage: "{name}" }} }} '
        for name in ("fit", "check", "both")
    ]
    path = tmp_path / "stages.prototxt"
    path.write_text("state { stage: 'both' } " + "".join(PLAIN_LAYERS + layers))
    solver = read_solver(write_solver(net=str(path), test_iter=[1, 1]))
    solver.train_state.CopyFrom(NetState(stage=["fit"]))
    solver.test_state.extend([NetState(), NetState(stage=["check"])])
    run = Solver(solver)
    own = [set(net.layers) & {"fit", "check", "both"} for net in (run.net, *run.test_nets)]
    assert own == [{"fit", "both"}, {"both"}, {"check", "both"}]


@pytest.mark.parametrize(
    ("fields", "tests"),
    [({}, [0, 2]), ({"test_initialization": False}, [2]), ({"test_interval": 0}, []), ({"test_interval": 3}, [0, 3])],
    ids=str,
)
def test_when_it_tests(
    solver_of: Build, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], tests: list[int]
) -> None:
    """At every test_interval, and at iteration 0 unless test_initialization is false."""
    solver_of(**{"test_interval": 2, **fields}).step(4)
    assert messages(caplog, "Testing") == [f"Iteration {iteration}, Testing net (#0)" for iteration in tests]


@pytest.mark.parametrize("computed", [True, False])
def test_loss_of_a_test(solver_of: Build, caplog: pytest.LogCaptureFixture, computed: bool) -> None:
    """With test_compute_loss the loss of a test net is shown, the weighted mean over its batches."""
    (result,) = solver_of(test_compute_loss=computed).test()
    assert messages(caplog, "Test loss") == ([f"Test loss: {result['loss'][0]:.6g}"] if computed else [])


# --- device -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "asked", "gpu", "device", "lines"),
    [
        ("GPU", None, False, "cpu", 1),
        ("GPU", None, True, "cuda:1", 0),
        ("CPU", None, True, "cpu", 0),
        (None, None, False, "cpu", 0),
        (None, None, True, "cuda:1", 0),
        ("GPU", "cpu", True, "cpu", 0),
        ("CPU", "meta", True, "meta", 0),
    ],
)
def test_device(
    write_solver: Write,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    asked: str | None,
    gpu: bool,
    device: str,
    lines: int,
) -> None:
    """The device is the one asked for, else that of solver_mode; without a GPU the CPU, and a line."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    modes = {"CPU": 0, "GPU": 1, None: None}
    solver = read_solver(write_solver(solver_mode=modes[mode], device_id=1))
    assert choose_device(solver, asked) == torch.device(device)
    assert len(messages(caplog, "running on the CPU")) == lines


# --- the smoothed loss ------------------------------------------------------------------------------------------


def test_shown_loss_is_the_mean_of_the_window(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """A displayed loss is the mean over the last average_loss iterations, as many as there are."""
    runs = {}
    for window in (1, 3):
        caplog.clear()
        solver_of(display=1, average_loss=window, test_interval=0).step(6)
        runs[window] = [float(line.split("loss = ")[1]) for line in messages(caplog, ", loss =")]
    single = runs[1]
    for index, shown in enumerate(runs[3]):
        recent = single[max(0, index - 2) : index + 1]
        assert math.isclose(shown, sum(recent) / len(recent), rel_tol=1e-4)
