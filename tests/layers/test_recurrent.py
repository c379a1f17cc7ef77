"""LSTM, RNN and LSTMUnit against PyTorch's, the state carried between calls, and their errors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netspec import Net, parse_net
from netspec.layers import LayerError

T, N, K, D = 5, 3, 4, 2
X, CONT, STATIC, STATE = (T, N, K), (T, N), (N, 3), (1, N, D)
TOPS = {"LSTM": 3, "RNN": 2}


def text(layer_type, num_output=D, expose=False):
    tops = " ".join(f'top: "y{i}"' for i in range(TOPS[layer_type] if expose else 1))
    exposed = " expose_hidden: true" if expose else ""
    return f'type: "{layer_type}" {tops} recurrent_param {{ num_output: {num_output}{exposed} }}'


@pytest.fixture
def make(build):
    """A function to a layer with random blobs, always the same ones for the same shapes."""

    def make_layer(layer_type, *bottoms, num_output=D, expose=False):
        layer = build(text(layer_type, num_output, expose), *bottoms)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for blob in layer.blobs():
                blob.normal_(generator=generator)
        return layer

    return make_layer


def torch_order(blob):
    """A blob's gates i, f, o, g in PyTorch's order i, f, g, o."""
    i, f, o, g = blob.detach().chunk(4)
    return torch.cat((i, f, g, o))


def as_torch(layer):
    """PyTorch's LSTM or RNN with the layer's blobs (for RNN, what is below its output)."""
    is_lstm = len(layer.blobs()[1]) == 4 * D
    blobs = [torch_order(blob) if is_lstm else blob.detach() for blob in layer.blobs()[:3]]
    theirs = (nn.LSTM if is_lstm else nn.RNN)(blobs[0].shape[1], D)
    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    theirs.load_state_dict(dict(zip(names, (*blobs, torch.zeros_like(blobs[1])), strict=True)))
    return theirs


@settings(max_examples=30)
@given(
    timesteps=st.integers(1, 6), streams=st.integers(1, 3), values=st.lists(st.integers(1, 3), min_size=1, max_size=2)
)
def test_lstm_is_torchs(build, timesteps, streams, values):
    """From any first state h, h_T, c_T and every gradient are those of torch.nn.LSTM with its gates in its order."""
    x = torch.randn(timesteps, streams, *values, requires_grad=True)
    h, c = torch.randn(2, 1, streams, D)
    layer = build(text("LSTM", expose=True), x.shape, x.shape[:2], h.shape, c.shape)
    for blob in layer.blobs():
        nn.init.normal_(blob)
    theirs = as_torch(layer)
    tops = layer(x, torch.ones(timesteps, streams), h, c)
    expected, last = theirs(x.flatten(2), (h, c))
    torch.testing.assert_close(tops, (expected, *last))
    fed = torch.randn_like(tops[0])
    ours = torch.autograd.grad(tops[0], (x, *layer.blobs()), fed)
    wanted = torch.autograd.grad(expected, (x, theirs.weight_ih_l0, theirs.bias_ih_l0, theirs.weight_hh_l0), fed)
    torch.testing.assert_close((ours[0], *map(torch_order, ours[1:])), (wanted[0], *wanted[1:]))


def test_rnn_is_torchs_under_a_layer(make):
    """RNN is torch.nn.RNN, then tanh of an affine map of its hidden states."""
    layer = make("RNN", X, CONT, STATE, expose=True)
    x, h_0 = torch.randn(X), torch.randn(STATE)
    hidden, last = as_torch(layer)(x, h_0)
    top, ours = layer(x, torch.ones(CONT), h_0)
    torch.testing.assert_close(top, torch.tanh(hidden @ layer.output_weight.T + layer.output_bias))
    torch.testing.assert_close(ours, last)


@pytest.mark.parametrize("layer_type", ["LSTM", "RNN"])
def test_cont_0_begins_a_sequence(make, layer_type):
    """A stream cut by a cont of 0 is two sequences; the other streams go on."""
    layer, x, cont = make(layer_type, X, CONT), torch.randn(X), torch.ones(CONT)
    cont[0], cont[3, 1] = 0, 0
    top = layer(x, cont)
    layer.reset()
    whole = layer(x, torch.ones(CONT))
    layer.reset()
    second = layer(x[3:], torch.ones(T - 3, N))
    torch.testing.assert_close(top[:, [0, 2]], whole[:, [0, 2]])
    torch.testing.assert_close(top[:3, 1], whole[:3, 1])
    torch.testing.assert_close(top[3:, 1], second[:, 1])


@pytest.mark.parametrize("layer_type", ["LSTM", "RNN"])
def test_static_input_is_part_of_every_timestep(make, layer_type):
    """x_static with its weights is x with the same values appended at every timestep."""
    x, static = torch.randn(X), torch.randn(STATIC, requires_grad=True)
    layer = make(layer_type, X, CONT, STATIC)
    joined = torch.cat((x, static.expand(T, *STATIC)), 2)
    whole = make(layer_type, joined.shape, CONT)
    with torch.no_grad():
        whole.input_weight.copy_(torch.cat((layer.input_weight, layer.static_weight), 1))
        for name in set(whole.blob_names) - {"input_weight"}:
            getattr(whole, name).copy_(getattr(layer, name))
    ours, expected = layer(x, torch.ones(CONT), static), whole(joined, torch.ones(CONT))
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(top.square().sum(), static)[0] for top in (ours, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("layer_type", ["LSTM", "RNN"])
def test_the_state_is_carried_over(make, layer_type):
    """Two calls over halves of the timesteps give what one call over all of them gives."""
    layer, x, cont = make(layer_type, X, CONT), torch.randn(X), torch.ones(CONT)
    whole = layer(x, cont)
    layer.reset()
    torch.testing.assert_close(torch.cat((layer(x[:2], cont[:2]), layer(x[2:], cont[2:]))), whole)


@pytest.mark.parametrize(
    "between",
    [
        lambda layer: layer.reset(),
        lambda layer: layer.train(),
        lambda layer: layer(torch.randn(T, N - 1, K), torch.ones(T, N - 1)),
    ],
    ids=["reset", "phase", "streams"],
)
def test_the_state_starts_at_0_again(make, between):
    """After a reset, a change of phase or of the number of streams nothing is carried over."""
    layer, x, cont = make("LSTM", X, CONT), torch.randn(X), torch.ones(CONT)
    first = layer(x, cont)
    assert not torch.equal(layer(x, cont), first)
    between(layer)
    torch.testing.assert_close(layer(x, cont), first)


def test_the_same_phase_again_keeps_the_state(make):
    """Setting the phase that the layer has already is no change."""
    layer, x, cont = make("LSTM", X, CONT), torch.randn(X), torch.ones(CONT)
    whole = layer(x, cont)
    layer.reset()
    layer(x[:2], cont[:2])
    torch.testing.assert_close(layer.eval()(x[2:], cont[2:]), whole[2:])


@pytest.mark.parametrize("layer_type", ["LSTM", "RNN"])
def test_no_gradient_passes_the_exposed_states(make, layer_type):
    """Neither the first states nor the last ones nor cont are part of the graph, and last states repeat the top's."""
    states = [torch.randn(STATE, requires_grad=True) for _ in range(TOPS[layer_type] - 1)]
    x, cont = torch.randn(X, requires_grad=True), torch.ones(CONT, requires_grad=True)
    layer = make(layer_type, X, CONT, *[STATE] * len(states), expose=True)
    top, *last = layer(x, cont, *states)
    top.sum().backward()
    assert x.grad is not None
    assert cont.grad is None and all(state.grad is None for state in states)
    assert not any(state.requires_grad for state in last)
    assert [tuple(state.shape) for state in last] == [STATE] * len(states)


