"""What is said before the first iteration."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from netspec import SnapshotError, Solver, SpecError, parse_solver

NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "netspec/data/digits/test_lmdb" batch_size: 9 backend: LMDB }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" {param} inner_product_param {{ num_output: 10 }} }}
layer {{ name: "{last}" type: "InnerProduct" bottom: "ip" top: "out" {param} inner_product_param {{ num_output: 10 }} }}
{loss}
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "out" bottom: "label" top: "loss" }'
Make = Callable[..., Solver]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A solver of a small net on the digits; `settings` are fields of the solver."""
    monkeypatch.chdir(Path(__file__).parents[2])

    def make(last: str = "last", loss: str = LOSS, param: str = "", fresh: bool = True, **settings: object) -> Solver:
        (tmp_path / "net.prototxt").write_text(NET.format(last=last, loss=loss, param=param))
        text = f'net: "{tmp_path}/net.prototxt" base_lr: 0.001 lr_policy: "fixed" max_iter: 2 solver_mode: CPU'
        settings.setdefault("snapshot_prefix", tmp_path / "run")
        return Solver(parse_solver(text), fresh=fresh, **settings)

    return make


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": ""}, "the train net has no loss"),
        ({"loss": LOSS.replace("top:", "loss_weight: 0 top:")}, "the train net has no loss"),
        (
            {"param": "param { lr_mult: 0 } param { lr_mult: 0 }"},
            "no layer of the train net has a blob with an lr_mult",
        ),
    ],
)
def test_a_net_that_cannot_learn_is_refused(make: Make, change: dict[str, str], reason: str) -> None:
    """A train net without a loss, or without a blob that learns, is an error that names the net."""
    with pytest.raises(SpecError, match=rf"net.prototxt.*{re.escape(reason)}"):
        make(**change)


def test_starting_from_weights_is_reported(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The layers that were copied, those made by their fillers and those left over are named; commas part files."""
    caplog.set_level(logging.INFO, "netspec")
    make().net.save(tmp_path / "a.caffemodel")
    make(last="other", weights=f"{tmp_path}/a.caffemodel,{tmp_path}/a.caffemodel")
    assert caplog.text.count("a.caffemodel: copied ip\n") == 2
    assert "as the fillers made them: other\n" in caplog.text and "not used: last\n" in caplog.text


def test_weights_are_for_fresh_runs(make: Make) -> None:
    """A run that is to be resumed does not look for the weights that it once started from."""
    make(weights="gone.caffemodel", fresh=False)
    with pytest.raises(SnapshotError, match=r"gone.caffemodel: there is no such file"):
        make(weights="gone.caffemodel")


def test_a_place_that_cannot_hold_snapshots_is_refused(make: Make, tmp_path: Path) -> None:
    """A prefix in a folder that cannot be is an error before the first iteration."""
    (tmp_path / "file").write_text("")
    solver = make(snapshot_prefix=tmp_path / "file" / "run")
    with pytest.raises(SnapshotError, match="the folder for the snapshots cannot be made"):
        solver.solve()
    assert solver.iter == 0


def test_tests_can_be_turned_on_later(make: Make) -> None:
    """A test_interval that was 0 in the beginning opens the test nets when it is set."""
    solver = make()
    assert solver.test_nets == []
    solver.param.test_interval = 1
    solver.step(1)
    assert len(solver.test_nets) == 1


def test_tests_that_cannot_be_turned_on_cost_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Where the test net is wrong, the mistake is logged and the run goes on without tests."""
    solver = make(param="include { phase: TRAIN }")
    solver.param.test_interval = 1
    solver.step(2)
    assert (solver.iter, solver.test_nets) == (2, [])
    assert caplog.text.count("there are no tests") == 1 and 'no layer makes the blob "out" in phase TEST' in caplog.text


def test_a_finished_run_stays_as_it_is(make: Make, tmp_path: Path) -> None:
    """Resuming a run that is at its end writes nothing."""
    make().solve()
    state = tmp_path / "run_iter_2.solverstate"
    written = state.stat().st_mtime_ns
    again = make(fresh=False)
    again.resume()
    assert again.solve()
    assert state.stat().st_mtime_ns == written


@pytest.mark.parametrize(("mean", "warnings"), [(0.1307, 1), (33.3, 0)])
def test_a_mean_for_other_pixels_is_told(
    make: Make, mean: float, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a run says at its start that a mean below 1 is not one of pixels up to 255."""
    make(settings=[f"data.transform_param.mean_value={mean}"]).solve()
    line = 'layer "data": mean_value 0.1307 is of pixels from 0 to 1; here they go to 255: 33.3285'
    assert [record.getMessage() for record in caplog.records].count(line) == warnings
