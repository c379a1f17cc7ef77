"""Iterations, and passes of test nets, captured once and replayed: a device then does not wait for Python.

A replay does on the same tensors exactly what was captured. So batches are copied into tensors that keep their place,
as they lie on the device: what gathers, crops and mirrors their images is in the replay. Numbers that change from one
iteration to the next, such as the rate, are filled into scalars on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from netspec.inputs import PendingInputs
from netspec.memory_format import laid_out
from netspec.net import Net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.average import Average
from netspec.solver.passes import Passes
from netspec.solver.recorder import Recorder
from netspec.solver.updates import Pace, Update

T = TypeVar("T")

_FIELDS = (
    "clip_gradients", "delta", "iter_size", "local_gw_ratio", "momentum", "momentum2", "regularization_type",
    "rms_decay", "type", "weight_decay",
)  # fmt: skip
"""The solver's fields that an update reads, besides those that its paces hold."""


class StaticBatches:
    """Tensors that keep their place for the batches of some passes, in the shapes of the first `batches` and a memory
    format."""

    def __init__(self, batches: Sequence[PendingInputs], memory_format: torch.memory_format) -> None:
        self.batches = [
            batch.of([torch.empty_like(laid_out(given, memory_format)) for given in batch.tensors]) for batch in batches
        ]

    def take(self, batches: Sequence[PendingInputs]) -> bool:
        """Copy batches into the tensors; whether they fit: of others nothing is copied."""
        if _kinds(batches) != _kinds(self.batches):
            return False
        for batch, static in zip(batches, self.batches, strict=True):
            for given, place in zip(batch.tensors, static.tensors, strict=True):
                place.copy_(given, non_blocking=True)
        return True


def _kinds(batches: Sequence[PendingInputs]) -> list[tuple[object, list[tuple[torch.Size, torch.dtype]]]]:
    """What batches must agree in to be made by the same operations."""
    return [(batch.key, [(given.shape, given.dtype) for given in batch.tensors]) for batch in batches]


class Captured(Generic[T]):
    """A function of batches that is captured after some runs, and replayed from then on.

    What it reads besides tensors that keep their place must depend on the `key` of a run alone: with another one it is
    captured anew. Batches of another shape or kind than the first are computed without. What the function returns is
    overwritten by the next run. Where it cannot be captured, `refuse` is told why, and it is run as it is.
    """

    def __init__(
        self,
        function: Callable[[Sequence[PendingInputs]], T],
        net: Net,
        recorder: Recorder,
        refuse: Callable[[str], None],
    ) -> None:
        self._function, self._net, self._recorder, self._refuse = function, net, recorder, refuse
        self._is_refused = False
        self.forget()

    def forget(self) -> None:
        """Capture anew, since something has changed that no key tells of."""
        self._key: object = None
        self._static: StaticBatches | None = None
        self._replay: Callable[[], T] | None = None
        self._runs = 0

    def run(self, batches: Sequence[PendingInputs], key: object) -> T:
        """What the function makes of batches."""
        if self._is_refused:
            return self._function(batches)
        if key != self._key:
            self.forget()
            self._key = key
        if self._static is None:
            self._static = StaticBatches(batches, self._net.memory_format)
        if not self._static.take(batches):
            return self._function(batches)
        return self._run_on(self._static.batches)

    def _run_on(self, batches: Sequence[PendingInputs]) -> T:
        """What the function makes of the tensors that keep their place."""
        if self._replay is not None:
            return self._replay()
        self._runs += 1
        if self._runs <= self._recorder.warm_ups:
            return self._recorder.warm_up(lambda: self._function(batches))
        recording = self._recorder.record(lambda: self._function(batches))
        self._replay = recording.replay
        if recording.replay is None:
            self._is_refused = True
            self._refuse(recording.reason)
        return recording.result


class Scalars:
    """The numbers of paces that change from one iteration to the next, as scalars on a device."""

    def __init__(self, paces: Iterable[Pace], names: Iterable[str], device: torch.device) -> None:
        self._filled, self._names = list(paces), tuple(names)
        self.paces: list[Pace] = []
        for pace in self._filled:
            scalars: dict[str, Any] = {name: torch.full((), getattr(pace, name), device=device) for name in self._names}
            self.paces.append(pace._replace(**scalars))

    def fill(self, paces: Iterable[Pace]) -> None:
        """Take up the numbers of an iteration, without waiting for the device."""
        paces = list(paces)
        for scalars, before, now in zip(self.paces, self._filled, paces, strict=True):
            for name in self._names:
                if getattr(now, name) != getattr(before, name):
                    getattr(scalars, name).fill_(getattr(now, name))
        self._filled = paces


