"""Which layers take part in a phase, and what becomes of blobs by name."""

import pytest

from netspec import SpecError
from netspec.graph import Graph, build, net_state, unheard_stages
from netspec.schema.netspec_pb2 import TEST, TRAIN, NetParameter, NetState
from netspec.spec import parse

DATA = 'layer { name: "data" type: "Input" top: "data" }\n'


def graph(text: str, phase: str = "TEST", level: int = 0, stages: tuple[str, ...] = ()) -> Graph:
    return build(parse(text, NetParameter), net_state(phase, level, stages))


RULES = [
    # rules, phase, level, stages, takes part
    ("", "TRAIN", 0, (), True),
    ("include { phase: TRAIN }", "TRAIN", 0, (), True),
    ("include { phase: TRAIN }", "TEST", 0, (), False),
    ("include { phase: TRAIN } include { phase: TEST }", "TEST", 0, (), True),
    ("include { }", "TEST", 0, (), True),
    ("include { min_level: 2 }", "TEST", 1, (), False),
    ("include { min_level: 2 }", "TEST", 2, (), True),
    ("include { max_level: 2 }", "TEST", 2, (), True),
    ("include { max_level: 2 }", "TEST", 3, (), False),
    ("include { min_level: 0 }", "TEST", -1, (), False),
    ('include { stage: "a" }', "TEST", 0, (), False),
    ('include { stage: "a" }', "TEST", 0, ("a", "b"), True),
    ('include { stage: "a" stage: "b" }', "TEST", 0, ("a",), False),
    ('include { stage: "a" stage: "b" }', "TEST", 0, ("b", "a"), True),
    ('include { stage: "a" } include { stage: "b" }', "TEST", 0, ("b",), True),
    ('include { not_stage: "a" }', "TEST", 0, (), True),
    ('include { not_stage: "a" }', "TEST", 0, ("a",), False),
    ('include { not_stage: "a" not_stage: "b" }', "TEST", 0, ("b",), False),
    ('include { stage: "a" not_stage: "b" }', "TEST", 0, ("a", "b"), False),
    ('include { phase: TRAIN stage: "a" }', "TEST", 0, ("a",), False),
    ("exclude { phase: TRAIN }", "TRAIN", 0, (), False),
    ("exclude { phase: TRAIN }", "TEST", 0, (), True),
    ('exclude { phase: TRAIN } exclude { stage: "a" }', "TEST", 0, ("a",), False),
    ('exclude { phase: TRAIN stage: "a" }', "TRAIN", 0, (), True),
    ("exclude { }", "TEST", 0, (), False),
    ("include { min_level: 1 max_level: 2 }", "TEST", 0, (), False),
    ("include { min_level: 1 max_level: 2 }", "TEST", 1, (), True),
    ("include { min_level: 1 max_level: 2 }", "TEST", 2, (), True),
    ("include { min_level: 1 max_level: 2 }", "TEST", 3, (), False),
    ("include { min_level: 2 max_level: 1 }", "TEST", 1, (), False),
    ("include { min_level: 1 } include { max_level: -1 }", "TEST", -1, (), True),
    ("exclude { min_level: 1 max_level: 2 }", "TEST", 1, (), False),
    ("exclude { min_level: 1 max_level: 2 }", "TEST", 3, (), True),
    ('exclude { stage: "a" }', "TEST", 0, ("a",), False),
    ('exclude { stage: "a" stage: "b" }', "TEST", 0, ("a",), True),
    ('exclude { not_stage: "deploy" }', "TEST", 0, (), False),
    ('exclude { phase: TEST not_stage: "a" min_level: 1 }', "TEST", 0, (), True),
    ('exclude { phase: TEST not_stage: "a" min_level: 1 }', "TEST", 1, (), False),
    ('include { phase: TEST } include { stage: "a" }', "TRAIN", 0, ("a",), True),
    ('include { phase: TEST min_level: 1 stage: "a" not_stage: "b" }', "TEST", 1, ("a", "c"), True),
    ('include { phase: TEST min_level: 1 stage: "a" not_stage: "b" }', "TEST", 1, ("a", "b"), False),
    ('exclude { not_stage: "deploy" }', "TEST", 0, ("deploy",), True),
]


