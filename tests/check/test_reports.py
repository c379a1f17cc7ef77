"""What a check says of files, right and wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import Net, SpecError, parse_net
from netspec.check import Options, Report, check
from netspec.check.findings import ERROR, NOTE, TRAP
from netspec.check.net_traps import LAYER_TRAPS, NET_TRAPS
from netspec.check.solver_traps import TRAPS
from netspec.data import write_lmdb
from netspec.schema.netspec_pb2 import Datum
from netspec.schema.weights_pb2 import (
    WeightsBlob,
    WeightsFile,
    WeightsLayer,
    WeightsShape,
    WeightsV0Layer,
    WeightsV1Layer,
)
from netspec.weights import write_weights

TESTS = Path(__file__).parents[1]
CASES = sorted(path for path in (TESTS / "check").iterdir() if path.suffix in (".prototxt", ".solver"))
ZOO = sorted([*(TESTS.parent / "zoo").glob("*.prototxt"), *(TESTS.parent / "solvers").glob("*.solver")])
WRONG = sorted(path for path in (TESTS / "wrong").iterdir() if path.suffix in (".prototxt", ".solver"))

NET = """\
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 16 scale: 0.5 } data_param { source: "train" batch_size: 2 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 16 scale: 0.5 } data_param { source: "test" batch_size: 2 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param { alpha: 0.0001 } }
layer { name: "up" type: "Deconvolution" bottom: "norm" top: "up" convolution_param {
  num_output: 4 group: 4 kernel_size: 4 stride: 2 weight_filler { type: "bilinear" } } }
