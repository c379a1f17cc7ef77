"""A net in any of its dialects, in today's form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import Document, document_of, parse, put
from netspec.upgrade import v0, v1
from netspec.upgrade.v1 import Origins

_INPUT_FIELDS = ("input", "input_shape", "input_dim")
_DIMS = 4  # sizes of each input in input_dim


def net_document(
    source: str | Path | NetParameter | Document[NetParameter], define: Mapping[str, str] | None = None
) -> Document[NetParameter]:
    """The document of a net in today's form, whatever stands for it (a path, a message, a document). Errors in it show
    the text as it was written. `define` holds the values of the text's variables.

    Caffe's rules: V0 and V1 layers become `layer`, transform fields of V1's data layers move to transform_param,
    `input` becomes one Input layer in front. SpecError where an old form is wrong. The source is not changed; one that
    is in today's form is returned as it is.
    """
    document = document_of(source, NetParameter, define)
    if not older_net_forms(document.message):
        return document
    old, new = document.message, NetParameter()
    if old.layer and old.layers:
        raise document.error('a net has "layer" or the older "layers", not both', "layers")
    for field, value in old.ListFields():
        if field.name not in ("layer", "layers", *_INPUT_FIELDS):
            put(new, field.name, value)
    origins = _fill_input(new, document) if old.input else {}
    return Document(new, document.text, document.path, document.prefix, origins | _fill_layers(new, document))


def older_net_forms(net: NetParameter) -> list[str]:
    """The older forms that a net uses, in words; none where it is in today's form."""
    forms = []
    if net.layers:
        forms.append("V0 layers" if any(layer.HasField("layer") for layer in net.layers) else "V1 layers")
    if net.input:
        forms.append("input fields")
    return forms


def upgrade_net(net: NetParameter) -> NetParameter:
    """A net in today's form, with the blobs that it holds; the given one where it is in that form already. SpecError
    where an old form is wrong."""
    return net_document(Document(net, "", "<NetParameter>")).message


def read_net(path: str | Path, define: Mapping[str, str] | None = None) -> NetParameter:
    """Read a net file of any dialect; SpecError with file, line and column where it is wrong. `define` holds the
    values of its variables."""
    return net_document(path, define).message


def parse_net(text: str, define: Mapping[str, str] | None = None) -> NetParameter:
    """Parse the text of a net of any dialect; SpecError with line and column where it is wrong."""
    return net_document(parse(text, NetParameter, define=define)).message


def _fill_layers(new: NetParameter, document: Document[NetParameter]) -> Origins:
    """Put the layers into a new net, in today's form, behind the Input layer if there is one."""
    old = document.message
    if any(layer.HasField("layer") for layer in old.layers):
        return v0.fill_layers(new, document)
    origins: Origins = {}
    for index, layer in enumerate(old.layers):
        moved = v1.fill(new.layer.add(), layer, ("layers", index))
        origins |= {("layer", len(new.layer) - 1, *path): place for path, place in moved.items()}
    for index, kept in enumerate(old.layer):
        new.layer.add().CopyFrom(kept)
        origins["layer", len(new.layer) - 1] = ("layer", index)
    return origins


def _fill_input(new: NetParameter, document: Document[NetParameter]) -> Origins:
    """One Input layer for all inputs. One without any shape waits for the caller's."""
    _check_input(document)
    old, layer = document.message, new.layer.add(name="input", type="Input")
    layer.top.extend(old.input)
    layer.input_param.shape.extend(old.input_shape)
    origins: Origins = {("layer", 0): ("input", 0)}
    for index in range(len(old.input)):
        shape: FieldPath = ("layer", 0, "input_param", 0, "shape", index)
        origins["layer", 0, "top", index] = ("input", index)
        if old.input_shape:
            origins[shape] = ("input_shape", index)
        elif old.input_dim:
            first = index * _DIMS
            layer.input_param.shape.add(dim=old.input_dim[first : first + _DIMS])
            origins[shape] = ("input_dim", first)
            origins |= {(*shape, "dim", axis): ("input_dim", first + axis) for axis in range(_DIMS)}
    return origins


def _check_input(document: Document[NetParameter]) -> None:
    net = document.message
    inputs, shapes, dims = len(net.input), len(net.input_shape), len(net.input_dim)
    if shapes and dims:
        raise document.error("input_shape and input_dim are two forms of the same: give one", "input_dim")
    if shapes not in (0, inputs):
        raise document.error(f"{shapes} input_shape where {inputs} are needed: one for each input", "input_shape")
    if dims not in (0, _DIMS * inputs):
        raise document.error(f"{dims} input_dim where {_DIMS * inputs} are needed: {_DIMS} for each input", "input_dim")
