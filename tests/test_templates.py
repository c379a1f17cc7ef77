"""Variables in texts: where they are replaced, and what is said of one without a value."""

from pathlib import Path

import pytest

from netspec import SpecError, parse_net, parse_solver, read_net, to_text
from netspec.schema.netspec_pb2 import NetParameter
from netspec.templates import definitions, fill

DEFINE = {"N": "7", "NAME": "conv", "_x1": "y"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("a: ${N}", "a: 7"),
        ("a: $N", "a: 7"),
        ("a: $N }", "a: 7 }"),
        ("a: ${N}0", "a: 70"),
        ('a: "${NAME}$N.x"', 'a: "conv7.x"'),
        ("a: '$_x1' # $OTHER", "a: 'y' # $OTHER"),
        ('# $OTHER "\na: "# $N"', '# $OTHER "\na: "# 7"'),
        ('a: "\\"# $N"', 'a: "\\"# 7"'),
        ('a: "$" b: "$1" c: "${" d: "$$" e: "${1}"', 'a: "$" b: "$1" c: "${" d: "$$" e: "${1}"'),
        ("a: $$N", "a: $7"),
        ('a: "open $N\nb: $N', 'a: "open 7\nb: 7'),
    ],
)
def test_fill(text: str, filled: str) -> None:
    """A variable is replaced in values and in strings, not in comments; any other "$" stays."""
    assert fill(text, DEFINE, "net.prototxt") == filled


@pytest.mark.parametrize(
    ("text", "name", "line", "column", "hint"),
    [
        ("a: 1\nb: ${M}", "${M}", 2, 4, ""),
        ('# $M\nb: "x$M"', "$M", 2, 6, ""),
        ("b: ${NAMES}", "${NAMES}", 1, 4, 'did you mean "NAME"?'),
        ("b: $NX", "$NX", 1, 4, 'did you mean "N"?'),
    ],
)
def test_a_variable_without_a_value(text: str, name: str, line: int, column: int, hint: str) -> None:
    """It is refused where it stands, with the way to give it and the variable that may be meant."""
    with pytest.raises(SpecError) as caught:
        fill(text, DEFINE, "net.prototxt")
    error = caught.value
    assert error.reason == f"the text has a variable {name}: give it with --define {name.strip('${}')}=VALUE"
    assert (error.path, error.line, error.column, error.hint) == ("net.prototxt", line, column, hint)


def test_definitions() -> None:
    """A definition is NAME=VALUE, the value anything."""
    assert definitions(["A=1", "b_2=x=y z", "C="]) == {"A": "1", "b_2": "x=y z", "C": ""}


@pytest.mark.parametrize("wrong", ["A", "=1", "a b=1", "1=2", "${A}=1"])
def test_wrong_definitions(wrong: str) -> None:
    """Anything else is refused."""
    with pytest.raises(SpecError, match="is not of the form NAME=VALUE"):
        definitions([wrong])


def test_texts_are_read_with_their_values(tmp_path: Path) -> None:
    """Nets and solvers take their values from `define`."""
    path = tmp_path / "net.prototxt"
    path.write_text('name: "${NAME}"')
    assert read_net(path, define={"NAME": "x"}).name == parse_net("name: '$NAME'", {"NAME": "x"}).name == "x"
    assert parse_solver("max_iter: $N", DEFINE).max_iter == 7


def test_a_value_may_be_a_number() -> None:
    """From Python a variable's value need not be text."""
    assert fill("dim: ${BATCH}", {"BATCH": 2}, "a.prototxt") == "dim: 2"  # type: ignore[dict-item]


def test_what_looks_like_a_variable_is_printed_so_that_it_reads_back() -> None:
    """A string of a message may hold what a template would take for a variable."""
    net = NetParameter(name="$A and ${B} for 5$")
    assert parse_net(to_text(net)).name == net.name