layer { name: "drop" type: "Dropout" bottom: "up" top: "up" dropout_param { dropout_ratio: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "up" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """\
net: "net.prototxt"
base_lr: 0.1
lr_policy: "multistep"
gamma: 0.1
stepvalue: 50
max_iter: 100
momentum: 0.9
test_iter: 2
test_interval: 20
snapshot: 50
display: 10
random_seed: 1
"""
SHAPES = Options(shapes={"data": (2, 3, 16, 16), "label": (2,)})

SOFTMAX = """layer { name: "p" type: "Softmax" bottom: "ip" top: "p" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p\""""
NET_CASES = [
    ("lrn_param { alpha: 0.0001 }", "", TRAP, "alpha is 1"),
    ("group: 4 ", "", TRAP, 'a "bilinear" filler with group 1 sums channels: upsampling needs group 4'),
    ("{ crop_size", "{ mirror: true crop_size", TRAP, "mirrored in TEST too"),
    ("ratio: 0.5", "ratio: 0.95", TRAP, "is the part that is dropped"),
    ("scale_param {", "pooling_param {} scale_param {", TRAP, "pooling_param has no effect on the type Scale"),
    (' backend: LMDB', "", NOTE, "Caffe itself reads a LevelDB"),
    ('layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip"', SOFTMAX, TRAP, "it applies Softmax itself"),
    ('top: "label" include { phase: TRAIN }', 'top: "lab" include { phase: TRAIN }', NOTE, 'no layer reads "lab"'),
    (' top: "accuracy" include { phase: TEST }', ' top: "accuracy"', NOTE, "takes part in TRAIN too"),
    ('name: "scale" type: "Scale"', 'name: "scale" type: "AbsVal"', NOTE, "learns no slope and bias"),
    (' weight_filler { type: "msra" }', "", TRAP, "without a weight_filler the weights start at 0"),
    ('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { use_global_stats: true }', TRAP, "no statistics"),
    ('name: "ip"', 'name: "ip" include { phase: TEST }', TRAP, "no layer of this name is in TRAIN"),
    ("{ crop_size: 16 scale: 0.5 }", "{ crop_size: 16 }", TRAP, "scale is not that of TRAIN"),
]  # fmt: skip
SOLVER_CASES = [
    ("stepvalue: 50", "stepvalue: 100", TRAP, "stepvalue 100 is never reached: max_iter is 100"),
    ("gamma", "power: 2 gamma", TRAP, 'power has no effect with lr_policy "multistep"'),
    ("gamma: 0.1", "gamma: 2", TRAP, "the rate rises"),
    ("base_lr: 0.1", "base_lr: 0", TRAP, "nothing learns"),
    ("momentum: 0.9", "", NOTE, "momentum is 0 unless it is given"),
    ("momentum: 0.9", 'type: "Adam"', TRAP, "momentum is Adam's beta1"),
    ("test_interval: 20", "", TRAP, "nothing is ever tested"),
    ("test_iter: 2", "", NOTE, "Caffe itself refuses this"),
    ("snapshot: 50", "", NOTE, "nothing is saved before the end"),
    ("snapshot: 50", "snapshot_after_train: false", TRAP, "nothing is ever saved"),
    ("display: 10", "", NOTE, "no loss is printed"),
    ("random_seed: 1", "", NOTE, "every run starts from other weights"),
    ("gamma", "iter_size: 2 gamma", NOTE, "iter_size does not enlarge the batches of BatchNorm"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a net and a solver in which nothing is found."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("net.solver").write_text(SOLVER)
    return tmp_path


def found(reports: list[Report], severity: str) -> list[str]:
    """The reasons of all findings of one severity."""
    return [finding.place.reason for report in reports for finding in report.ordered() if finding.severity == severity]


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_a_report_is_as_it_stands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text in the folder `check` gets the report that stands beside it."""
    monkeypatch.chdir(path.parent)
    text = "\n\n".join(report.as_text() for report in check([path.name]))
    assert text + "\n" == Path(f"{path.name}.txt").read_text()


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
def test_what_ships_is_clean(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No net and no solver of ours has an error or a trap."""
    monkeypatch.chdir(TESTS.parent)
    reports = check([path])
    assert found(reports, ERROR) == found(reports, TRAP) == []


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.name)
def test_what_a_run_refuses_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text that a run refuses is refused, but where its data is missing, its code is not run, or a solver's file
    holds a net."""
    monkeypatch.chdir(TESTS)
    reports = check([path.relative_to(TESTS)])
    excused = ("is not there", "Python code is not run")
    is_excused = any(part in note for note in found(reports, NOTE) for part in excused)
    assert found(reports, ERROR) or is_excused or (path.suffix == ".solver" and reports[0].kind == "net")


def test_nothing_is_found_in_a_good_text() -> None:
    """The net and the solver that the cases below change have nothing to be found."""
    for report in check(["net.solver"], SHAPES):
        assert report.as_text().endswith("nothing found")


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


def test_options_choose_the_layers() -> None:
    """Stages and levels count, and shapes must be those of inputs."""
    rules = 'layer { name: "more" type: "What" top: "x" include { stage: "a" min_level: 2 } }'
    Path("net.prototxt").write_text(NET + rules.replace("What", "AbsVal"))
    assert found(check(["net.prototxt"], SHAPES), ERROR) == []
    chosen = Options(("a",), 2, {**SHAPES.shapes, "conv": (1,)})
    errors = found(check(["net.prototxt"], chosen), ERROR)
    assert errors == ['--shape conv: "conv" is no input of this net', 'layer "more": AbsVal takes 1 bottom, not 0']


def test_variables_are_defined() -> None:
    """A template is checked with the values of its variables."""
    Path("net.prototxt").write_text(NET.replace("num_output: 3", "num_output: ${CLASSES}"))
    report = check(["net.prototxt"], Options(shapes=SHAPES.shapes, define={"CLASSES": "3"}))[0]
    assert (report.is_refused, report.dialect) == (False, ["today's form", "template variables"])


def test_only_the_phases_that_are_meant_are_checked() -> None:
    """A net that only TRAIN feeds is not refused for TEST."""
    train = NET.replace("include { phase: TEST }\n  transform", 'include { phase: TRAIN stage: "x" }\n  transform')
    Path("net.prototxt").write_text(train)
    report = check(["net.prototxt"], SHAPES)[0]
    assert (list(report.sizes), report.is_refused) == (["TRAIN"], False)


@pytest.mark.parametrize("count", [2, 3])
def test_the_test_set_is_counted(count: int) -> None:
    """Where the LMDB is there, it is told how much of it a test sees."""
    image = Datum(channels=3, height=16, width=16, data=bytes(768)).SerializeToString()
    write_lmdb(Path("test"), [(b"%d" % index, image) for index in range(4)])
    Path("net.solver").write_text(SOLVER.replace("test_iter: 2", f"test_iter: {count}"))
    notes = found(check(["net.solver"], SHAPES), NOTE)
    assert notes == ([] if count == 2 else ["a test sees 6 images (2 a batch); test has 4"])


def test_states_of_the_net_and_of_the_solver_count() -> None:
    """The stages that a net's own text names are met, and those of a solver's states in their phase."""
    rules = 'layer { name: "%s" type: "AbsVal" top: "%s" include { stage: "%s" } }\n'
    Path("net.prototxt").write_text(
        'state { stage: "a" }' + NET + rules % ("own", "x", "a") + rules % ("tested", "y", "b")
    )
    Path("net.solver").write_text(SOLVER + 'test_state { stage: "b" }')
    errors = found(check(["net.solver"], SHAPES), ERROR)
    assert errors == [f'layer "{name}": AbsVal takes 1 bottom, not 0' for name in ("own", "tested")]
    assert len(found(check(["net.prototxt"], SHAPES), ERROR)) == 1


def test_damaged_data_is_an_error() -> None:
    """Data that is there, but is none, would be refused."""
    Path("test").mkdir()
    Path("test/data.mdb").write_bytes(b"no data")
    assert any("data.mdb" in reason for reason in found(check(["net.prototxt"]), ERROR))


@pytest.mark.parametrize("name", ["absent.prototxt", "absent.caffemodel"])
def test_a_file_that_is_not_there_is_refused(name: str) -> None:
    """A file that cannot be read is an error in its report."""
    assert check([name])[0].is_refused


TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    '"',
    "#",
    "\n",
    "\0",
    "é",
    "nan",
    "layer {",
    "x: 1",
    "type",
    "phase: TRAIN",
    "99999999999",
]


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """The good net without its data layers, a few pieces taken out, put in, doubled or exchanged."""
    text = NET[NET.index('layer { name: "conv"') :].replace('bottom: "label"', 'bottom: "conv"')
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }\n' + text
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        new = draw(st.sampled_from(TOKENS) | st.text(max_size=4) | st.just(text[start:end] * 2))
        text = text[:start] + new + text[end:]
    return text


@settings(max_examples=60, deadline=None)
@given(mutants())
def test_a_mutant_is_checked(text: str) -> None:
    """Whatever is done to a text, a check ends, and refuses what cannot be read or built."""
    path = Path("mutant.prototxt")
    path.write_bytes(text.encode("utf-8", "replace"))
    report = check([path])[0]
    assert report.kind in ("net", "solver")
    try:
        net = parse_net(path.read_bytes().decode())
        for phase in ("TRAIN", "TEST"):
            Net(net, phase)
    except SpecError:
        assert report.is_refused
    else:
        assert not report.is_refused or report.kind == "solver"


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5", ".safetensors"])
def test_a_weights_file_is_described(suffix: str) -> None:
    """Form, number of layers and numbers, their type, and the shapes of all blobs."""
    blobs = {"ip": [np.ones((3, 4), np.float32), np.ones(3, np.float32)], "fc8": [np.ones(2, np.float32)]}
    write_weights(f"w{suffix}", "net", parse_net('layer { name: "ip" type: "InnerProduct" }').layer, blobs)
    report = check([f"w{suffix}"])[0]
    assert report.dialect == [{"5": "HDF5", "s": "safetensors"}.get(suffix[-1], "today's form")]
    assert any(fact.endswith("3x4, 3") for fact in report.facts)
    assert not report.is_refused


HALVES = WeightsBlob(raw_data_type=2, raw_data=np.ones(2, "<f2").tobytes(), shape=WeightsShape(dim=[2]))
DOUBLES = WeightsBlob(double_data=[np.ones(2, "<f8").tobytes()], num=1, channels=1, height=1, width=2)


@pytest.mark.parametrize(
    ("file", "dialect", "facts"),
    [
        (
            WeightsFile(layer=[WeightsLayer(name="a", blobs=[HALVES.SerializeToString()]).SerializeToString()]),
            "today's form",
            ["1 layer with blobs, 2 numbers (float16)", "no net definition: names and blobs only", "a  2"],
        ),
        (
            WeightsFile(
                name="old",
                layers=[WeightsV1Layer(name="a", type=4, blobs=[DOUBLES.SerializeToString()]).SerializeToString()],
            ),
            "V1 layers",
            ["1 layer with blobs, 2 numbers (float64)", 'the definition of the net "old": 1 layer', "a  1x1x1x2"],
        ),
        (
            WeightsFile(
                layers=[
                    WeightsV1Layer(
                        layer=WeightsV0Layer(name="a", blobs=[DOUBLES.SerializeToString()])
                    ).SerializeToString()
                ]
            ),
            "V0 layers",
            ["1 layer with blobs, 2 numbers (float64)", 'the definition of the net "": 1 layer', "a  1x1x1x2"],
        ),
    ],
)
def test_a_caffemodel_of_any_age_is_described(file: WeightsFile, dialect: str, facts: list[str]) -> None:
    """Dialect, number types and old shapes of a .caffemodel are told."""
    Path("w.caffemodel").write_bytes(file.SerializeToString())
    report = check(["w.caffemodel"])[0]
    assert (report.dialect, report.facts) == ([dialect], facts)


@pytest.mark.parametrize(
    ("mean", "weight", "message"),
    [(0, 0, "were never trained"), (1, 0, "as NVIDIA's fork writes them"), (np.nan, 1, "not finite"), (1, 1, "")],
)
def test_statistics_without_a_weight_are_told(mean: float, weight: float, message: str) -> None:
    """A BatchNorm that was never trained, or NVIDIA's, and numbers that are none."""
    blobs = [np.full(2, mean, np.float32), np.full(2, mean, np.float32), np.full(1, weight, np.float32)]
    write_weights("w.safetensors", "", [], {"bn": blobs})
    assert all(message and message in trap for trap in found(check(["w.safetensors"]), TRAP))
    assert bool(found(check(["w.safetensors"]), TRAP)) == bool(message)


def test_weights_are_held_against_a_net() -> None:
    """What is copied, absent, left over and misfitting is told."""
    blobs = {name: [np.ones(4, np.float32), np.ones(4, np.float32)] for name in ("scale", "ip", "fc8")}
    write_weights("w.safetensors", "", [], blobs)
    report = check(["w.safetensors", "net.prototxt"], SHAPES)[-1]
    assert report.facts[-2:] == ["into net.prototxt, TRAIN: 1 of 5 layers copied", "left over: fc8 (1 layer)"]
    assert [finding.severity for finding in report.ordered()] == [NOTE, ERROR]
    assert found([report], NOTE) == ["3 layers of net.prototxt not in it, filled as the net says: conv, bn, up"]
    assert found([report], ERROR)[0].startswith('blob 0 of layer "ip" has shape (3, 3600) here and (4,) there')
    write_weights("w.safetensors", "", [], {"other": blobs["ip"]})
    assert found(check(["w.safetensors", "net.prototxt"], SHAPES), ERROR) == ["no layer of net.prototxt is in it"]
