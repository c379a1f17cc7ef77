"""Variables in a text (``${NUM_LABELS}``, ``$WIDTH``), which get their values before the text is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from netspec.errors import SpecError, nearest
from netspec.positions import STRING, position_at

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<bare>[A-Za-z_]\w*))")
_PIECE = re.compile(
    rf"""(?P<comment>\#[^\n]*)
    |(?P<text>{STRING}|[^"'\#]+|["'][^\n]*)""",
    re.VERBOSE,
)


def escaped(text: str) -> str:
    """A text without variables whose strings hold what looks like some: it reads back as it is."""
    return _VARIABLE.sub(lambda variable: rf"\044{variable[0][1:]}", text)


def fill(text: str, define: Mapping[str, str], path: str) -> str:
    """A text with the values of its variables, which are replaced everywhere but in comments; a "$" before anything
    but a name stays. SpecError at a variable that has no value."""
    if "$" not in text:
        return text
    pieces = []
    for piece in _PIECE.finditer(text):
        done = piece.start()
        for variable in () if piece["comment"] else _VARIABLE.finditer(text, *piece.span()):
            name = variable["braced"] or variable["bare"]
            if name not in define:
                raise _undefined(variable, define, text, path)
            pieces += [text[done : variable.start()], str(define[name])]  # from Python a number is natural
            done = variable.end()
        pieces.append(text[done : piece.end()])
    return "".join(pieces)


def _undefined(variable: re.Match[str], define: Mapping[str, str], text: str, path: str) -> SpecError:
    name = variable["braced"] or variable["bare"]
    reason = f"the text has a variable {variable[0]}: give it with --define {name}=VALUE"
    return SpecError(reason, path, text, position_at(text, variable.start()), nearest(name, define))


def definitions(assignments: Iterable[str]) -> dict[str, str]:
    """The values of variables from ``NAME=VALUE`` texts; SpecError where one is not of that form."""
    define = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise SpecError(f'"{assignment}" is not of the form NAME=VALUE', "--define", assignment)
        define[name] = value
    return define
