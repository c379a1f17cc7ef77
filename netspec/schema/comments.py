"""What the schema says of its messages and fields: the comments of netspec.proto, which protobuf's modules drop."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_COMMENT = re.compile(r"^\s*// ?(?P<text>.*)$")
_OPEN = re.compile(r"^\s*(?:message|enum) (?P<name>\w+) \{$")
_ENTRY = re.compile(r"^\s*(?:(?:optional|repeated|required) [\w.]+ )?(?P<name>\w+) = \d+[^;]*;(?:\s*// (?P<text>.*))?$")


@cache
def comments() -> dict[str, str]:
    """The comment of every message and enum ("PoolingParameter", "PoolingParameter.PoolMethod") and of every field
    and value in one ("PoolingParameter.pad"), on one line each."""
    found: dict[str, str] = {}
    scope: list[str] = []
    above: list[str] = []
    for line in Path(__file__).with_name("netspec.proto").read_text(encoding="utf-8").splitlines():
        if match := _COMMENT.match(line):
            above.append(match["text"].strip())
            continue
        if match := _OPEN.match(line):
            scope.append(match["name"])
            found[".".join(scope)] = " ".join(above)
        elif match := _ENTRY.match(line):
            found[".".join([*scope, match["name"]])] = match["text"] or " ".join(above)
        elif line.strip() == "}":
            scope.pop()
        above = []
    return found
