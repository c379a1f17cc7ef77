"""What does not fit into memory is refused before it is allocated."""

import pytest
import torch

from netspec import Net, SpecError, costs, parse_net

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3, 8, 8] } } }\n'
PRODUCT = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" {1} inner_product_param {{ {2} }} }}\n'


@pytest.fixture
def small_device(monkeypatch):
    """A device with 100 kB of memory."""
    monkeypatch.setattr(costs, "memory_of", lambda device: 100_000)


def refusal(text):
    with pytest.raises(SpecError) as caught:
        Net(parse_net(text))
    return caught.value


@pytest.mark.usefixtures("small_device")
def test_params_larger_than_memory():
    """The params of all layers are added up; the layer that no longer fits is named with its bytes."""
    two = INPUT + PRODUCT.format("a", "", "num_output: 100") + PRODUCT.format("b", "", "num_output: 100")
    assert refusal(two).reason == 'layer "b": up to here the params take 154 kB; the device has 100 kB'
    assert Net(parse_net(INPUT + PRODUCT.format("a", "", "num_output: 100"))).layer_params["a"][0].shape == (100, 192)


@pytest.mark.usefixtures("small_device")
def test_shared_params_count_once():
    """A blob that two layers share under a name is allocated once, and counted once."""
    shared = 'param { name: "w" }'
    net = Net(
        parse_net(
            INPUT + PRODUCT.format("a", shared, "num_output: 100") + PRODUCT.format("b", shared, "num_output: 100")
        )
    )
    assert net.layer_params["a"][0] is net.layer_params["b"][0]


@pytest.mark.usefixtures("small_device")
def test_top_larger_than_memory():
    """A top that alone is larger than the memory is named with its shape and bytes."""
    text = INPUT + 'layer { name: "up" type: "Upsample" bottom: "x" top: "y" upsample_param { scale: 9 } }'
    reason = 'layer "up": the top "y" of shape (2, 3, 72, 72) takes 124 kB; the device has 100 kB'
    assert refusal(text).reason == reason


HOSTILE = [
    'type: "InnerProduct" inner_product_param { num_output: 2147483647 }',
    'type: "Convolution" convolution_param { num_output: 2147483647 kernel_size: 3 }',
    'type: "Convolution" convolution_param { num_output: 2 kernel_size: 2147483647 }',
    'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 stride: 0 }',
    'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 pad: 2147483647 }',
    'type: "Convolution" convolution_param { num_output: 2 kernel_size: 4294967290 pad: 4294967290 }',
    'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 3 stride: 2147483647 }',
    'type: "Pooling" pooling_param { kernel_size: 2147483647 pad: 2147483646 }',
    'type: "Interp" interp_param { zoom_factor: 2147483647 }',
    'type: "Upsample" upsample_param { scale: 2147483647 }',
    'type: "Tile" tile_param { tiles: 2147483647 }',
    'type: "SPP" spp_param { pyramid_height: 40 }',
    'type: "Embed" embed_param { num_output: 2147483647 input_dim: 2147483647 }',
    'type: "ArgMax" argmax_param { top_k: 2147483647 }',
    'type: "Reshape" reshape_param { shape { dim: [9223372036854775807, 4, -1] } }',
]


@pytest.mark.parametrize("fields", HOSTILE)
def test_hostile_sizes(fields):
    """Sizes that no machine can hold, and strides that divide by zero, are a SpecError that names the layer."""
    text = INPUT + f'layer {{ name: "huge" bottom: "x" top: "y" {fields} }}'
    assert refusal(text).reason.startswith('layer "huge": ')


@pytest.mark.parametrize("dims", ["9223372036854775807, 9223372036854775807", "1000000, 1000000, 1000000"])
def test_hostile_input(dims):
    """An input of astronomical size is refused where it stands."""
    error = refusal(f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: [{dims}] }} }} }}')
    assert error.reason.startswith('layer "x": the top "x"')


def test_memory_of_this_machine():
    """The memory of the CPU is a plausible number of bytes."""
    assert 2**28 < costs.memory_of(torch.device("cpu")) < 2**60