def test_unit_is_a_timestep(make, build):
    """LSTMUnit on the ready gates is one timestep of LSTM, in tops and in gradients."""
    x, h, c = torch.randn(1, N, K), torch.randn(STATE), torch.randn(STATE)
    cont = torch.tensor([[1.0, 0.0, 1.0]])
    layer = make("LSTM", x.shape, cont.shape, STATE, STATE, expose=True)
    gates = x @ layer.input_weight.T + layer.input_bias + (cont[..., None] * h) @ layer.hidden_weight.T
    unit = build('type: "LSTMUnit" top: "c" top: "h"', STATE, gates.shape, cont.shape)
    c_now, h_now = unit(c, gates, cont)
    top, h_last, c_last = layer(x, cont, h, c)
    torch.testing.assert_close((h_now, h_now, c_now), (top, h_last, c_last))
    torch.testing.assert_close(
        torch.autograd.grad(h_now.square().sum(), layer.blobs()), torch.autograd.grad(top.square().sum(), layer.blobs())
    )


@pytest.mark.parametrize(
    ("layer_type", "static", "count"),
    [
        ("LSTM", (), T * N * 4 * D * (K + D)),
        ("LSTM", (STATIC,), T * N * 4 * D * (K + D) + N * 4 * D * 3),
        ("RNN", (STATIC,), T * N * D * (K + D + D) + N * D * 3),
    ],
)
def test_multiply_adds(make, layer_type, static, count):
    """Every weight counts once a stream and timestep, those of x_static once a stream."""
    assert make(layer_type, X, CONT, *static).multiply_adds([X, CONT, *static], [(T, N, D)]) == count