@pytest.mark.parametrize(("rules", "phase", "level", "stages", "takes_part"), RULES)
def test_rules(rules: str, phase: str, level: int, stages: tuple[str, ...], takes_part: bool) -> None:
    """A rule is met when all it says holds; any include lets a layer in, any exclude keeps it out."""
    nodes = graph(f'layer {{ name: "x" {rules} }}', phase, level, stages).nodes
    assert [node.name for node in nodes] == (["x"] if takes_part else [])


def test_the_same_name_in_both_phases() -> None:
    """Layers of one name, one a phase, are normal; each phase has its own, and nodes know where they stand."""
    text = DATA.replace("top:", "include { phase: TRAIN } top:") + DATA.replace("top:", "include { phase: TEST } top:")
    assert [node.where for node in graph(text, "TRAIN").nodes] == [("layer", 0)]
    assert [node.where for node in graph(text, "TEST").nodes] == [("layer", 1)]


@pytest.mark.parametrize(("phase", "number"), [("TRAIN", TRAIN), ("TEST", TEST)])
def test_nodes_know_their_phase(phase: str, number: int) -> None:
    """A node's message carries the phase; the message that was read is not changed."""
    document = parse(DATA, NetParameter)
    built = build(document, net_state(phase))
    assert built.nodes[0].param.phase == number
    assert not document.message.layer[0].HasField("phase")


def test_net_state() -> None:
    """A state is named by word or number; another word is an error."""
    assert net_state("TRAIN", 2, ["a"]) == net_state(TRAIN, 2, ["a"]) == NetState(phase=TRAIN, level=2, stage=["a"])
    with pytest.raises(ValueError, match='phase "test" is neither TRAIN nor TEST'):
        net_state("test")


def layer(name: str, bottoms: str, tops: str) -> str:
    fields = [*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())]
    return f'layer {{ name: "{name}" type: "ReLU" {" ".join(fields)} }}\n'


@pytest.mark.parametrize(
    ("layers", "outputs"),
    [
        (DATA, ["data"]),
        ("", []),
        (DATA + layer("a", "data", "z") + layer("b", "data", "y x"), ["x", "y", "z"]),
        (DATA + layer("a", "data", "Z") + layer("b", "data", "a"), ["Z", "a"]),
        (DATA + layer("a", "data", "data"), ["data"]),
        (DATA + layer("a", "data", "data") + layer("b", "data", "y"), ["y"]),
        (DATA + layer("a", "data", "a") + layer("b", "a", "a") + layer("c", "a", "a"), ["a"]),
        (DATA + layer("label", "", "label") + layer("a", "data", ""), ["label"]),
    ],
)
def test_outputs(layers: str, outputs: list[str]) -> None:
    """The outputs are the tops that nobody reads after their last change in place, sorted by bytes."""
    assert graph(layers).outputs == outputs


