"""Layers over time: LSTM and RNN, and the LSTMUnit that LSTM repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter

PATH = "recurrent_param"


class Recurrent(Layer):
    """Runs over the timesteps of x (T, N, ...): a subclass gives the states after each from those before it.

    All states are (N, num_output), the first of them the hidden state h. Blobs: input_weight, input_bias,
    [static_weight], hidden_weight, each with `gates` times num_output rows.
    """

    unforced = 1
    needs_top = False
    states = 1
    gates = 1

    input_weight: Tensor
    input_bias: Tensor
    static_weight: Tensor
    hidden_weight: Tensor
    last: Tensor | None
    """The states after the last forward, (states, N, num_output); None stands for 0."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        recurrent = param.recurrent_param
        if recurrent.num_output < 1:
            raise LayerError("num_output must be given and at least 1", PATH, "num_output")
        self.num_output = int(recurrent.num_output)
        self.expose_hidden = bool(recurrent.expose_hidden)
        self.carries_state = not self.expose_hidden
        exposed = self.states if self.expose_hidden else 0
        _check_counts(len(bottoms), len(param.top), exposed)
        self.has_static = len(bottoms) > 2 + exposed
        self._check_shapes(bottoms)
        self.register_buffer("last", None, persistent=False)
        rows = self.gates * self.num_output
        self.add_blob("input_weight", (rows, math.prod(bottoms[0][2:])), recurrent.weight_filler)
        self.add_blob("input_bias", (rows,), recurrent.bias_filler)
        if self.has_static:
            self.add_blob("static_weight", (rows, math.prod(bottoms[2][1:])), recurrent.weight_filler)
        self.add_blob("hidden_weight", (rows, self.num_output), recurrent.weight_filler)

    def _check_shapes(self, bottoms: Sequence[Shape]) -> None:
        x, cont, *others = bottoms
        if len(x) < 3:
            raise LayerError(f"bottom 0 is {x}; x must have at least 3 axes: timesteps, streams, values", "bottom")
        if cont != x[:2]:
            raise LayerError(f"bottom 1 is {cont}; cont must be {x[:2]}: one number a timestep and stream", "bottom")
        if self.has_static and (len(others[0]) < 2 or others[0][0] != x[1]):
            raise LayerError(f"bottom 2 is {others[0]}; x_static must have the {x[1]} streams, then values", "bottom")
        for i, state in enumerate(others[self.has_static :], 2 + self.has_static):
            if state != (1, x[1], self.num_output):
                raise LayerError(f"bottom {i} is {state}; a first state must be {(1, x[1], self.num_output)}", "bottom")

    def _timestep(self, given: Tensor, keep: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The states after a timestep; `given` (N, gates * num_output) is what its inputs give, `keep` (N, 1) cont."""
        raise NotImplementedError

    def _top(self, hidden: Tensor) -> Tensor:
        """The top of the hidden states (T, N, num_output)."""
        return hidden

    def forward(self, x: Tensor, cont: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
        if x.is_meta:
            return self._blank(x)
        # One product for all timesteps.
        given = F.linear(x.flatten(2), self.input_weight, self.input_bias).to(x.dtype)
        if self.has_static:
            given = given + F.linear(others[0].flatten(1), self.static_weight)
        states = self._first(x, others[self.has_static :])
        hidden = []
        for now, keep in zip(given, cont.detach().unsqueeze(-1), strict=True):
            states = self._timestep(now, keep, states)
            hidden.append(states[0])
        top, last = self._top(torch.stack(hidden)), torch.stack(states).detach()
        if self.expose_hidden:
            return top, *last.unsqueeze(1).unbind()
        self.last = last
        return top

    def _blank(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tops in shape alone, without a walk over the timesteps, of which there may be millions."""
        top = x.new_empty(*x.shape[:2], self.num_output)
        return (top, *(top[:1],) * self.states) if self.expose_hidden else top

    def _first(self, x: Tensor, exposed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The states before the first timestep."""
        if exposed:
            return tuple(state.detach()[0] for state in exposed)
        shape = (self.states, x.shape[1], self.num_output)
        last = self.last if self.last is not None and self.last.shape == shape else x.new_zeros(shape)
        return last.unbind()

    def reset(self) -> None:
        """Let the next forward begin with states of 0."""
        self.last = None

    def train(self, mode: bool = True) -> Recurrent:
        if mode != self.training:
            self.reset()
        super().train(mode)
        return self

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """One multiply-add a weight in every stream at every timestep; those of x_static once a stream."""
        timesteps, streams = bottoms[0][:2]
        weights = {name: blob for name, blob in zip(self.blob_names, self.blobs(), strict=True) if blob.dim() > 1}
        return streams * sum(w.numel() * (1 if name == "static_weight" else timesteps) for name, w in weights.items())


@layer("LSTM", bottoms=(2, 5), tops=(1, 3))
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): LSTMUnit at each timestep, with D = num_output and
    gates (i, f, o, g) = W_xc x_t + b_c [+ W_xc_static x_static] + W_hc (cont_t h_(t-1)).

    Bottoms x (T, N, ...), cont (T, N) [, x_static (N, ...)] [, h_0, c_0 (1, N, D)]; tops h (T, N, D) [, h_T, c_T
    (1, N, D)]. Blobs W_xc (4D, values of x), b_c (4D,), [W_xc_static (4D, values of x_static),] W_hc (4D, D).
    cont is 0 where a sequence begins: the states before it count as 0. With `expose_hidden` the first states are
    bottoms and the last ones tops, and no gradient passes them. Without it each forward begins with the states in which
    the last one ended; with 0 at first, and when N or the phase has changed. They are no blobs and are not saved.
    Unlike in PyTorch, the gates' order is i, f, o, g (there i, f, g, o), there is one bias, and states carry over.
    """

    states = 2
    gates = 4

    def _timestep(self, given: Tensor, keep: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = states
        c, h = lstm_unit(c, given + F.linear(keep * h, self.hidden_weight), keep)
        return h, c


@layer("RNN", bottoms=(2, 4), tops=(1, 2))
class RNN(Recurrent):
    """h_t = tanh(W_xh x_t + b_h [+ W_xh_static x_static] + W_hh (cont_t h_(t-1))), o_t = tanh(W_ho h_t + b_o).

    Bottoms x (T, N, ...), cont (T, N) [, x_static (N, ...)] [, h_0 (1, N, D)]; tops o (T, N, D) [, h_T (1, N, D)], with
    D = num_output. Blobs W_xh (D, values of x), b_h (D,), [W_xh_static (D, values of x_static),] W_hh (D, D),
    W_ho (D, D), b_o (D,). `cont`, `expose_hidden` and the state carried over are as in LSTM.
    Unlike in PyTorch, the top is not h but o.
    """

    output_weight: Tensor
    output_bias: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        recurrent = param.recurrent_param
        self.add_blob("output_weight", (self.num_output, self.num_output), recurrent.weight_filler)
        self.add_blob("output_bias", (self.num_output,), recurrent.bias_filler)

    def _timestep(self, given: Tensor, keep: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (torch.tanh(given + F.linear(keep * states[0], self.hidden_weight)),)

    def _top(self, hidden: Tensor) -> Tensor:
        return torch.tanh(F.linear(hidden, self.output_weight, self.output_bias).to(hidden.dtype))


@layer("LSTMUnit", bottoms=3, tops=2)
class LSTMUnit(Layer):
    """One timestep of LSTM: c = cont sigmoid(f) c_prev + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c).

    Bottoms c_prev (1, N, D), the gates i, f, o, g (1, N, 4D) and cont (1, N), which gets no gradient; tops c and h
    (1, N, D). Unlike in PyTorch, where LSTMCell has weights, the gates come ready.
    """

    unforced = 2
    needs_top = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        c_prev, gates, cont = bottoms
        if len(c_prev) != 3 or c_prev[0] != 1:
            raise LayerError(f"bottom 0 is {c_prev}; it must be one timestep of 3 axes (1, N, D)", "bottom")
        for i, shape, wanted in ((1, gates, (*c_prev[:2], 4 * c_prev[2])), (2, cont, c_prev[:2])):
            if shape != wanted:
                raise LayerError(f"bottom {i} is {shape}; beside bottom 0 of {c_prev} it must be {wanted}", "bottom")

    def forward(self, c_prev: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
        return lstm_unit(c_prev, gates, cont.detach().unsqueeze(-1))


def lstm_unit(c: Tensor, gates: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """c and h after a timestep, of c before it (..., D) and gates i, f, o, g (..., 4D)."""
    size = c.shape[-1]
    i, f, o = gates[..., : 3 * size].sigmoid().chunk(3, -1)
    c = keep * f * c + i * gates[..., 3 * size :].tanh()
    return c, o * c.tanh()


def _check_counts(bottoms: int, tops: int, exposed: int) -> None:
    """LayerError unless the bottoms are x, cont, perhaps x_static and the exposed states, the tops h and those."""
    which = f"{'with' if exposed else 'without'} expose_hidden"
    if not 2 + exposed <= bottoms <= 3 + exposed:
        raise LayerError(f"{2 + exposed} or {3 + exposed} bottoms are needed {which}, not {bottoms}", "bottom")
    if tops != 1 + exposed:
        wanted = f"{1 + exposed} tops are" if exposed else "1 top is"
        raise LayerError(f"{wanted} needed {which}, not {tops}", "top")
