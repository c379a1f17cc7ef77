"""The blobs of a compiled net: allocated and filled once, shared by name, lent by another net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netspec.compiler import BuiltLayer, Compiled, field_holding, first_line, layer_error
from netspec.fillers import FillerError, fill
from netspec.schema.netspec_pb2 import ParamSpec
from netspec.weights import same_shape


@dataclass(frozen=True)
class Param:
    """One blob as the solver sees it. A blob that several layers share under one name comes once."""

    layer: str
    tensor: Tensor
    lr_mult: float
    decay_mult: float


@dataclass(frozen=True)
class _Owner:
    """The first layer that gave a blob its name, with what it said of the blob."""

    layer: str
    spec: ParamSpec
    tensor: Tensor


def allocate(compiled: Compiled, device: torch.device, lent: Mapping[str, Sequence[Tensor]]) -> list[Param]:
    """Give every blob its memory, in Caffe's order: from `lent` (a net's blobs by layer name), from the owner of
    its name, or new and filled. SpecError where shapes or multipliers disagree."""
    params: list[Param] = []
    owners: dict[str, _Owner] = {}
    _check_names(compiled)
    for layer in compiled.layers:
        node, module = layer.node, layer.module
        if len(node.param.param) > len(module.blob_names):
            reason = f"{len(node.param.param)} param for {len(module.blob_names)} blobs"
            raise compiled.graph.document.error(reason, *node.where, "param", len(module.blob_names))
        borrowed = lent.get(node.name) if module.blob_names else None
        if borrowed is not None and (problem := misfit(node.name, module.blobs(), borrowed)):
            raise layer_error(compiled.graph, node, f"{problem} (in the train net)")
        for index, name in enumerate(module.blob_names):
            spec = node.param.param[index] if index < len(node.param.param) else ParamSpec()
            if spec.name in owners:
                setattr(module, name, _shared(compiled, layer, index, owners[spec.name]))
                continue
            blob = borrowed[index] if borrowed is not None else _new_blob(compiled, layer, name, spec, device)
            setattr(module, name, blob)
            # A state blob (BatchNorm's statistics) is no torch parameter, and the solver leaves it alone.
            lr_mult = spec.lr_mult if isinstance(blob, nn.Parameter) else 0.0
            params.append(Param(node.name, blob, lr_mult, spec.decay_mult))
            if spec.name:
                owners[spec.name] = _Owner(node.name, spec, blob)
    return params


def _check_names(compiled: Compiled) -> None:
    """Refuse two layers of one name that both have blobs: files know blobs by their layer's name alone."""
    first: dict[str, BuiltLayer] = {}
    for layer in compiled.layers:
        if layer.module.blob_names and first.setdefault(layer.node.name, layer) is not layer:
            line = compiled.graph.document.position(*first[layer.node.name].node.where)[0]
            reason = f'a layer with weights is already named "{layer.node.name}" (line {line})'
            raise compiled.graph.document.error(reason, *layer.node.where, "name")


def misfit(name: str, blobs: Sequence[Tensor], stored: Sequence[Any]) -> str:
    """Why stored blobs (anything with a shape) do not fit those of the layer `name`; empty where they do."""
    if len(blobs) != len(stored):
        return f'layer "{name}" has {len(blobs)} blobs here and {len(stored)} there'
    for index, (blob, other) in enumerate(zip(blobs, stored, strict=True)):
        if not same_shape(other.shape, blob.shape):
            return f'blob {index} of layer "{name}" has shape {tuple(blob.shape)} here and {tuple(other.shape)} there'
    return ""


def _new_blob(compiled: Compiled, layer: BuiltLayer, name: str, spec: ParamSpec, device: torch.device) -> Tensor:
    """A blob filled on the CPU, so that a seed gives the same weights on every device, then moved."""
    node, module = layer.node, layer.module
    shape = tuple(getattr(module, name).shape)
    try:
        blob = torch.empty(shape)
        fill(blob, module.blob_fillers[name])
    except FillerError as error:
        field = field_holding(node.param, module.blob_fillers[name])
        raise layer_error(compiled.graph, node, str(error), *field) from None
    except RuntimeError as error:  # torch's word for memory that is not there
        reason = f'blob "{name}" of shape {shape} does not fit into memory: {first_line(error)}'
        raise layer_error(compiled.graph, node, reason) from None
    blob = blob.to(device)
    return blob if name in module._buffers else nn.Parameter(blob, requires_grad=spec.lr_mult != 0)


def _shared(compiled: Compiled, layer: BuiltLayer, index: int, owner: _Owner) -> Tensor:
    """The owner's blob for another layer that names it; shapes and given multipliers must agree."""
    node, spec = layer.node, layer.node.param.param[index]
    shape, owned = tuple(layer.module.blobs()[index].shape), tuple(owner.tensor.shape)
    where = (*node.where, "param", index)
    if shape != owned:
        reason = f'the shared blob "{spec.name}" has shape {shape} here and {owned} in layer "{owner.layer}"'
        raise compiled.graph.document.error(reason, *where)
    for mult in ("lr_mult", "decay_mult"):
        if spec.HasField(mult) and getattr(spec, mult) != getattr(owner.spec, mult):
            reason = f'{mult} of the shared blob "{spec.name}" is not that of layer "{owner.layer}"'
            raise compiled.graph.document.error(reason, *where, mult)
    return owner.tensor
