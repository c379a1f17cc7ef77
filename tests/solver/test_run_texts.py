"""The texts beside the snapshots are those of the run: started from them, it ends with the same bits."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec import Solver, read_net, read_solver
from netspec.solver.run_folder import HEAD

Write = Callable[..., Path]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]

RUNS: dict[str, tuple[dict[str, Any], list[str], set[str]]] = {
    "as it stands": ({}, [], {"net.prototxt"}),
    "settings": ({}, ["base_lr=0.01", "ip.param={lr_mult: 3}", "drop1.type=TanH"], {"net.prototxt"}),
    "a setting for one phase": (
        {"test_iter": [1, 1]},
        ["data@TRAIN.data_param.batch_size=50"],
        {"net.prototxt", "test_1_net.prototxt"},
    ),
    "without tests": ({"test_interval": 0}, ["data@TEST.data_param.batch_size=3"], {"net.prototxt"}),
    "a seed that is drawn": ({"random_seed": -1}, [], {"net.prototxt"}),
    "several nets": (
        {"net": None, "train_net": str(HERE / "digits.prototxt"), "test_net": [str(HERE / "digits.prototxt")] * 2,
         "test_iter": [1, 2]},
        [],
        {"net.prototxt"},
    ),
}  # fmt: skip


def final_weights(solver: Solver) -> bytes:
    """The bits of every blob after a whole run."""
    solver.solve()
    return b"".join(blob.detach().numpy().tobytes() for blobs in solver.net.layer_params.values() for blob in blobs)


@pytest.mark.parametrize(("fields", "settings", "nets"), RUNS.values(), ids=RUNS.keys())
def test_the_texts_are_the_run(
    write_solver: Write, tmp_path: Path, fields: dict[str, Any], settings: list[str], nets: set[str]
) -> None:
    """What was set for a run is in its texts, which netspec reads, and a run of them is the same, tests included."""
    path = write_solver(max_iter=4, snapshot=0, test_interval=fields.pop("test_interval", 2), **fields)
    solver = Solver(path, settings=settings)
    weights = final_weights(solver)
    assert {text.name for text in tmp_path.glob("*net.prototxt")} == nets
    assert (tmp_path / "net.prototxt").read_text().startswith(HEAD)
    again = Solver(tmp_path / "solver.prototxt", snapshot_prefix=str(tmp_path / "again"))
    assert final_weights(again) == weights
    assert len(again.test_nets) == len(solver.test_nets)
    if solver.test_nets:
        assert again.test() == solver.test()


def test_what_was_chosen_is_in_the_solver(write_solver: Write, tmp_path: Path) -> None:
    """The seed that was drawn, the place of the snapshots and the device are there as fields."""
    solver = Solver(write_solver(max_iter=1, random_seed=None, snapshot_prefix=None, solver_mode=None), device="cpu")
    solver.solve()
    resolved = read_solver(tmp_path / "solver.prototxt")
    assert resolved.random_seed == solver.seed
    assert resolved.snapshot_prefix == str(tmp_path / "run")
    assert resolved.HasField("solver_mode") and resolved.solver_mode == resolved.CPU


def test_upgraded_and_filled(write_solver: Write, tmp_path: Path) -> None:
    """An older dialect is in today's form, and variables have their values."""
    text = (HERE / "digits.prototxt").read_text().replace("num_output: 10", "num_output: ${CLASSES}")
    (tmp_path / "template.prototxt").write_text(text)
    path = write_solver(max_iter=1, net=str(tmp_path / "template.prototxt"), type=None)
    path.write_text(path.read_text() + "solver_type: NESTEROV\n")
    Solver(path, define={"CLASSES": "10"}).solve()
    (ip,) = (layer for layer in read_net(tmp_path / "net.prototxt").layer if layer.name == "ip")
    assert ip.inner_product_param.num_output == 10
    assert 'type: "Nesterov"' in (tmp_path / "solver.prototxt").read_text()


def test_files_beside_the_net(write_solver: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that was found from the net's own folder is found from the run's folder as well."""
    place = tmp_path / "nets"
    for part in ("train", "test"):
        shutil.copytree(ROOT / f"netspec/data/digits/{part}_lmdb", place / "own" / f"{part}_lmdb")
    text = (HERE / "digits.prototxt").read_text().replace("netspec/data/digits/", "own/")
    (place / "net.prototxt").write_text(text)
    monkeypatch.chdir(tmp_path)
    weights = final_weights(Solver(write_solver(max_iter=2, net="nets/net.prototxt", snapshot_prefix="runs/a/a")))
    assert final_weights(Solver("runs/a/solver.prototxt", snapshot_prefix="runs/b/b")) == weights


def test_a_run_from_its_own_texts(write_solver: Write, tmp_path: Path) -> None:
    """A run that is started from a run's texts leaves these as they are, though they have the names of its own."""
    Solver(write_solver(max_iter=2, display=1)).solve()
    texts = {path: path.read_bytes() for path in tmp_path.glob("*.prototxt")}
    Solver(tmp_path / "solver.prototxt", max_iter=3).solve()
    assert {path: path.read_bytes() for path in tmp_path.glob("*.prototxt")} == texts
    assert (tmp_path / "log.1.csv").exists() and (tmp_path / "log.csv").exists()
