"""Every trap is found, and none where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from good import NET, SHAPES, SOLVER, found

from netspec.check import Options, check
from netspec.check.findings import ERROR, NOTE, TRAP
from netspec.check.net_traps import LAYER_TRAPS, NET_TRAPS
from netspec.check.solver_traps import TRAPS
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.solver.check import UPDATES

DEFAULT_BACKEND = 'layer "data": Caffe itself reads a LevelDB where no backend is given; an LMDB needs backend: LMDB'
SOFTMAX = """layer { name: "p" type: "Softmax" bottom: "ip" top: "p" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p\""""
NET_CASES = [
    ("lrn_param { alpha: 0.0001 }", "", TRAP, "alpha is 1"),
    ("group: 4 ", "", TRAP, 'a "bilinear" filler with group 1 sums channels: upsampling needs group 4'),
    ("{ crop_size", "{ mirror: true crop_size", TRAP, "mirrored in TEST too"),
    ("{ crop_size", "{ rotation: 9 crop_size", TRAP, "rotation changes images in TRAIN alone: here it has no effect"),
    ("{ mirror: true", "{ classes: 3 mirror: true", TRAP, "classes has no effect without mixup_alpha or cutmix_alpha"),
    ("scale: 0.5 } data_param { source: \"train\"",
     "mean_value: [0.485, 0.456, 0.406] scale: 0.5 } data_param { source: \"train\"", TRAP,
     "0.485 0.456 0.406 is of pixels from 0 to 1, in RGB; here they go to 255, in BGR: 103.53 116.28 123.675"),
    ("ratio: 0.5", "ratio: 0.95", TRAP, "is the part that is dropped"),
    ("scale_param {", "pooling_param {} scale_param {", TRAP, "pooling_param has no effect on the type Scale"),
    (' backend: LMDB', "", NOTE, "Caffe itself reads a LevelDB"),
    ('layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip"', SOFTMAX, TRAP, "it applies Softmax itself"),
    ('top: "label" include { phase: TRAIN }', 'top: "lab" include { phase: TRAIN }', NOTE, 'no layer reads "lab"'),
    (' top: "accuracy" include { phase: TEST }', ' top: "accuracy"', NOTE, "takes part in TRAIN too"),
    ('name: "scale" type: "Scale"', 'name: "scale" type: "AbsVal"', NOTE, "learns no slope and bias"),
    (' weight_filler { type: "msra" }', "", TRAP, "without a weight_filler the weights start at 0"),
    ('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { use_global_stats: true }', TRAP, "no statistics"),
    ('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { use_global_stats: false }', TRAP, "on its batch"),
    ('name: "ip"', 'name: "ip" include { phase: TEST }', TRAP, "no layer of this name is in TRAIN"),
    ("{ crop_size: 16 scale: 0.5 }", "{ crop_size: 16 }", TRAP, "scale is not that of TRAIN"),
]  # fmt: skip
SOLVER_CASES = [
    ("stepvalue: 50", "stepvalue: 100", TRAP, "stepvalue 100 is never reached: max_iter is 100"),
    ("stepvalue: 50", "stepvalue: 50 stepvalue: 40", TRAP, "stepvalue 40 comes after 50"),
    ("gamma", "power: 2 gamma", TRAP, 'power has no effect with lr_policy "multistep"'),
    ("gamma", "plateau_patience: 2 gamma", TRAP, 'plateau_patience has no effect with lr_policy "multistep"'),
    ("gamma", "rms_decay: 0.9 gamma", TRAP, 'rms_decay has no effect with type "SGD"'),
    ("gamma", 'watch: "accuracy" gamma', TRAP, "watch decides nothing"),
    ("gamma", "warmup_iter: 100 gamma", TRAP, "the warm-up of 100 iterations lasts to the end"),
    ("gamma: 0.1", "gamma: 2", TRAP, "the rate rises"),
    ("base_lr: 0.1", "base_lr: 0", TRAP, "nothing learns"),
    ("momentum: 0.9", "", NOTE, "momentum is 0 unless it is given"),
    ("momentum: 0.9", 'type: "Adam"', TRAP, "momentum is the beta1 of Adam"),
    ("test_interval: 20", "", TRAP, "nothing is ever tested"),
    ("test_iter: 2", "", NOTE, "Caffe itself refuses this"),
    ("snapshot: 50", "", NOTE, "nothing is saved before the end"),
    ("snapshot: 50", "snapshot_after_train: false", TRAP, "nothing is ever saved"),
    ("display: 10", "", NOTE, "no loss is printed"),
    ("random_seed: 1", "", NOTE, "every run starts from other weights"),
    ("gamma", "iter_size: 2 gamma", NOTE, "iter_size does not enlarge the batches of BatchNorm"),
]


@pytest.mark.parametrize(("old", "new", "severity", "message"), NET_CASES, ids=lambda part: part[:30])
def test_a_trap_in_a_net_is_found(old: str, new: str, severity: str, message: str) -> None:
    """One change to a good net gets one finding."""
    assert old in NET
    Path("net.prototxt").write_text(NET.replace(old, new))
    shapes = {**SHAPES.shapes, **({"lab": (2,)} if "lab" in message else {})}
    assert any(message in reason for reason in found(check(["net.prototxt"], Options(shapes=shapes)), severity))


@pytest.mark.parametrize(("old", "new", "severity", "message"), SOLVER_CASES, ids=lambda part: part[:30])
def test_a_trap_in_a_solver_is_found(old: str, new: str, severity: str, message: str) -> None:
    """One change to a good solver gets one finding."""
    assert old in SOLVER
    Path("net.solver").write_text(SOLVER.replace(old, new, 1))
    reports = check(["net.solver"], SHAPES)
    assert [message in reason for reason in found(reports, severity)] == [True]


def test_a_refused_type_has_no_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a solver type that is refused it is not told how it would best be tuned."""
    monkeypatch.delitem(UPDATES, "Adam")  # type: ignore[misc]
    Path("net.solver").write_text(SOLVER.replace("momentum: 0.9", 'type: "Adam"'))
    reports = check(["net.solver"], SHAPES)
    assert found(reports, ERROR) == ['there is no solver type "Adam"']
    assert found(reports, TRAP) == []


@pytest.mark.parametrize("source", ["lmdb", "leveldb", "none"])
@pytest.mark.parametrize("backend", ["", "backend: LEVELDB", "backend: LMDB"])
def test_the_backend_is_what_lies_there(source: str, backend: str) -> None:
    """A backend that is not given is told of unless it is Caffe's own default; a wrong one is an error; one that fits,
    or of which nothing can be known, is neither."""
    data = [(b"0", raw_datum(np.zeros((3, 4, 4), np.uint8), 0).SerializeToString())]
    if source == "lmdb":
        write_lmdb(source, data)
    elif source == "leveldb":
        with pytest.importorskip("plyvel").DB(source, create_if_missing=True) as database:
            database.put(*data[0])
    Path("net.prototxt").write_text(
        f'layer {{ name: "data" type: "Data" top: "data" data_param {{ source: "{source}" batch_size: 1 {backend} }} }}'
        'layer { name: "quiet" type: "Silence" bottom: "data" }'
    )
    reports = check(["net.prototxt"])
    wrong = {("lmdb", "backend: LEVELDB"): "LEVELDB, but lmdb is an LMDB"}
    wrong[("leveldb", "backend: LMDB")] = "LMDB, but leveldb is a LevelDB"
    errors = [wrong[source, backend]] if (source, backend) in wrong else []
    assert [error.partition("the backend is ")[2] for error in found(reports, ERROR)] == errors
    notes = [note for note in found(reports, NOTE) if "backend" in note]
    assert notes == [DEFAULT_BACKEND] * (not backend and source != "leveldb")


def test_every_trap_has_its_case() -> None:
    """There are at least as many cases as traps, so that none can be added without one."""
    assert len(NET_CASES) >= len(LAYER_TRAPS) + len(NET_TRAPS) - 1  # frozen.prototxt is the case of nothing_learns
    assert len(SOLVER_CASES) >= len(TRAPS) + 1


def test_weights_beside_a_net_end_the_traps_of_first_values() -> None:
    """With weights to start from, no filler is asked for, and statistics may be frozen."""
    Path("net.prototxt").write_text(NET.replace(' weight_filler { type: "msra" }', ""))
    Path("net.solver").write_text(SOLVER + 'weights: "start.caffemodel"')
    reports = check(["net.solver"], SHAPES)
    assert found(reports, TRAP) == []
    assert found(reports, NOTE) == ['the weights "start.caffemodel" are not there']