NET = """
layer { name: "in" type: "Input" top: "x" top: "cont"
  input_param { shape { dim: [4, 2, 3] } shape { dim: [4, 2] } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
  recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -1 max: 1 } } }
"""


def test_the_state_of_a_net_is_no_blob():
    """A compiled net starts at 0 and carries its state, which is neither among its blobs nor in its state dict."""
    net = Net(parse_net(NET))
    x, cont = torch.randn(4, 2, 3), torch.ones(4, 2)
    first, second = net(x=x, cont=cont)["h"], net(x=x, cont=cont)["h"]
    assert not torch.allclose(first, second)
    assert [tuple(blob.shape) for blob in net.layer_params["lstm"]] == [(20, 3), (20,), (20, 5)]
    assert len(net.state_dict()) == 3
    torch.testing.assert_close(Net(parse_net(NET), share=net)(x=x, cont=cont)["h"], first)


UNIT = 'type: "LSTMUnit" top: "c" top: "h"'
ERRORS = [
    (text("LSTM", 0), (X, CONT), "num_output must be given and at least 1", ("recurrent_param", "num_output")),
    (text("LSTM"), (X,), "2 or 3 bottoms are needed without expose_hidden, not 1", ("bottom",)),
    (text("RNN"), (X, CONT, STATIC, STATE), "2 or 3 bottoms are needed without expose_hidden, not 4", ("bottom",)),
    (text("LSTM", expose=True), (X, CONT), "4 or 5 bottoms are needed with expose_hidden, not 2", ("bottom",)),
    (text("RNN", expose=True), (X, CONT), "3 or 4 bottoms are needed with expose_hidden, not 2", ("bottom",)),
    ('top: "z" ' + text("LSTM"), (X, CONT), "1 top is needed without expose_hidden, not 2", ("top",)),
    ('top: "z" ' + text("RNN", expose=True), (X, CONT, STATE), "2 tops are needed with expose_hidden, not 3", ("top",)),
    (
        text("LSTM"),
        ((T, N), CONT),
        "bottom 0 is (5, 3); x must have at least 3 axes: timesteps, streams, values",
        ("bottom",),
    ),
    (
        text("LSTM"),
        (X, (N, T)),
        "bottom 1 is (3, 5); cont must be (5, 3): one number a timestep and stream",
        ("bottom",),
    ),
    (
        text("LSTM"),
        (X, CONT, (T, 4)),
        "bottom 2 is (5, 4); x_static must have the 3 streams, then values",
        ("bottom",),
    ),
    (text("LSTM"), (X, CONT, (N,)), "bottom 2 is (3,); x_static must have the 3 streams, then values", ("bottom",)),
    (
        text("LSTM", expose=True),
        (X, CONT, STATIC, STATE, (N, D)),
        "bottom 4 is (3, 2); a first state must be (1, 3, 2)",
        ("bottom",),
    ),
    (
        UNIT,
        ((2, N, D), (2, N, 4 * D), (2, N)),
        "bottom 0 is (2, 3, 2); it must be one timestep of 3 axes (1, N, D)",
        ("bottom",),
    ),
    (
        UNIT,
        (STATE, (1, N, D), (1, N)),
        "bottom 1 is (1, 3, 2); beside bottom 0 of (1, 3, 2) it must be (1, 3, 8)",
        ("bottom",),
    ),
    (
        UNIT,
        (STATE, (1, N, 4 * D), (N, 1)),
        "bottom 2 is (3, 1); beside bottom 0 of (1, 3, 2) it must be (1, 3)",
        ("bottom",),
    ),
]


@pytest.mark.parametrize(("text", "bottoms", "reason", "field"), ERRORS, ids=[reason for _, _, reason, _ in ERRORS])
def test_errors(build, text, bottoms, reason, field):
    """A wrong number of bottoms or tops, or a shape that does not fit the others, is refused with its numbers."""
    with pytest.raises(LayerError) as error:
        build(text, *bottoms)
    assert (error.value.reason, error.value.field) == (reason, field)
