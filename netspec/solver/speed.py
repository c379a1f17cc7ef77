"""How fast a run computes: what its solver says of speed, and for the rest what this machine is fastest with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils.deterministic

from netspec.allocator import keep_freed_memory
from netspec.forms.blocks import Block, block_sites
from netspec.forms.choice import Timed, choose, time_sites
from netspec.forms.trial import Setting
from netspec.log import logger
from netspec.memory_format import fastest_format
from netspec.net import Net
from netspec.precision import allow_tf32, computing_in, is_16_bit, is_fast, refusal, remark
from netspec.schema.netspec_pb2 import Capture, Compile, MemoryFormat, Precision, SolverParameter
from netspec.solver.layout import FORMATS
from netspec.solver.weight_copies import WeightCopies
from netspec.spec import Document

_WORTH_MEASURING = 500
"""Iterations from which on forms are measured: that takes about as long as 20."""

_found: tuple[bool, bool, bool] | None = None
"""What the process had been told of deterministic algorithms before netspec asked for them; None where it does not."""


@dataclass(frozen=True)
class Speed:
    """What a run computes in. `forms` is None where the length of the run decides; with `is_format_open` such a run may
    take another memory format where that is measured to be faster."""

    precision: Precision.Kind
    memory_format: torch.memory_format
    is_format_open: bool
    compile: Compile.Kind
    capture: bool
    forms: bool | None
    exact: bool
    remarks: tuple[str, ...]

    def switch_process(self) -> None:
        """Let the process compute as this run needs it: of several solvers, the one that goes on says so."""
        _be_deterministic(self.exact)

    def prepare(self, net: Net) -> Net:
        """Let a net compute so; the net."""
        net.precision, net.memory_format = self.precision, self.memory_format
        net.compiled_whole = self.compile == Compile.WHOLE
        if self.compile == Compile.BLOCKS:
            blocks = list(block_sites(net.compiled))
            net.use_forms({site.key: Block.name for site in blocks}, blocks)
        return net

    def copies(self, net: Net) -> WeightCopies | None:
        """What the passes of a net can read in place of its weights; None where they read these themselves."""
        return WeightCopies(net) if is_16_bit(self.precision) and self.compile == Compile.NONE else None

    def choose_forms(self, net: Net, iterations: int) -> dict[str, str]:
        """The forms for a net in a run of so many iterations, measured where they are not known; none where the run is
        not worth it."""
        return best_of(net, self.timed(net)) if self.measures(iterations) else {}

    def measures(self, iterations: int) -> bool:
        """Whether a run of so many iterations is worth a measurement."""
        return not self.reason_against_forms(iterations)

    def reason_against_forms(self, iterations: int) -> str:
        """Why a run of so many iterations takes no forms; nothing where they are measured."""
        if self.compile != Compile.NONE:
            return f"the solver says compile: {Compile.Kind.Name(self.compile)}"
        if self.forms is False:
            return f"the solver says {'exact: true' if self.exact else 'forms: false'}"
        if self.forms is None and iterations < _WORTH_MEASURING:
            return f"{iterations} iterations are fewer than {_WORTH_MEASURING}; forms: true takes them all the same"
        return ""

    def log(self, found: Iterable[str]) -> None:
        """One line on what was chosen, and why, and what was found for this net."""
        logger.info("Speed: %s", "; ".join([*self.remarks, *found]))

    def timed(self, net: Net) -> list[Timed]:
        """Every site of a net with the times of its forms, which are remembered for runs that are not exact."""
        setting = Setting(net.device, net.memory_format, lambda: computing_in(self.precision, net.device))
        _be_deterministic(False)
        timed = time_sites(net.compiled, setting)
        self.switch_process()
        return timed


def best_of(net: Net, timed: Sequence[Timed]) -> dict[str, str]:
    """The forms of a net's sites that together save most."""
    return choose(timed, [layer.key for layer in net.compiled.layers])


def decide(document: Document[SolverParameter], device: torch.device) -> Speed:
    """What the solver's fields and the device come to; SpecError where they contradict each other, or the device cannot
    do what is asked for. Switches of the process are set: TF32, deterministic algorithms, kept memory."""
    solver = document.message
    _refuse_contradictions(document)
    remarks = list[str]()
    precision = _precision(document, device)
    remarks.append(remark(precision, device))
    allow_tf32(precision == Precision.TF32)
    _be_deterministic(solver.exact)
    memory_format, why = _memory_format(solver, device, precision)
    remarks.append(why)
    is_auto = solver.memory_format == MemoryFormat.AUTO
    if solver.keep_memory and device.type == "cpu" and keep_freed_memory():
        remarks.append("freed memory is kept")
    if solver.exact:
        remarks.append("exact: plain layers, deterministic algorithms")
    if solver.compile != Compile.NONE:
        remarks.append(f"compile {Compile.Kind.Name(solver.compile)}: as asked for, so no forms are measured")
    forms = False if solver.exact else True if solver.fast else None
    return Speed(
        precision,
        memory_format,
        is_auto and device.type == "cpu" and not is_16_bit(precision),
        solver.compile,
        _captures(document, device),
        solver.forms if solver.HasField("forms") else forms,
        solver.exact,
        tuple(remarks),
    )


def _refuse_contradictions(document: Document[SolverParameter]) -> None:
    solver = document.message
    if solver.forms and solver.compile != Compile.NONE:
        raise document.error("forms are not measured with compile: leave one of the two out", "forms")
    if not solver.exact:
        return
    others = {
        "fast": solver.fast,
        "precision": solver.precision != Precision.FP32,
        "forms": solver.forms,
        "compile": solver.compile != Compile.NONE,
    }
    for field, contradicts in others.items():
        if contradicts:
            raise document.error(f"{field} is not for a run that is exact: it changes values within rounding", field)


def _be_deterministic(wanted: bool) -> None:
    """Let the process use deterministic algorithms only, or what it used before that was first wanted."""
    global _found
    utils: Any = torch.utils.deterministic
    if wanted:
        _found = _found or (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            utils.fill_uninitialized_memory,
        )
        torch.use_deterministic_algorithms(True)
        utils.fill_uninitialized_memory = False  # a tenth of a step
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    elif _found:
        enabled, warn_only, utils.fill_uninitialized_memory = _found
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        _found = None


def _precision(document: Document[SolverParameter], device: torch.device) -> Precision.Kind:
    solver = document.message
    if solver.HasField("precision"):
        if reason := refusal(solver.precision, device):
            raise document.error(reason, "precision")
        return solver.precision
    return Precision.BF16 if solver.fast and is_fast(Precision.BF16, device) else Precision.FP32


def _memory_format(
    solver: SolverParameter, device: torch.device, precision: Precision.Kind
) -> tuple[torch.memory_format, str]:
    """The memory format of images, and why."""
    if solver.memory_format != MemoryFormat.AUTO:
        name = MemoryFormat.Kind.Name(solver.memory_format)
        return FORMATS[name], f"{name}: as asked for"
    if (fastest := fastest_format(device, precision)) == torch.channels_last:
        return fastest, "CHANNELS_LAST: convolutions are faster so"
    return fastest, "CONTIGUOUS: convolutions in 32 bits are faster so"


def _captures(document: Document[SolverParameter], device: torch.device) -> bool:
    """Whether iterations are captured. On a CPU, what PyTorch's compiler makes cannot be."""
    solver = document.message
    can = device.type == "cuda" or solver.compile == Compile.NONE
    if solver.capture == Capture.ON and not can:
        raise document.error("capture: ON with compile needs a GPU", "capture")
    return can and solver.capture != Capture.OFF
