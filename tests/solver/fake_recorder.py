"""A stand-in for CUDA graphs on the CPU, strict where they are: a test of capturing needs no GPU."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netspec.solver import capturing, speed
from netspec.solver.recorder import CudaRecorder, Recording
from netspec.tracing import recorded

T = TypeVar("T")

_READS_VALUES = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2")


class FakeRecorder:
    """Runs a recorded function again at each replay, and writes what it returns into the tensors that it returned
    first. As in a CUDA graph, the recording itself computes nothing: it leaves all tensors as they were, and nothing
    in those that it returns.

    RuntimeError where the function reads a tensor's value. What a graph would silently get wrong
    is an AssertionError in the replay: an operation, or a number from Python, that is not the recorded one; a tensor
    from outside that was not there; a look at the clock.
    """

    warm_ups = CudaRecorder.warm_ups
    takes_all = CudaRecorder.takes_all

    def __init__(self, device: object = None) -> None:
        self.warmed_up = self.recorded = self.replayed = 0

    def warm_up(self, function: Callable[[], T]) -> T:
        self.warmed_up += 1
        return function()

    def record(self, function: Callable[[], T]) -> Recording[T]:
        self.recorded += 1
        state = torch.get_rng_state()
        first = _Trace()
        result = first.of(function)
        first.undo()
        torch.set_rng_state(state)
        for tensor in tensors(result):
            tensor.fill_(torch.nan if tensor.is_floating_point() else -1)

        def replay() -> T:
            self.replayed += 1
            again = _Trace(first)
            for place, new in zip(tensors(result), tensors(again.of(function)), strict=True):
                place.copy_(new)
            assert len(again.operations) == len(first.operations), "it ends before what was recorded"
            return result

        return Recording(replay(), replay)


class Refusing(FakeRecorder):
    """Records nothing: an iteration then does the same, operation by operation."""

    def record(self, function: Callable[[], T]) -> Recording[T]:
        return Recording(function(), None, "nothing is recorded here")


def capture_by(monkeypatch: pytest.MonkeyPatch, kind: type[FakeRecorder] = FakeRecorder) -> list[FakeRecorder]:
    """Let solvers that are built from now on capture with a recorder; those that are made."""
    made: list[FakeRecorder] = []

    def recorder(device: torch.device) -> FakeRecorder:
        made.append(kind(device))
        return made[-1]

    monkeypatch.setattr(capturing, "recorder_of", recorder)
    monkeypatch.setattr(speed, "_captures", lambda *_: True)
    return made


class _Trace(TorchDispatchMode):
    """The operations of one run of a function; with a `first` one they must be the same."""

    def __init__(self, first: "_Trace | None" = None) -> None:
        super().__init__()
        self.operations: list[tuple[object, list[str]]] = []
        self._first = first
        self._made: set[int] = set()
        self._given: dict[int, Tensor] = {}
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def of(self, function: Callable[[], T]) -> T:
        """What a function returns."""
        with ExitStack() as patches:
            for clock in ("time", "perf_counter", "monotonic"):
                patches.enter_context(patch.object(time, clock, _no_clock))
            # Layers then check labels as they do where nobody can wait to see what is wrong with them.
            patches.enter_context(recorded())
            patches.enter_context(self)
            return function()

    def undo(self) -> None:
        """Give all tensors from outside the values that they had."""
        for storage, before in self._before.values():
            storage.copy_(before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in _READS_VALUES:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        self._note(func, [leaf for leaf in tree_leaves((args, kwargs)) if not isinstance(leaf, Tensor)])
        for tensor in tensors((args, kwargs)):
            self._look_at(tensor)
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._keep(args[index] if index < len(args) else kwargs.get(argument.name))
        result = func(*args, **kwargs)
        given = self._given.keys()
        self._made |= {_place(tensor) for tensor in tensors(result)} - given
        return result

    def _note(self, func: object, numbers: list[Any]) -> None:
        operation = func, [str(number) for number in numbers]
        if self._first is not None:
            recorded = self._first.operations[len(self.operations) :]
            assert recorded and recorded[0] == operation, f"{operation} is not what was recorded: {recorded[:1]}"
        self.operations.append(operation)

    def _look_at(self, tensor: Tensor) -> None:
        place = _place(tensor)
        if place and place not in self._made and place not in self._given:
            known = self._first is None or place in self._first._given
            assert known, f"a tensor of {tuple(tensor.shape)} from outside was not there when this was recorded"
            self._given[place] = tensor

    def _keep(self, written: Any) -> None:
        for tensor in tensors(written):
            storage, place = tensor.untyped_storage(), _place(tensor)
            if place in self._given and place not in self._before:
                self._before[place] = storage, storage.clone()


def tensors(tree: Any) -> list[Tensor]:
    """The tensors in a tree of containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _no_clock(*_: object) -> float:
    raise AssertionError("what is captured looks at the clock")