WRONG = [
    (layer("a", "data", "a"), 'no layer makes the blob "data"', 1, 'bottom: "data"', ""),
    (DATA + layer("a", "dat", "a"), 'no layer makes the blob "dat"', 2, 'bottom: "dat"', 'did you mean "data"?'),
    (
        layer("a", "b", "a") + layer("b", "", "b"),
        'the blob "b" is read before layer "b" (line 2) makes it',
        1,
        'bottom: "b"',
        "",
    ),
    (
        DATA.replace("top", "include { phase: TRAIN } top") + layer("a", "data", "a"),
        'no layer makes the blob "data" in phase TEST (layer "data" makes it: include { phase: TRAIN })',
        2,
        'bottom: "data"',
        "",
    ),
    (DATA + DATA, 'the top "data" is already made by layer "data" (line 1)', 2, 'top: "data"', ""),
    (DATA + layer("a", "data", "a a"), 'the top "a" is already made by layer "a" (line 2)', 2, 'top: "a" }', ""),
    (
        DATA + layer("a", "data", "a") + layer("b", "data", "data"),
        '"data" cannot be changed in place: layer "a" (line 2) reads it too',
        3,
        'top: "data"',
        "",
    ),
    (
        DATA + layer("a", "data", "data") + layer("b", "data", "b") + layer("c", "data", "data"),
        '"data" cannot be changed in place: layer "b" (line 3) reads it too',
        4,
        'top: "data"',
        "",
    ),
    (
        DATA + layer("a", "data data", "data"),
        '"data" cannot be changed in place: this layer reads it twice',
        2,
        'top: "data"',
        "",
    ),
    (
        DATA + layer("b", "", "b") + layer("a", "b data", "data"),
        'the top "data" is already made by layer "data" (line 1)',
        3,
        'top: "data"',
        "",
    ),
    (
        "layer {\n  include { }\n  exclude { }\n}",
        "a layer has include rules or exclude rules, not both",
        3,
        "exclude",
        "",
    ),
]


@pytest.mark.parametrize(("text", "reason", "line", "at", "hint"), WRONG, ids=[reason for _, reason, *_ in WRONG])
def test_blobs_that_do_not_fit(text: str, reason: str, line: int, at: str, hint: str) -> None:
    """A blob without a producer, or with two, is reported at the bottom or top that asks for it."""
    with pytest.raises(SpecError) as caught:
        graph(text)
    error = caught.value
    assert (error.reason, error.line, error.hint) == (reason, line, hint)
    assert error.source_line[error.column - 1 :].startswith(at)


@pytest.mark.parametrize(
    "rules",
    [
        'include { stage: "deploy" }',
        'include { min_level: 2 } include { phase: TRAIN not_stage: "a" }',
        "exclude { phase: TEST }",
    ],
)
def test_a_layer_that_takes_no_part_is_named_with_its_rules(rules: str) -> None:
    """Where a layer that takes no part would make a blob, the message says what its rules ask for."""
    with pytest.raises(SpecError) as caught:
        graph(DATA.replace("top", f"{rules} top") + layer("a", "data", "a"))
    assert caught.value.reason == f'no layer makes the blob "data" in phase TEST (layer "data" makes it: {rules})'


def test_each_top_may_be_its_bottom() -> None:
    """In place is by position: the second top may be the second bottom."""
    graph(DATA + layer("b", "", "b") + layer("a", "data b", "y b"))


def test_a_reader_after_the_change_is_no_second_reader() -> None:
    """In place, then read twice: both readers see the changed blob."""
    graph(DATA + layer("a", "data", "data") + layer("b", "data", "b") + layer("c", "data", "c"))


def test_a_loss_without_a_top_makes_one() -> None:
    """As in Caffe, a loss needs no name for its top: it gets the layer's, or one of its own where a blob has that."""
    bottoms = 'bottom: "data" bottom: "data"'
    text = DATA + f'layer {{ name: "loss" type: "EuclideanLoss" {bottoms} }}\n'
    assert graph(text).outputs == ["loss"]
    taken = DATA + f'layer {{ name: "data" type: "EuclideanLoss" {bottoms} }}\n'
    assert graph(taken).outputs == ["data_loss"]


@pytest.mark.parametrize(
    ("rules", "stages", "remarks"),
    [
        ('include { stage: "best" } }', ("best",), []),
        ('include { not_stage: "best" } }', ("best",), []),
        ('exclude { stage: "best" } }', ("bset", "best"), ['no layer asks for the stage "bset": did you mean "best"?']),
        ("}", ("other",), ['no layer asks for the stage "other"']),
    ],
)
def test_stages_that_nobody_asks_for(rules: str, stages: tuple[str, ...], remarks: list[str]) -> None:
    """A stage that no rule names is told, with the nearest one that a rule names."""
    net = parse('layer { name: "a" type: "Input" top: "a" ' + rules, NetParameter).message
    assert list(unheard_stages(net, net_state("TRAIN", 0, stages))) == remarks
