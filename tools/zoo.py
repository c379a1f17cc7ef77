#!/usr/bin/env python3
"""Writes the long nets of the zoo with netspec's builder."""

from __future__ import annotations

import argparse
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from netspec.schema.netspec_pb2 import LayerParameter, NetParameter

ZOO = Path(__file__).resolve().parents[1] / "zoo"
NETS = {
    "resnet18": "zoo_resnet",
    "resnet18_3x3": "zoo_resnet",
    "vgg16": "zoo_vgg",
    "googlenet": "zoo_googlenet",
    "densenet161": "zoo_densenet",
}
"""The module that has the function of each net. The docstring of a function is the comment on top of the net's file."""

_WIDTH = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETS)} (default: all)")
    parser.add_argument("--out", type=Path, default=ZOO, metavar="FOLDER", help="where to write them (default: zoo)")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in NETS]:
        parser.error(f'there is no net "{unknown[0]}"; there are {", ".join(NETS)}')
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or NETS:
        (args.out / f"{name}.prototxt").write_text(file_text(name))


def file_text(name: str) -> str:
    """The file of a net: the comment, then the net."""
    write = getattr(import_module(NETS[name]), name)
    comment = f"{inspect.getdoc(write)}\nWritten by tools/zoo.py."
    return "".join(f"# {line}\n" for line in comment.splitlines()) + net_text(write())


def net_text(net: NetParameter) -> str:
    """The text of a net: each layer on one line or, where it is too long for that, on several."""
    return "\n".join([f'name: "{net.name}"\n', *map(layer_text, net.layer)]) + "\n"


def layer_text(layer: LayerParameter) -> str:
    """The text of a layer; where it takes several lines, its name and blobs come first, then a line for each field."""
    from google.protobuf.message import Message

    if len(line := f"layer {{ {_one_line(layer)} }}") <= _WIDTH:
        return line
    new = type(layer)
    head, messages = new(), []
    head.CopyFrom(layer)
    for field, value in layer.ListFields():
        if field.message_type is not None:
            parts = [value] if isinstance(value, Message) else value
            messages.append(" ".join(f"{field.name} {{ {_one_line(part)} }}" for part in parts))
            head.ClearField(field.name)
    lines = [_one_line(head)]
    if len(lines[0]) > _WIDTH - 2:
        head.ClearField("bottom")
        head.ClearField("top")
        lines = [_one_line(part) for part in (head, new(bottom=layer.bottom), new(top=layer.top))]
    return "\n".join(["layer {", *(f"  {line}" for line in (*lines, *messages)), "}"])


def _one_line(message: Message) -> str:
    from google.protobuf.text_format import MessageToString

    return MessageToString(message, as_one_line=True)


if __name__ == "__main__":
    main()
