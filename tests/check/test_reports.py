"""What a check says of files, right and wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from good import NET, SHAPES, SOLVER, found
from hypothesis import given, settings
from mutants import changed

from netspec import Net, SpecError, parse_net
from netspec.check import Options, check
from netspec.check.findings import ERROR, NOTE, TRAP
from netspec.data import write_lmdb
from netspec.schema.netspec_pb2 import Datum

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
CASES, WRONG, ZOO, SOLVERS = (
    sorted(path for path in folder.iterdir() if path.suffix in (".prototxt", ".solver"))
    for folder in (TESTS / "check", TESTS / "wrong", ROOT / "zoo", ROOT / "solvers")
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_a_report_is_as_it_stands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text in the folder `check` gets the report that stands beside it."""
    monkeypatch.chdir(path.parent)
    text = "\n\n".join(report.as_text() for report in check([path.name]))
    assert text + "\n" == Path(f"{path.name}.txt").read_text()


@pytest.mark.parametrize("path", [*ZOO, *SOLVERS], ids=lambda path: path.name)
def test_what_ships_is_clean(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No net and no solver of ours has an error or a trap."""
    monkeypatch.chdir(ROOT)
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


def test_options_choose_the_layers() -> None:
    """Stages and levels count, and shapes must be those of inputs."""
    rules = 'layer { name: "more" type: "What" top: "x" include { stage: "a" min_level: 2 } }'
    Path("net.prototxt").write_text(NET + rules.replace("What", "AbsVal"))
    assert found(check(["net.prototxt"], SHAPES), ERROR) == []
    chosen = Options(("a",), 2, {**SHAPES.shapes, "conv": (1,)})
    errors = found(check(["net.prototxt"], chosen), ERROR)
    assert errors == ['layer "more": AbsVal takes 1 bottom, not 0', '--shape conv: "conv" is no input of this net']


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
    Path("net.solver").write_text(SOLVER + 'test_iter: 2 test_state {} test_state { stage: "b" }')
    errors = found(check(["net.solver"], SHAPES), ERROR)
    assert errors == [f'layer "{name}": AbsVal takes 1 bottom, not 0' for name in ("own", "tested")]
    assert len(found(check(["net.prototxt"], SHAPES), ERROR)) == 1


def test_what_is_alike_is_told_once_to_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text names the first place of equal findings, the data has them all."""
    monkeypatch.chdir(TESTS / "check")
    report = check(["repeated.prototxt"])[0]
    lines = [finding["line"] for finding in report.as_data()["findings"] if "kernel" in finding["message"]]
    assert lines == [3, 4, 5]
    assert report.as_text().count('no field "kernel"') == 1


LEFT_OUT = """\
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "script" type: "%s" bottom: "data" top: "x" top: "%s" }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 axis: %d } }
layer { name: "sum" type: "Reduction" bottom: "%s" top: "sum" }
"""


@pytest.mark.parametrize("layer_type", ["Python", "DetectionOutput", "AbsVal"])
def test_a_shape_stands_for_a_layer_that_cannot_be_built(layer_type: str) -> None:
    """What reads a top of given shape is checked, be its layer Python, unknown or wrong; the rest is not."""
    Path("net.prototxt").write_text(LEFT_OUT % (layer_type, "y", 3, "y"))
    assert any("left out: ip, sum" in note for note in found(check(["net.prototxt"]), NOTE))
    reports = check(["net.prototxt"], Options(shapes={"x": (4, 5)}))
    assert any("not checked" in note and note.endswith("left out: sum") for note in found(reports, NOTE))
    assert any(error.startswith('layer "ip": axis 3') for error in found(reports, ERROR))
    reports = check(["net.prototxt"], Options(shapes={"x": (4, 5, 1, 3), "y": (1,)}))
    assert not any("not checked" in note for note in found(reports, NOTE))
    assert reports[0].is_refused == (layer_type != "Python")


def test_what_works_in_place_is_no_input() -> None:
    """A blob that a left-out layer changes in place has its shape from elsewhere, so that none can be given."""
    Path("net.prototxt").write_text(LEFT_OUT % ("Python", "data", 1, "data"))
    reports = check(["net.prototxt"], Options(shapes={"x": (4, 5), "data": (2, 3)}))
    assert found(reports, ERROR) == []
    assert any(note.endswith("left out: sum") for note in found(reports, NOTE))


def test_shapes_for_two_layers_of_one_top_change_nothing() -> None:
    """Where two left-out layers make one blob, that is refused as ever."""
    both = LEFT_OUT % ("Python", "y", 1, "y")
    Path("net.prototxt").write_text(both + both.splitlines()[1].replace('"script"', '"again"'))
    reports = check(["net.prototxt"], Options(shapes={"x": (4, 5)}))
    assert found(reports, ERROR) == ['the top "x" is already made by layer "script" (line 2)']


def test_layers_of_one_name_are_refused_in_training() -> None:
    """A net in which two layers with weights have one name can be run, but not trained."""
    Path("net.prototxt").write_text(NET.replace('name: "up"', 'name: "ip"'))
    report = check(["net.prototxt"], SHAPES)[0]
    assert not report.is_refused
    assert any("two layers with weights" in note for note in found([report], NOTE))
    assert found(check(["net.solver"], SHAPES), ERROR) == ['a layer with weights is already named "ip" (line 11)']


@pytest.mark.parametrize("name", ["", ".", "nowhere/net.prototxt"])
def test_a_net_file_that_is_none_is_refused(name: str) -> None:
    """Whatever the name of a net file that is not there, it is told."""
    Path("net.solver").write_text(SOLVER.replace("net.prototxt", name))
    assert found(check(["net.solver"]), ERROR) == [f'there is no net file "{name}"']


def test_a_net_without_a_loss_is_refused_in_training() -> None:
    """A net that can be run, and in which a solver has nothing to learn from."""
    Path("net.prototxt").write_text(NET[: NET.index('layer { name: "loss"')])
    assert not check(["net.prototxt"], SHAPES)[0].is_refused
    assert found(check(["net.solver"], SHAPES), ERROR) == ["nothing to learn from: the train net has no loss"]


@pytest.mark.parametrize(
    "text", ["Train it!", "<html>", '{"a": 1}', "import torch", "[net]\nname: 1", "**Net**: a net"]
)
def test_prose_is_no_net(text: str) -> None:
    """Of a text that begins with no field it is told that it is none, and nothing else."""
    Path("net.prototxt").write_text(f"# A comment\n{text}\n${{NAME}}")
    (report,) = check(["net.prototxt"])
    assert (report.kind, report.dialect) == ("", [])
    (error,) = found([report], ERROR)
    assert error.startswith("this is neither a net nor a solver: it begins with")


@pytest.mark.parametrize("text", ['name "x"', "layr { }", "} layer { }", "lyer [ ]", "x: 1", "layer"])
def test_a_mistake_in_the_first_field_is_no_prose(text: str) -> None:
    """A text that begins nearly with a field is told what is wrong with it."""
    Path("net.prototxt").write_text(text)
    (report,) = check(["net.prototxt"])
    assert report.is_refused
    assert not any("neither a net nor" in error for error in found([report], ERROR))


def test_damaged_data_is_an_error() -> None:
    """Data that is there, but is none, would be refused."""
    Path("test").mkdir()
    Path("test/data.mdb").write_bytes(b"no data")
    assert any("data.mdb" in reason for reason in found(check(["net.prototxt"]), ERROR))


@pytest.mark.parametrize("name", ["absent.prototxt", "absent.caffemodel"])
def test_a_file_that_is_not_there_is_refused(name: str) -> None:
    """Of a file that cannot be read only the error is told, with the file that may have been meant."""
    Path("absnt.prototxt").touch()
    text = check([name])[0].as_text().splitlines()
    hint = ['did you mean "absnt.prototxt"?'] if "prototxt" in name else []
    assert text == [f"error: {name}: there is no such file", *hint, f"{name}: 1 error"]


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


MUTATED = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }\n' + NET[
    NET.index('layer { name: "conv"') :
].replace('bottom: "label"', 'bottom: "conv"')
"""The good net without its data layers."""


@settings(max_examples=60)
@given(changed(MUTATED, TOKENS))
def test_a_mutant_is_checked(text: str) -> None:
    """Whatever is done to a text, a check ends, and refuses what cannot be read or built."""
    path = Path("mutant.prototxt")
    path.write_bytes(text.encode("utf-8", "replace"))
    report = check([path])[0]
    assert report.kind in ("net", "solver") or report.is_refused
    try:
        net = parse_net(path.read_bytes().decode())
        for phase in ("TRAIN", "TEST"):
            Net(net, phase)
    except SpecError:
        assert report.is_refused
    else:
        assert not report.is_refused or report.kind == "solver"
