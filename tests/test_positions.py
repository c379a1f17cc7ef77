"""Where fields stand, for texts of every form that protobuf reads."""

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.positions import FieldPath, TextError, locate
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import to_text

names = st.text("ab{}<>[]:,;#\"'\\\n /é", max_size=8)
sizes = st.lists(st.integers(-9, 9), max_size=4)
rules = st.fixed_dictionaries({}, optional={"phase": st.sampled_from(["TRAIN", "TEST"]), "stage": st.lists(names)})
fillers = st.fixed_dictionaries({}, optional={"type": names, "std": st.floats(-1, 1, width=32)})
layers = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "top": st.lists(names, max_size=3),
        "include": st.lists(rules, max_size=2),
        "loss_weight": st.lists(st.floats(0, 2, width=32), max_size=3),
        "input_param": st.fixed_dictionaries({"shape": st.lists(st.builds(lambda dim: {"dim": dim}, sizes))}),
        "inner_product_param": st.fixed_dictionaries({"weight_filler": fillers}),
    },
)
nets = st.builds(lambda name, layers: NetParameter(name=name, layer=layers), names, st.lists(layers, max_size=4))


def paths(message: Message, prefix: FieldPath = ()) -> list[FieldPath]:
    """The path of every field of a message."""
    found: list[FieldPath] = []
    for field, content in message.ListFields():
        values = [content] if isinstance(content, (str, bytes, int, float, Message)) else list(content)
        for index, value in enumerate(values):
            path = (*prefix, field.name, index)
            found += [path, *(paths(value, path) if isinstance(value, Message) else [])]
    return found


def at(text: str, position: tuple[int, int]) -> str:
    """The text from a position on."""
    return text.split("\n")[position[0] - 1][position[1] - 1 :]


@settings(max_examples=150)
@given(nets, st.booleans())
def test_every_field_stands_where_its_name_is(net: NetParameter, angles: bool) -> None:
    """Of any message that is printed, in braces or angle brackets, every field and no other is found at its name."""
    text = text_format.MessageToString(net, pointy_brackets=angles)
    found = locate(text)
    assert sorted(map(str, found)) == sorted(map(str, paths(net)))
    for path, position in found.items():
        assert at(text, position).startswith(str(path[-2]))


@settings(max_examples=50)
@given(nets)
def test_every_field_is_found_in_one_line(net: NetParameter) -> None:
    """The same holds where all stands in one line."""
    text = text_format.MessageToString(net, as_one_line=True)
    found = locate(text)
    assert set(found) == set(paths(net))
    assert all(at(text, position).startswith(str(path[-2])) for path, position in found.items())


PLACES = [
    ('a: 1\n  b: "x"', {("a", 0): (1, 1), ("b", 0): (2, 3)}),
    ("a: 1 a: 2", {("a", 0): (1, 1), ("a", 1): (1, 6)}),
    ("# a: 1 {\nb: 1 # }", {("b", 0): (2, 1)}),
    ('a: "{ b: 1 # }" c: 1', {("a", 0): (1, 1), ("c", 0): (1, 17)}),
    ("a: '\"{' c: 1", {("a", 0): (1, 1), ("c", 0): (1, 9)}),
    (r'a: "\"{" c: 1', {("a", 0): (1, 1), ("c", 0): (1, 10)}),
    ("a { b: 1 } c: 1", {("a", 0): (1, 1), ("a", 0, "b", 0): (1, 5), ("c", 0): (1, 12)}),
    ("a: { b: 1 } c: 1", {("a", 0): (1, 1), ("a", 0, "b", 0): (1, 6), ("c", 0): (1, 13)}),
    ("a < b: 1 > c: 1", {("a", 0): (1, 1), ("a", 0, "b", 0): (1, 5), ("c", 0): (1, 12)}),
    ("a: [5, 6] c: 1", {("a", 0): (1, 5), ("a", 1): (1, 8), ("c", 0): (1, 11)}),
    ("a: [] c: 1", {("a", 0): (1, 1), ("c", 0): (1, 7)}),
    (
        "a: [{ b: 1 }, { b: 2 }]",
        {("a", 0): (1, 5), ("a", 0, "b", 0): (1, 7), ("a", 1): (1, 15), ("a", 1, "b", 0): (1, 17)},
    ),
    ("a: [1, 2] a: 3", {("a", 0): (1, 5), ("a", 1): (1, 8), ("a", 2): (1, 11)}),
    ("a: [1] a: [2, 3]", {("a", 0): (1, 5), ("a", 1): (1, 12), ("a", 2): (1, 15)}),
    ("a: 1, b: 2; c: 3", {("a", 0): (1, 1), ("b", 0): (1, 7), ("c", 0): (1, 13)}),
    ("a { } a { b: 1 }", {("a", 0): (1, 1), ("a", 1): (1, 7), ("a", 1, "b", 0): (1, 11)}),
    ("a:1\r\n\tb:2", {("a", 0): (1, 1), ("b", 0): (2, 2)}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "found"), PLACES, ids=[text for text, _ in PLACES])
def test_places(text: str, found: dict[FieldPath, tuple[int, int]]) -> None:
    """Lists, comments, strings, brackets and separators are told from fields."""
    assert locate(text) == found


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("a {\n  b { }", 'the "{" of "a" is never closed', (1, 3)),
        ("{", 'the "{" of "" is never closed', (1, 1)),
        ("a { }\n }", 'this "}" closes nothing', (2, 2)),
        ("a { " * 101, "nested more than 100 deep", (1, 403)),
        *(
            (f"a: {word}", f"{word} is not a number", (1, 4))
            for word in ("nan", "-inf", "inff", "NaNf", "1e39", "-4e38f")
        ),
        ("a: [1, nan]", "nan is not a number", (1, 8)),
        ("a: 'b\n'", "this string has no closing quote", (1, 4)),
        (r'a: "b\"', "this string has no closing quote", (1, 4)),
        ("a: 'b c: 'd'", "this string, or one before it in the line, has no closing quote", (1, 12)),
    ],
)
def test_texts_that_do_not_fit_together(text: str, reason: str, position: tuple[int, int]) -> None:
    """Braces and quotes without a partner, bottomless nesting, and numbers that are none, are reported where they
    stand."""
    with pytest.raises(TextError) as caught:
        locate(text)
    assert reason in caught.value.reason
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text", ['a: "nan"', "a: 'inf'", "nan: 1", "a: 3.4e38", "a: 0x1f", "a: 0.5f", "a { " * 100 + "}" * 100]
)
def test_texts_that_fit(text: str) -> None:
    """A string or a name may read as a number that is none; floats and nesting may go to their limits."""
    assert locate(text)


def test_a_printed_text_is_located_as_it_is_printed() -> None:
    """What `to_text` prints is what positions in a message without a text refer to."""
    text = to_text(NetParameter(name="x", layer=[{"name": "a"}, {"name": "b"}]))
    assert at(text, locate(text)["layer", 1, "name", 0]) == 'name: "b"'
