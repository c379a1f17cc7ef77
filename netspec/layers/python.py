"""Python: a layer that the user wrote as a class, for pycaffe or as a PyTorch module."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from netspec.layers import pycaffe
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.pycaffe import ArrayLayer
from netspec.layers.user_code import leave_to_python, running, source_of, told
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter, PythonParameter

PATH = "python_param"


class Hosted(Protocol):
    """An object of the user's class."""

    blobs: list[tuple[Tensor, bool]]
    """The first values of each blob, and whether it learns."""

    def shapes(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor]) -> tuple[Tensor, ...]:
        """The tops of meta tensors."""

    def run(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor], place: Tensor) -> tuple[Tensor, ...]:
        """The tops, on the device of `place`."""


@layer("Python", bottoms=(0, None), tops=(0, None), runs_code=True)
class Python(Layer):
    """The class `layer` of the Python module `module`, found in the working directory or on sys.path.

    A class for pycaffe has setup(bottom, top), reshape(bottom, top), forward(bottom, top) and, where gradients flow,
    backward(top, propagate_down, bottom), and runs unchanged; `param_str` is its attribute, what it adds to `blobs`
    are the layer's blobs. `setup` and `reshape` also run when the net is compiled, on zeros. As in Caffe, `backward`
    belongs to the last forward. Its arrays are in the memory of the host: on a GPU, all blobs are copied there and
    back. While the module is imported and set up, ``import caffe`` finds `Layer`, TRAIN and TEST, without pycaffe too.
    Tops may have another shape in every pass. What the code raises in a pass is a CodeError with its file and line.
    A torch.nn.Module is made with the keyword `param_str` if that is given, else without arguments, and called with
    the bottoms; its parameters are the layer's blobs in their order, then its floating-point buffers as states.
    The text alone never runs code: `allow_python` must be given. `share_in_parallel` changes nothing.
    Unlike in PyTorch, the code is not in the net: it must be there where the net is used.
    """

    carries_state = True

    place: Tensor
    """Is where the tops belong."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        leave_to_python(Python, "forward")
        cls = _find_class(param.python_param)
        with _compiling(cls), _importing():
            hosted = ModuleLayer if issubclass(cls, nn.Module) else ArrayLayer
            self._hosted: Hosted = hosted(cls, param, bottoms)
        for index, (values, learns) in enumerate(self._hosted.blobs):
            self.add_blob(f"blob{index}", values.shape, FillerParameter(), learns)
        self.register_buffer("place", torch.empty(0), persistent=False)
        self._tops = len(param.top)
        self.has_effect = not param.top
        self._shapes_known = False
        self._class, self._name = cls, param.name

    def fill_blob(self, name: str, blob: Tensor) -> None:
        """What the user's class put there."""
        with torch.no_grad():
            blob.copy_(self._hosted.blobs[self.blob_names.index(name)][0])

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self._shapes_known:
            with running(self._class, self._name):
                tops = self._hosted.run(bottoms, self.blobs(), self.place)
        else:  # The first call is that of the compiler.
            with _compiling(self._class):
                tops = self._hosted.shapes(bottoms, self.blobs())
            if len(tops) != self._tops:
                raise LayerError(f"{self._class.__name__}: {len(tops)} tensors for {self._tops} tops", "top")
            self._shapes_known = True
        return tops[0] if len(tops) == 1 else tops

    def train(self, mode: bool = True) -> Python:
        """Take the user's module along."""
        if isinstance(self._hosted, ModuleLayer):
            self._hosted.module.train(mode)
        super().train(mode)
        return self


# --- a PyTorch module -------------------------------------------------------------------------------------------------


class ModuleLayer:
    """A module that computes with the layer's blobs in place of its own parameters."""

    def __init__(self, cls: type[nn.Module], param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        given = param.python_param.HasField("param_str")
        self.module = cls(param_str=param.python_param.param_str) if given else cls()
        floats = {name: buffer for name, buffer in self.module.named_buffers() if buffer.is_floating_point()}
        parameters = dict(self.module.named_parameters())
        self._names = [*parameters, *floats]
        self.blobs = [(blob.detach(), name in parameters) for name, blob in {**parameters, **floats}.items()]

    def shapes(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor]) -> tuple[Tensor, ...]:
        result = torch.func.functional_call(self.module, dict(zip(self._names, blobs, strict=True)), bottoms)
        return (result,) if isinstance(result, Tensor) else tuple(result)

    def run(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor], place: Tensor) -> tuple[Tensor, ...]:
        self.module.to(place.device)  # for what is no blob of the layer
        return self.shapes(bottoms, blobs)


# --- the user's class -------------------------------------------------------------------------------------------------


def _find_class(param: PythonParameter) -> type[Any]:
    """Import the module and take the class out of it; LayerError where either is not there or has no such methods."""
    for field in ("module", "layer"):
        if not getattr(param, field):
            raise LayerError(f"{field} must be given", PATH, field)
    module = _import(param.module)
    cls = getattr(module, param.layer, None)
    if not isinstance(cls, type):
        known = [name for name, member in vars(module).items() if isinstance(member, type)]
        reason = f'the module "{param.module}" has no class "{param.layer}"'
        raise LayerError(reason, PATH, "layer", wrong=param.layer, known=known)
    for method in ("setup", "reshape", "forward"):
        if not callable(getattr(cls, method, None)) and not issubclass(cls, nn.Module):
            reason = f'the class "{param.layer}" has no method "{method}"'
            raise LayerError(reason, PATH, "layer", wrong=method, known=[name for name in dir(cls) if name[0] != "_"])
    return cls


def _import(name: str) -> Any:
    """Import a module from the working directory or sys.path; LayerError where it is not there or fails."""
    with _importing():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise _import_error(name, error) from error
            known = [module.name for module in pkgutil.iter_modules()]
            reason = f'there is no Python module "{name}" in the working directory or on sys.path'
            raise LayerError(reason, PATH, "module", wrong=name, known=known) from None
        except Exception as error:
            raise _import_error(name, error) from error


@contextmanager
def _importing() -> Iterator[None]:
    """Let the user's code import ``caffe``, and from the working directory."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with pycaffe.caffe_to_import():
            yield
    finally:
        with suppress(ValueError):  # The code may have taken it out itself.
            sys.path.remove(folder)


def _import_error(name: str, error: Exception) -> LayerError:
    explained = told(error, f"{name.replace('.', os.sep)}.py")
    return LayerError(f'the module "{name}" cannot be imported: {explained}', PATH, "module")


@contextmanager
def _compiling(cls: type[Any]) -> Iterator[None]:
    """Turn what the user's code raises into a LayerError with its file and line."""
    try:
        yield
    except LayerError:
        raise
    except Exception as error:
        raise LayerError(f"{cls.__name__}: {told(error, source_of(cls))}", PATH, "layer") from error
