#!/usr/bin/env python3
"""Writes the long nets of the zoo with netspec's builder."""

from __future__ import annotations

import argparse
import inspect
import re
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
    "resnet34": "zoo_resnet",
    "resnet34_preact": "zoo_resnet",
    "resnet50": "zoo_resnet",
    "resnet152": "zoo_resnet",
    "vgg16": "zoo_vgg",
    "vgg16_224": "zoo_vgg",
    "googlenet": "zoo_googlenet",
    "bvlc_googlenet": "zoo_bvlc_googlenet",
    "densenet161": "zoo_densenet",
    "squeezenet": "zoo_squeezenet",
    "inception_small": "zoo_inception",
    "inception_refined": "zoo_inception",
    "vgg_f": "zoo_factorized",
    "vgg_y": "zoo_factorized",
    "vgg_z": "zoo_factorized",
    "inception_v3_small": "zoo_factorized",
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
    """The text of a layer: one line or, where that is too long, its name and blobs, then a line for each message."""
    return "\n".join(_block("layer", layer))


def _block(name: str, message: Message, indent: str = "") -> list[str]:
    """The lines of a message: those of its messages come behind those of its other fields."""
    from google.protobuf.message import Message

    if len(line := f"{indent}{name} {{ {_one_line(message)} }}") <= _WIDTH:
        return [line]
    inner = f"{indent}  "
    plain, blocks = type(message)(), list[str]()
    plain.CopyFrom(message)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        plain.ClearField(field.name)
        parts = [value] if isinstance(value, Message) else value
        if len(line := inner + " ".join(f"{field.name} {{ {_one_line(part)} }}" for part in parts)) <= _WIDTH:
            blocks.append(line)
        else:
            blocks += [line for part in parts for line in _block(field.name, part, inner)]
    return [f"{indent}{name} {{", *_filled(_one_line(plain), inner), *blocks, f"{indent}}}"]


def _filled(text: str, indent: str) -> list[str]:
    """The fields of a text, each as a whole, on lines as long as they may be."""
    lines = list[str]()
    for field in re.split(r" (?=\w+: )", text):
        if lines and len(f"{lines[-1]} {field}") <= _WIDTH:
            lines[-1] += f" {field}"
        else:
            lines.append(indent + field)
    return lines


def _one_line(message: Message) -> str:
    from google.protobuf.text_format import MessageToString

    text: str = MessageToString(message, as_one_line=True, use_short_repeated_primitives=True)
    return re.sub(r"\[([^ ]+)\]", r"\1", text)  # of one number no list


if __name__ == "__main__":
    main()
