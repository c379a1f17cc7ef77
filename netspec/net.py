"""`Net`: a net file in one phase, compiled and ready to run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netspec.blobs import Param, allocate, check_names, remark_on_names
from netspec.compiler import BuiltLayer, Compiled, compile_graph, first_line, free_key
from netspec.costs import check_memory
from netspec.debug_info import shown
from netspec.deploy import deploy_net
from netspec.errors import SpecError
from netspec.forms import PLAIN, Site, sites
from netspec.graph import Node, build, joined_state, unheard_stages
from netspec.inputs import PendingInputs, as_blob
from netspec.layers import Layer
from netspec.layers.base import Shape
from netspec.layers.sources import ArraySource, Pending, Source, SourceContext
from netspec.loading import LoadReport, load, shared_blobs, some
from netspec.log import logger
from netspec.memory_format import fastest_format, laid_out
from netspec.precision import allow_tf32, computing_in, is_16_bit, refusal
from netspec.schema.netspec_pb2 import TRAIN, NetParameter, NetState, Phase, Precision, Residence
from netspec.spec import Document
from netspec.threads import limit_threads
from netspec.upgrade import net_document
from netspec.weights import write_weights
from netspec.wiring import Wired, wire


class Net(nn.Module):
    """A net file in one phase, ready to run.

    `net` is a path, a message, or a `Document`; a .caffemodel is the net that it carries, with its weights, ready to
    score (see `deploy_net`). `phase`, `stages` and `level` (or a whole `state`) choose its layers.
    `shapes` gives tops of Input and data layers a shape in place of their own; a data layer whose tops are all given
    is not opened. `weights` names a file to start from; with `strict` a blob of another shape there is an error,
    otherwise it stays as its filler made it. `share` is a net whose layers lend their blobs to those of the same
    name, as the train net does to a test net. `seed` is that of the data layers; fillers and dropout use torch's.
    Of `ranks` processes that train together, the net of `rank` (from 0) gets its own share of the batches.
    `residence` says where decoded images lie, for data layers that do not say it themselves.
    `define` gives the variables of a template (``${NUM_LABELS}``) their values. Only with `allow_python` may the text's
    Python layers run.

    Raises SpecError where the text is wrong, DataError where its data is, SnapshotError where the weights are.
    """

    def __init__(
        self,
        net: str | Path | NetParameter | Document[NetParameter],
        phase: str | Phase = "TEST",
        *,
        weights: str | Path | None = None,
        stages: Iterable[str] = (),
        level: int = 0,
        state: NetState | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        strict: bool = True,
        device: str | torch.device = "cpu",
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        residence: Residence.Kind = Residence.AUTO,
        share: Net | None = None,
        define: Mapping[str, str] | None = None,
        allow_python: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(net, (str, Path)) and Path(net).suffix == ".caffemodel":
            weights, net = weights or net, deploy_net(net, shapes or {})
        document = net_document(net, define)
        self.graph = build(document, state or joined_state(document, phase, level, stages))
        self.device = open_device(device)
        given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
        context = SourceContext(self.graph.state.phase, seed, self.device, rank=rank, ranks=ranks, residence=residence)
        self._compiled = compile_graph(self.graph, given, context, allow_python)
        check_memory(self._compiled, self.device)
        self.params: list[Param] = allocate(self._compiled, self.device, share.layer_params if share else {})
        self.layer_modules = self._compiled.root.to(self.device)  # its blobs are there; what a file gave is not
        self.train(self.graph.state.phase == TRAIN)
        self.inputs: dict[str, Tensor] = {}
        self.allow_python = allow_python
        self.debug_info = bool(document.message.debug_info)
        self._precision: Precision.Kind = Precision.FP32
        self._forms: dict[str, Site] = {}
        self.memory_format = fastest_format(self.device, self._precision)
        self.compiled_whole = False
        self._wired_by_blobs: dict[tuple[tuple[str, ...], tuple[str, ...], bool, bool], Wired] = {}
        # Now, since torch.compile cannot trace how a pass is wired.
        self._inputs_of_outputs = self._wired(self.outputs).inputs
        for remark in (remark_on_names(self._compiled), *unheard_stages(document.message, self.graph.state)):
            if remark:
                logger.warning("%s: %s", document.path, remark)
        if weights is not None:
            self.load(weights, strict)

    @property
    def blob_shapes(self) -> dict[str, Shape]:
        """The shape of every blob by name, in the order of the layers that first make them."""
        return self._compiled.shapes

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of every top that counts toward the loss."""
        return self._compiled.loss_weights

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by name, in order (of one name, the first); data and Input layers are not among them."""
        return _by_name(self._compiled.layers)

    @property
    def compiled(self) -> Compiled:
        """The graph with its layers built, from which passes are wired."""
        return self._compiled

    @property
    def layer_params(self) -> dict[str, list[Tensor]]:
        """The live blobs of every layer that has some, in Caffe's order and shapes, states included."""
        return {name: layer.blobs() for name, layer in self._layers_with_blobs.items()}

    @property
    def _layers_with_blobs(self) -> dict[str, Layer]:
        return _by_name(layer for layer in self._compiled.layers if layer.module.blob_names)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a call returns by default: the blobs that nobody reads, sorted, then losses that somebody reads."""
        return (*self.graph.outputs, *(name for name in self.loss_weights if name not in self.graph.outputs))

    @property
    def sources(self) -> list[tuple[Node, Source]]:
        """The data layers that this net opened, with their batch sources."""
        return self._compiled.sources

    @property
    def code(self) -> str:
        """The compiled forward pass as Python, one line a layer."""
        return re.sub(r";  .* = None$", "", self._wired(self.outputs).module.code, flags=re.MULTILINE).strip()

    def forward(self, *, blobs: Iterable[str] | None = None, **inputs: Tensor | np.ndarray) -> dict[str, Tensor]:
        """Run the net. `inputs` are blobs by name, tensors or arrays of real numbers, which become float32 on the net's
        device; those not given come as the next batch of the net's data layers.

        Returns the blobs asked for, by default `outputs`. Raises ValueError for an input that is missing or misshapen.
        Inputs that `force_backward` or `propagate_down: true` give a gradient are in `net.inputs` afterwards, as what
        backward reaches: ``net.inputs["data"].grad``. While `net.debug_info` is true, Caffe's lines are logged.
        """
        names = self.outputs if blobs is None else (blobs,) if isinstance(blobs, str) else tuple(blobs)
        wired = self._wired(names)
        tensors = {name: self._input(name, given) for name, given in inputs.items()}
        if missing := [name for name in wired.inputs if name not in tensors]:
            tensors |= self._next_batches(missing, tensors).inputs()
        if wired.forced and torch.is_grad_enabled():
            tensors |= self._forced(wired, tensors)
        given = [laid_out(tensors[name], self.memory_format) for name in wired.inputs]
        watched = shown(self._compiled, self.params, tensors) if self.debug_info else nullcontext()
        with watched, computing_in(self._precision, self.device):
            result: dict[str, Tensor] = wired.module(*given)
        return result

    def next_inputs(self) -> dict[str, Tensor]:
        """The next batch of every data layer that `outputs` need, as a call takes it that is given no inputs. Raises
        DataError, and ValueError where the net has inputs that no data layer feeds."""
        return self.pending_inputs().inputs()

    def pending_inputs(self) -> PendingInputs:
        """As `next_inputs`, which are still to be made of what lies on the device."""
        return self._next_batches(self._inputs_of_outputs, {})

    def loss(self, out: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the losses in a call's result, a scalar; a top with several numbers is summed first."""
        terms = [_weighted(out[name], weight) for name, weight in self.loss_weights.items()]
        return sum(terms[1:], terms[0]) if terms else torch.zeros((), device=self.device)

    def load(self, path: str | Path, strict: bool = True, whole: bool = False) -> LoadReport:
        """Copy blobs from weights files (several with commas between them, of which later ones win) into the layers of
        the same name.

        SnapshotError, with nothing copied, where no layer is found in a file, where a blob has another shape (with
        `strict` false such a layer is left as it is), or, with `whole`, where a layer of the net is in no file.
        """
        layers = self._layers_with_blobs
        return load(layers, shared_blobs(layers, self.params), path, strict, whole)

    def save(self, path: str | Path, diff: bool = False) -> bytes:
        """Write the weights (.caffemodel, .caffemodel.h5 or .safetensors), whole or not at all; return the file's
        SHA-256. With `diff` Caffe's two formats get the gradients too, 0 where there is none. SpecError where two
        layers with blobs have one name; SnapshotError where it cannot be written."""
        self.check_names()
        blobs = {name: [blob.detach().cpu().numpy() for blob in blobs] for name, blobs in self.layer_params.items()}
        shared = shared_blobs(self._layers_with_blobs, self.params)
        layers = [node.param for node in self.graph.nodes]
        return write_weights(path, self.graph.name, layers, blobs, shared, self._gradients() if diff else {})

    def _gradients(self) -> dict[str, list[np.ndarray]]:
        """The gradients of every layer's blobs, in their shapes; those of a shared blob are its owner's."""
        owners = {param.tensor.data_ptr(): param.tensor for param in self.params}

        def gradient(blob: Tensor) -> np.ndarray:
            given = owners[blob.data_ptr()].grad
            return np.zeros(blob.shape, np.float32) if given is None else given.cpu().numpy().reshape(blob.shape)

        return {name: [gradient(blob) for blob in blobs] for name, blobs in self.layer_params.items()}

    def check_names(self) -> None:
        """SpecError where two layers with blobs have one name, so that a file could not tell them apart."""
        check_names(self._compiled)

    def check_labels(self) -> None:
        """Hold the labels in the data against the classes of the layers that read them; DataError if one is outside."""
        for layer in self._compiled.layers:
            classes = getattr(layer.module, "classes", None)
            for node, source in self.sources:
                if classes is not None and layer.node.bottoms[1] in node.tops[1:]:
                    ignored = getattr(layer.module, "ignore_label", None)
                    shares = getattr(layer.module, "shares", False)
                    source.check_labels(classes, ignored, layer.node.name, shares)

    def set_input_arrays(self, data: Any, labels: Any, layer: str | None = None) -> None:
        """Give a MemoryData layer its images (N, C, H, W), N a multiple of its batch_size, and N labels: arrays or
        tensors. `layer` is its name where the net has several. ValueError where they do not fit."""
        found = {node.name: source for node, source in self.sources if isinstance(source, ArraySource)}
        if layer is None and len(found) == 1:
            layer = next(iter(found))
        if layer not in found:
            raise ValueError(f"name one of the net's MemoryData layers; it has {some(found) or 'none'}")
        found[layer].set(data, labels)

    def close(self) -> None:
        """End the background work of the data layers."""
        for _, source in self.sources:
            source.close()

    @property
    def precision(self) -> Precision.Kind:
        """What convolutions and products compute in; weights, states, losses and all that a call returns are float32.
        It may be set, by its name too. ValueError where the device cannot. TF32 is for all nets of the process."""
        return self._precision

    @precision.setter
    def precision(self, precision: str | Precision.Kind) -> None:
        kind: Any = Precision.Kind.Value(precision) if isinstance(precision, str) else precision
        if reason := refusal(kind, self.device):
            raise ValueError(reason)
        if self.device.type == "cuda":
            allow_tf32(kind == Precision.TF32)
        self._precision = kind

    @property
    def sites(self) -> list[Site]:
        """The places of this net that have other forms than the plain one."""
        return sites(self._compiled)

    @property
    def forms(self) -> dict[str, str]:
        """The sites, by their keys, that compute in another form than the plain one, and its name."""
        root = self._compiled.root
        return {site.key: str(root.get_submodule(key).name) for key, site in self._forms.items()}

    def use_forms(self, names: Mapping[str, str], places: Iterable[Site] | None = None) -> None:
        """Compute sites, by their keys, in the forms of these names, and all else plainly. `places` are other sites
        than the net's own. Of two that share a layer the first one counts. A layer with forward hooks is computed
        plainly as long as it has them."""
        root = self._compiled.root
        for key in self._forms:
            delattr(root, key)
        self._forms, taken = {}, set[str]()
        for site in self.sites if places is None else places:
            if not site.keys & taken and (module := site.made(names.get(site.key, PLAIN))) is not None:
                key = free_key(root, f"{site.key}_{names[site.key]}")
                root.add_module(key, module.train(self.training))
                self._forms[key] = site
                taken |= site.keys
        self._wired_by_blobs.clear()

    def _wired(self, blobs: tuple[str, ...]) -> Wired:
        forms = {key: site for key, site in self._forms.items() if not site.is_hooked}
        in_16_bits = is_16_bit(self._precision)
        key = blobs, tuple(forms), in_16_bits, self.compiled_whole
        if key not in self._wired_by_blobs:
            for name in blobs:
                if name not in self.blob_shapes:
                    raise ValueError(f'there is no blob "{name}" in this net; it has {some(self.blob_shapes)}')
            wired = wire(self._compiled, blobs, forms, in_16_bits)
            if self.compiled_whole:
                wired = replace(wired, module=torch.compile(wired.module, dynamic=False))  # type: ignore[arg-type]
            self._wired_by_blobs[key] = wired
        return self._wired_by_blobs[key]

    def _forced(self, wired: Wired, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs that must get a gradient, as leaves that take one."""
        tensors = {name: inputs[name] for name in wired.forced}
        self.inputs = {name: x if x.requires_grad else x.detach().requires_grad_() for name, x in tensors.items()}
        return self.inputs

    def _input(self, name: str, given: Tensor | np.ndarray) -> Tensor:
        """What was given for an input, as the net's params are: float32 unless the caller has changed them."""
        if name not in self._compiled.inputs:
            raise ValueError(f'"{name}" is no input of this net; its inputs are {some(self._compiled.inputs)}')
        learned = (param.tensor for param in self.params if isinstance(param.tensor, nn.Parameter))
        like: Tensor = next(learned, torch.empty(0, device=self.device))
        return as_blob(name, given, self.blob_shapes[name], like)

    def _next_batches(self, missing: list[str], given: Mapping[str, Tensor]) -> PendingInputs:
        """The next batch of every data layer with a missing top; the tops of one layer belong together."""
        taken: dict[tuple[str, ...], Pending] = {}
        for node, source in self.sources:
            if set(missing) & set(node.tops):
                if set(given) & set(node.tops):
                    raise ValueError(f"give all of {', '.join(node.tops)}, or none of them")
                taken[node.tops] = source.pending()
        if lacking := sorted(set(missing).difference(*taken)):
            raise ValueError(f"missing input: {', '.join(f'{name} {self.blob_shapes[name]}' for name in lacking)}")
        return PendingInputs(taken)


def _weighted(loss: Tensor, weight: float) -> Tensor:
    """The sum of a loss times its weight, by no operation that changes nothing."""
    total = loss.sum() if loss.dim() else loss
    return total * weight if weight != 1 else total


def _by_name(layers: Iterable[BuiltLayer]) -> dict[str, Layer]:
    """Layers by name; of one name, the first, as Caffe finds them."""
    found: dict[str, Layer] = {}
    for layer in layers:
        found.setdefault(layer.node.name, layer.module)
    return found


def open_device(name: str | torch.device) -> torch.device:
    """The device of a name (cpu, cuda, cuda:1); SpecError where it cannot be used here. On a CPU torch takes no more
    threads from now on than the process may use."""
    limit_threads()
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a PyTorch that was built without CUDA
        raise SpecError(f'the device "{name}" cannot be used: {first_line(error)}', "--device", str(name)) from None
