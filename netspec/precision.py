"""What the layers of a net compute in: whether a machine can, whether it is faster so, and how PyTorch is told.

In BF16 and FP16 torch.autocast lets convolutions and products compute in 16 bits, from a 16-bit copy of each weight
that is made once a pass, or kept by whoever changes the weights; blobs between them have 16 bits where the layers that
read them say that they take these (`Layer.takes_16_bits`), else 32. Weights, gradients of weights, history, states and
losses stay float32 (Micikevicius et al. 2018).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from netspec.schema.netspec_pb2 import Precision

_TYPES = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}

_CPU_INSTRUCTIONS = {
    Precision.BF16: {"AMX": "_is_amx_tile_supported", "AVX512_BF16": "_is_avx512_bf16_supported"},
    Precision.FP16: {"AMX_FP16": "_is_amx_fp16_supported"},
}
"""Instructions that make a CPU fast, with the functions of torch.cpu that know of them; no version has all."""

_CUDA_CAPABILITY = {Precision.TF32: (8, 0), Precision.BF16: (8, 0), Precision.FP16: (7, 0)}
"""The compute capability from which on GPUs have tensor cores for it."""


def is_16_bit(kind: Precision.Kind) -> bool:
    """Whether convolutions and products compute in 16 bits."""
    return kind in _TYPES


def cast_type(kind: Precision.Kind) -> torch.dtype:
    """The number type of what convolutions and products read."""
    return _TYPES.get(kind, torch.float32)


def computing_in(kind: Precision.Kind, device: torch.device) -> AbstractContextManager[object]:
    """A context in which a forward pass on this device computes so. TF32 has none: see `allow_tf32`."""
    if not is_16_bit(kind):
        return nullcontext()
    return torch.autocast(device.type, cast_type(kind))


def all_in_float32(x: Tensor) -> AbstractContextManager[object]:
    """A context in which what is computed from x, of 32 bits, has 32 bits: products too."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def allow_tf32(allowed: bool) -> None:
    """Let products and convolutions of float32 on GPUs round what they multiply to TF32, in the whole process, or not.

    By PyTorch's older switches: it refuses to mix them with `fp32_precision`, and its compiler still reads them.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def refusal(kind: Precision.Kind, device: torch.device) -> str:
    """Why a device cannot compute so, in words; nothing where it can, if slowly."""
    name = Precision.Kind.Name(kind)
    if kind == Precision.TF32:
        if device.type != "cuda":
            return f"TF32 is a precision of GPUs, and this runs on {_called(device)}; BF16 and FP32 work here"
        if not _has_cores(kind, device):
            return f"TF32 needs a GPU of compute capability 8.0 (Ampere) or above; {_called(device)}"
    if is_16_bit(kind) and not torch.amp.is_autocast_available(device.type):
        return f"PyTorch has no automatic {name} on {_called(device)}"
    return ""


def is_fast(kind: Precision.Kind, device: torch.device) -> bool:
    """Whether a device is faster so than in FP32."""
    if kind == Precision.FP32 or refusal(kind, device):
        return False
    return bool(_cpu_instructions(kind)) if device.type == "cpu" else _has_cores(kind, device)


def remark(kind: Precision.Kind, device: torch.device) -> str:
    """What a log says of a choice: the precision, and what of it the device has."""
    name = Precision.Kind.Name(kind)
    if kind == Precision.FP32:
        return f"{name}: as in Caffe"
    if not is_fast(kind, device):
        return f"{name}: works, but slowly: no instructions for it on {_called(device)}"
    return f"{name}: this CPU has {_cpu_instructions(kind)}" if device.type == "cpu" else f"{name}: {_called(device)}"


def _cpu_instructions(kind: Precision.Kind) -> str:
    """The fastest instructions that this CPU has for a precision and oneDNN uses; nothing where there are none."""
    if torch._C._has_mkldnn and torch.backends.mkldnn.enabled:
        for name, has in _CPU_INSTRUCTIONS.get(kind, {}).items():
            if getattr(torch.cpu, has, bool)():
                return name
    return ""


def _has_cores(kind: Precision.Kind, device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _CUDA_CAPABILITY[kind]


def _called(device: torch.device) -> str:
    if device.type != "cuda":
        return "the CPU" if device.type == "cpu" else f"the device {device}"
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} has {major}.{minor}"