class Replayed(Generic[T]):
    """Work of a run that is captured."""

    _captured: Captured[T]

    def forget(self) -> None:
        """Capture anew, since something has changed that cannot be seen here."""
        self._captured.forget()


class CapturedIterations(Replayed[tuple[dict[str, Tensor], Tensor]]):
    """The iterations of a run: forward and backward, the update, the average of the weights, all as one."""

    def __init__(
        self,
        solver: SolverParameter,
        net: Net,
        update: Update,
        average: Average | None,
        passes: Passes,
        recorder: Recorder,
        refuse: Callable[[str], None],
    ) -> None:
        self._solver, self._net, self._passes, self._update, self._average = solver, net, passes, update, average
        self._captured = Captured(self._iterate, net, recorder, refuse)
        self._scalars: Scalars | None = None
        self._key: object = None

    def run(self, rate: float, iteration: int) -> tuple[dict[str, Tensor], Tensor]:
        """One iteration; the outputs of its last pass, which the next one overwrites, and its loss. After a DataError
        nothing has changed."""
        batches = self._passes.take()
        paces = self._update.paces(self._solver, rate, iteration)
        key = self._step(paces)
        if self._scalars is None or key != self._key:
            self._scalars, self._key = Scalars(paces, self._update.changing, self._net.device), key
        self._scalars.fill(paces)
        out, loss = self._captured.run(batches, key)
        return out, loss.clone()

    def _iterate(self, batches: Sequence[PendingInputs]) -> tuple[dict[str, Tensor], Tensor]:
        assert self._scalars is not None
        out, loss = self._passes.run([batch.inputs() for batch in batches])
        self._update.change(self._solver, self._scalars.paces)
        if self._average:
            self._average.update()
        return {name: blob.detach() for name, blob in out.items()}, loss

    def _step(self, paces: Iterable[Pace]) -> object:
        """All that an iteration is made by, besides its batches and the numbers of its paces."""
        fields = tuple(getattr(self._solver, name) for name in _FIELDS)
        phases = [pace.is_early for pace in paces]  # one more for each group of layers that has begun to learn
        return fields, phases, _mode(self._net)


class CapturedPasses(Replayed[tuple[dict[str, Tensor], Tensor, list[Tensor | None]]]):
    """The passes of iterations, forward and backward, without the update that follows them."""

    def __init__(self, net: Net, passes: Passes, recorder: Recorder, refuse: Callable[[str], None]) -> None:
        self._net, self._passes = net, passes
        self._captured = Captured(self._run, net, recorder, refuse)

    def run(self) -> tuple[dict[str, Tensor], Tensor]:
        """As `Passes.run`."""
        batches = self._passes.take()
        self._passes.clear()  # its memory is for the gradients to come
        weights = [param.tensor for param in self._net.params]
        key = len(batches), tuple(weight.requires_grad for weight in weights), _mode(self._net)
        out, loss, gradients = self._captured.run(batches, key)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        return out, loss

    def _run(self, batches: Sequence[PendingInputs]) -> tuple[dict[str, Tensor], Tensor, list[Tensor | None]]:
        out, loss = self._passes.run([batch.inputs() for batch in batches])
        gradients = [param.tensor.grad for param in self._net.params]
        return {name: blob.detach() for name, blob in out.items()}, loss, gradients


class CapturedNet(Replayed[dict[str, Tensor]]):
    """A net that is called as `Net` is, without gradients; what it returns is overwritten by the next call."""

    def __init__(self, net: Net, recorder: Recorder, refuse: Callable[[str], None]) -> None:
        self._net = net
        self._blobs: Iterable[str] | None = None
        self._captured = Captured(self._forward, net, recorder, refuse)

    def __call__(self, *, blobs: Iterable[str] | None = None, **inputs: Tensor) -> dict[str, Tensor]:
        """The outputs of the next batch, or the blobs that the inputs give."""
        self._blobs = blobs if blobs is None else tuple(blobs)
        batch = PendingInputs.made(inputs) if inputs else self._net.pending_inputs()
        return self._captured.run([batch], (self._blobs, *_mode(self._net)))

    def _forward(self, batches: Sequence[PendingInputs]) -> dict[str, Tensor]:
        (batch,) = batches
        out: dict[str, Tensor] = self._net(blobs=self._blobs, **batch.inputs())
        return out


def _mode(net: Net) -> tuple[object, ...]:
    """How a net computes."""
    return net.precision, net.memory_format, net.compiled_whole, net.training
