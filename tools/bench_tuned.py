"""Layers of torch.nn in other forms, as one writes them who tunes a loop by hand for one net and one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from bench_nets import Join
from torch import Tensor, nn


def tune(net: nn.Module, forms: Mapping[str, Sequence[str]]) -> None:
    """Put other forms in the place of a net's layers. `forms` has, by Caffe's name of the type, the form of each layer
    in order; a layer whose form is not among `FORMS` stays."""
    _tune(net, {kind: iter(names) for kind, names in forms.items()})


def _tune(parent: nn.Module, forms: Mapping[str, Iterator[str]]) -> None:
    for name, layer in list(parent.named_children()):
        if type(layer) not in TYPES:
            _tune(layer, forms)
            continue
        form = next(forms[TYPES[type(layer)]])
        if make := FORMS.get((TYPES[type(layer)], form)):
            setattr(parent, name, make(layer))
        if form in BEHIND and isinstance(getattr(parent, behind := str(int(name) + 1), None), nn.ReLU):
            setattr(parent, behind, BEHIND[form])
        if form == "one_buffer":
            for branch in parent.get_submodule("branches").children():
                setattr(branch, str(len(list(branch.children())) - 1), nn.Identity())


class Product(nn.Module):
    """A convolution of 1 x 1 as a product of matrices."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.stride = convolution.weight, convolution.bias, convolution.stride

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, :, :: self.stride[0], :: self.stride[1]].permute(0, 2, 3, 1)
        return F.linear(rows, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class WithBackward(nn.Module):
    """A convolution by a function whose backward is written by hand."""

    def __init__(self, convolution: nn.Conv2d, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.weight, self.bias, self._apply_to = convolution.weight, convolution.bias, function.apply
        self._settings: tuple[Any, ...] = convolution.stride, convolution.padding, convolution.groups

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        y: Tensor = self._apply_to(x, weight, bias, *self._settings)
        return y


class Fused(torch.autograd.Function):
    """Convolution and ReLU in one kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, pad: Any, groups: int) -> Tensor:
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, pad, stride, (1, 1), groups, "relu", [], ""
        )
        ctx.save_for_backward(x, weight, y)
        ctx.settings = stride, pad, (1, 1), False, (0, 0), groups
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        needed = list(ctx.needs_input_grad[:3])
        gradients = torch.ops.aten.convolution_backward(grad, x, weight, [len(weight)], *ctx.settings, needed)
        return *gradients, None, None, None


class Patches(torch.autograd.Function):
    """A convolution as a product with the patches under the window, which also give the weight's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, pad: Any, groups: int) -> Tensor:
        padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0])).permute(0, 2, 3, 1)
        windows = padded.unfold(1, weight.shape[2], stride[0]).unfold(2, weight.shape[3], stride[1])
        batch, height, width = windows.shape[:3]
        rows = _by_group(windows.permute(0, 1, 2, 4, 5, 3), groups).flatten(1, 3).flatten(2)
        kernels = weight.permute(0, 2, 3, 1).reshape(groups, len(weight) // groups, -1)
        y = torch.bmm(rows, kernels.mT).transpose(0, 1).reshape(batch, height, width, -1)
        ctx.save_for_backward(x, weight, rows)
        ctx.settings = stride, pad, (1, 1), False, (0, 0), groups
        top: Tensor = (y if bias is None else y.add_(bias)).permute(0, 3, 1, 2)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, rows = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            needed = [True, False, False]
            of_x = torch.ops.aten.convolution_backward(grad, x, weight, None, *ctx.settings, needed)[0]
        outer = _by_group(grad.permute(0, 2, 3, 1), len(rows)).flatten(1, 3)
        kernels = torch.bmm(outer.mT, rows).reshape(len(weight), *weight.shape[2:], weight.shape[1])
        of_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_x, kernels.permute(0, 3, 1, 2), of_bias, None, None, None


def _by_group(x: Tensor, groups: int) -> Tensor:
    """The groups of the last axis as the first one."""
    return x.view(*x.shape[:-1], groups, -1).movedim(-2, 0)


class BandedLrn(nn.Module):
    """Local response normalization, its sums over channels as a convolution with a banded matrix."""

    def __init__(self, lrn: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.lrn = lrn

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        with torch.autocast(x.device.type, enabled=False):
            return x * _sums(x * x, self.lrn.size, self.lrn.alpha / self.lrn.size, self.lrn.k).pow(-self.lrn.beta)


class ClosedLrn(BandedLrn):
    """The same with its gradient in closed form, in 16 bits where x has them."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = _ClosedLrn.apply(x, self.lrn.size, self.lrn.alpha, self.lrn.k)
        return y


class _ClosedLrn(torch.autograd.Function):
    """For a beta of 0.75."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, k: float) -> Tensor:
        scale = _sums(x * x, size, alpha / size, k)
        power = (scale * scale.sqrt()).rsqrt_()
        ctx.save_for_backward(x, scale, power)
        ctx.size, ctx.factor = size, 1.5 * alpha / size
        return x * power

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        x, scale, power = ctx.saved_tensors
        direct = grad * power
        sums = _sums((direct * x).div_(scale), ctx.size, ctx.factor, 0)
        return torch.addcmul(direct, x, sums, value=-1), None, None, None


def _sums(x: Tensor, size: int, factor: float, offset: float) -> Tensor:
    """offset + factor times the sums over `size` neighbouring channels."""
    channels, reach = x.shape[1], size // 2
    band = x.new_full((channels, channels), factor).triu(-reach).tril(reach)
    return F.conv2d(x, band[:, :, None, None], x.new_full((channels,), offset))


class BitDropout(nn.Dropout):
    """Dropout whose mask comes from 8 random bits a value where they hit the ratio, else from 16."""

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.int8 if (256 * self.p).is_integer() else torch.int16
        least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
        words = torch.empty(-(-x.numel() * dtype.itemsize // 8), dtype=torch.int64, device=x.device)
        draws = words.random_(torch.iinfo(torch.int64).min, None).view(dtype)[: x.numel()]
        kept = draws.as_strided(x.shape, x.stride()) >= least + round((most - least + 1) * self.p)
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))


class JoinedReLU(nn.Module):
    """ReLU of several blobs, written to where they are joined."""

    def forward(self, *parts: Tensor) -> Tensor:
        joined: Tensor = _JoinedReLU.apply(*parts)
        return joined


class _JoinedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.sizes = [part.shape[1] for part in parts]
        number, _, *size = parts[0].shape
        is_last = parts[0].is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        y = torch.empty(
            (number, sum(ctx.sizes), *size), dtype=parts[0].dtype, device=parts[0].device, memory_format=layout
        )
        start = 0
        for part, channels in zip(parts, ctx.sizes, strict=True):
            torch.clamp_min(part, 0, out=y[:, start : start + channels])
            start += channels
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        (y,) = ctx.saved_tensors
        both = zip(torch.split(grad, ctx.sizes, 1), torch.split(y, ctx.sizes, 1), strict=True)
        return tuple(torch.ops.aten.threshold_backward(outer, inner, 0) for outer, inner in both)


class SeparateNorm(nn.Module):
    """Batch normalization and then its slope and bias, as Caffe has it: two passes over x."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.norm = nn.BatchNorm2d(norm.num_features, norm.eps, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None, None], self.norm(x), self.weight[:, None, None])


BEHIND: Mapping[str, nn.Module] = {"fused": nn.Identity(), "patches": nn.ReLU()}
"""What a ReLU behind a convolution in such a form becomes: there is none left, or it must not work in place."""

TYPES: Mapping[type[nn.Module], str] = {
    nn.Conv2d: "Convolution",
    nn.LocalResponseNorm: "LRN",
    nn.Dropout: "Dropout",
    nn.BatchNorm2d: "BatchNorm",
    Join: "Concat",
}
"""The types that have forms, with Caffe's names."""

FORMS: Mapping[tuple[str, str], Callable[[Any], nn.Module]] = {
    ("Convolution", "product"): Product,
    ("Convolution", "fused"): lambda layer: WithBackward(layer, Fused),
    ("Convolution", "patches"): lambda layer: WithBackward(layer, Patches),
    ("LRN", "plain"): BandedLrn,
    ("LRN", "closed"): ClosedLrn,
    ("Dropout", "bits"): lambda layer: BitDropout(layer.p),
    ("BatchNorm", "plain"): SeparateNorm,
    ("Concat", "one_buffer"): lambda layer: JoinedReLU(),
}
"""The forms by type and name; torch.nn's own is the plain one of the other types, and "affine" that of BatchNorm."""
