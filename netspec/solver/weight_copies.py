"""16-bit copies of weights, which the update keeps: no pass casts them then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from netspec.forms import Form
from netspec.layers.convolution import BaseConvolution
from netspec.layers.inner_product import InnerProduct
from netspec.net import Net
from netspec.precision import cast_type


class _Copy(torch.autograd.Function):
    """A copy in place of a weight, which gets its gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        return copy.view_as(copy)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.float(), None


class WeightCopies:
    """Copies of what convolutions and products of a net that computes in 16 bits read, as autocast would make them in
    each pass, to the bit. Whoever changes a weight must call `take` before the next pass."""

    def __init__(self, net: Net) -> None:
        forms = [module for module in net.modules() if isinstance(module, Form)]
        exact = {layer for form in forms if not form.reads_rounded for layer in form.of}
        layers = [layer.module for layer in net.compiled.layers if layer.module not in exact]
        self._places = [
            (layer, name, weight)
            for layer in layers
            if isinstance(layer, (BaseConvolution, InnerProduct))
            for name, weight in layer._parameters.items()  # without those that it has in the shape of another layer
            if weight is not None
        ]
        self._copies: dict[Tensor, Tensor] = {
            weight: torch.empty_like(weight, dtype=cast_type(net.precision), requires_grad=False)
            for _, _, weight in self._places
        }
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Copy the weights as they are."""
        torch._foreach_copy_(list(self._copies.values()), list(self._copies))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block a forward pass reads the copies; gradients are those of the weights."""
        read = {weight: _Copy.apply(weight, copy) for weight, copy in self._copies.items()}
        for layer, name, weight in self._places:
            layer._parameters[name] = read[weight]
        try:
            yield
        finally:
            for layer, name, weight in self._places:
                layer._parameters[name] = weight
