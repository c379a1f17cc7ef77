"""The blobs of a compiled net: allocated and filled once, shared by name, lent by another net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from netspec.compiler import BuiltLayer, Compiled, field_holding, first_line, layer_error
from netspec.fillers import FillerError
from netspec.schema.netspec_pb2 import ParamSpec
from netspec.weights import same_shape


@dataclass(frozen=True)
class Param:
    """One blob as the solver sees it. A blob that several layers share under one name comes once."""

    layer: str
    tensor: Tensor
    lr_mult: float
    decay_mult: float


@dataclass
class _Own:
    """A blob with the first layer that has it; `spec` gathers what all its layers say of it."""

    layer: str
    tensor: Tensor
    spec: ParamSpec
    borrowed: bool

    @property
    def learns(self) -> bool:
        """A state blob (BatchNorm's statistics) is no torch parameter, and the solver leaves it alone."""
        return isinstance(self.tensor, nn.Parameter)


class _View(nn.Module):
    """A blob in the shape of another layer that shares it."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, blob: Tensor) -> Tensor:
        return blob.view(self.shape)


def allocate(compiled: Compiled, device: torch.device, lent: Mapping[str, Sequence[Tensor]]) -> list[Param]:
    """Give every blob its memory, in Caffe's order: from `lent` (a net's blobs by layer name, for the first layer of
    that name), from the owner of its name, or new and filled. SpecError where shapes or multipliers disagree."""
    owns: list[_Own] = []
    named: dict[str, _Own] = {}
    unused = dict(lent)
    for layer in compiled.layers:
        borrowed = _borrowed(compiled, layer, unused)
        for index, name in enumerate(layer.module.blob_names):
            spec = _spec(layer, index)
            if spec.name in named:
                _share(compiled, layer, index, named[spec.name])
                continue
            blob = _new_blob(compiled, layer, name, device) if borrowed is None else borrowed[index]
            setattr(layer.module, name, blob)
            owns.append(_Own(layer.node.name, blob, spec, borrowed is not None))
            if spec.name:
                named[spec.name] = owns[-1]
    force = compiled.graph.document.message.force_backward
    for own in owns:
        if own.learns and not own.borrowed:
            own.tensor.requires_grad_(force or own.spec.lr_mult != 0)
    return [Param(o.layer, o.tensor, o.spec.lr_mult if o.learns else 0.0, o.spec.decay_mult) for o in owns]


def _spec(layer: BuiltLayer, index: int) -> ParamSpec:
    """A copy of what a layer's text says of one of its blobs."""
    spec = ParamSpec()
    if index < len(layer.node.param.param):
        spec.CopyFrom(layer.node.param.param[index])
    return spec


def _borrowed(compiled: Compiled, layer: BuiltLayer, lent: dict[str, Sequence[Tensor]]) -> list[Tensor] | None:
    """The blobs that another net lends to a layer, taken out of `lent`; SpecError where they do not fit or the text
    has too many."""
    node, module = layer.node, layer.module
    if len(node.param.param) > len(module.blob_names):
        reason = f"{len(node.param.param)} param for {len(module.blob_names)} blobs"
        raise compiled.graph.document.error(reason, *node.where, "param", len(module.blob_names))
    if not module.blob_names or node.name not in lent:
        return None
    borrowed = lent.pop(node.name)
    if problem := misfit(node.name, module.blobs(), borrowed):
        raise layer_error(compiled.graph, node, f"{problem} (in the train net)")
    return [_slotted(module, name, blob) for name, blob in zip(module.blob_names, borrowed, strict=True)]


def _slotted(module: nn.Module, name: str, blob: Tensor) -> Tensor:
    """A blob as the module can hold it: a view of a shared one becomes a Parameter, on the same memory."""
    view = name in module._parameters and not isinstance(blob, nn.Parameter)
    return nn.Parameter(blob.detach(), requires_grad=False) if view else blob


def _of_one_name(compiled: Compiled) -> tuple[BuiltLayer, BuiltLayer] | None:
    """The first two layers of one name that have blobs, unless these are the same ones."""
    found: dict[str, BuiltLayer] = {}
    for layer in compiled.layers:
        if layer.module.blob_names:
            first = found.setdefault(layer.node.name, layer)
            shared = [_spec(layer, index).name for index in range(len(layer.module.blob_names))]
            if first is not layer and not (all(shared) and shared == [spec.name for spec in first.node.param.param]):
                return first, layer
    return None


def check_names(compiled: Compiled) -> None:
    """SpecError where two layers with blobs have one name: a file that holds both cannot tell them apart."""
    if pair := _of_one_name(compiled):
        document, (first, second) = compiled.graph.document, pair
        line = document.position(*first.node.where)[0]
        reason = f'a layer with weights is already named "{second.node.name}" (line {line})'
        raise document.error(reason, *second.node.where, "name")


def remark_on_names(compiled: Compiled) -> str:
    """What to know of a net that `check_names` refuses, after the layer's name; empty where it is not refused."""
    if (pair := _of_one_name(compiled)) is None:
        return ""
    lines = " and ".join(str(compiled.graph.document.position(*layer.node.where)[0]) for layer in pair)
    what = f"two layers with weights have this name (lines {lines})"
    return f"{pair[0].node.name}: {what}: only the first gets weights by name, and the net cannot be trained or saved"


def misfit(name: str, blobs: Sequence[Tensor], stored: Sequence[Any]) -> str:
    """Why stored blobs (anything with a shape) do not fit those of the layer `name`; empty where they do."""
    if len(blobs) != len(stored):
        return f'layer "{name}" has {len(blobs)} blobs here and {len(stored)} there'
    for index, (blob, other) in enumerate(zip(blobs, stored, strict=True)):
        if not same_shape(other.shape, blob.shape):
            return f'blob {index} of layer "{name}" has shape {tuple(blob.shape)} here and {tuple(other.shape)} there'
    return ""


def _new_blob(compiled: Compiled, layer: BuiltLayer, name: str, device: torch.device) -> Tensor:
    """A blob filled on the CPU, so that a seed gives the same weights on every device, then moved."""
    node, module = layer.node, layer.module
    shape = tuple(getattr(module, name).shape)
    try:
        blob = torch.empty(shape)
        module.fill_blob(name, blob)
    except FillerError as error:
        field = field_holding(node.param, module.blob_fillers[name])
        raise layer_error(compiled.graph, node, str(error), *field, *(error.field if field else ())) from None
    except RuntimeError as error:  # torch's word for memory that is not there
        reason = f'blob "{name}" of shape {shape} does not fit into memory: {first_line(error)}'
        raise layer_error(compiled.graph, node, reason) from None
    blob = blob.to(device)
    return blob if name in module._buffers else nn.Parameter(blob)


def _share(compiled: Compiled, layer: BuiltLayer, index: int, owner: _Own) -> None:
    """Give a layer the blob that it names, in its own shape where its share_mode is PERMISSIVE."""
    module, name = layer.module, layer.module.blob_names[index]
    blob = module.blobs()[index]
    _check_shared(compiled, layer, index, owner)
    if blob.shape == owner.tensor.shape:
        setattr(module, name, owner.tensor)
    else:
        parametrize.register_parametrization(module, name, _View(blob.shape))
        module.parametrizations[name].original = owner.tensor  # type: ignore[index, union-attr]


def _check_shared(compiled: Compiled, layer: BuiltLayer, index: int, owner: _Own) -> None:
    """Shapes (with PERMISSIVE, numbers of values) must agree, and so must multipliers; one that all layers before left
    out is this layer's."""
    spec, blob = _spec(layer, index), layer.module.blobs()[index]
    shape, owned = tuple(blob.shape), tuple(owner.tensor.shape)
    where = (*layer.node.where, "param", index)
    error = compiled.graph.document.error
    if isinstance(blob, nn.Parameter) != owner.learns:
        raise error(f'the shared blob "{spec.name}" learns in only one of this layer and "{owner.layer}"', *where)
    if spec.share_mode == ParamSpec.PERMISSIVE and blob.numel() != owner.tensor.numel():
        reason = f'{shape} has {blob.numel()} values and {owned} in layer "{owner.layer}" {owner.tensor.numel()}'
        raise error(f'the shared blob "{spec.name}": {reason}', *where)
    if spec.share_mode == ParamSpec.STRICT and shape != owned:
        reason = f'the shared blob "{spec.name}" has shape {shape} here and {owned} in layer "{owner.layer}"'
        raise error(reason, *where)
    for mult in ("lr_mult", "decay_mult"):
        if not spec.HasField(mult):
            continue
        if owner.spec.HasField(mult) and getattr(spec, mult) != getattr(owner.spec, mult):
            reason = f'{mult} of the shared blob "{spec.name}" is not that of layer "{owner.layer}"'
            raise error(reason, *where, mult)
        setattr(owner.spec, mult, getattr(spec, mult))
