"""What `netspec.summary` counts, against formulas worked by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec import Net, Solver, SpecError, parse_net, parse_solver
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import parse
from netspec.summary import summarize, table

ZOO = Path(__file__).parents[1] / "zoo"

# Each layer with blobs: inputs a group and channel times the window's area, outputs, and the size of its square map.
NIN = {
    "conv1": (3 * 25, 192, 48), "cccp1": (192, 160, 48), "cccp2": (160, 96, 48),
    "conv2": (96 * 25, 192, 24), "cccp3": (192, 192, 24), "cccp4": (192, 192, 24),
    "conv3": (192 * 9, 192, 12), "cccp5": (192, 192, 12), "cccp6": (192, 200, 12),
}  # fmt: skip
ALEXNET = {
    "conv1": (3 * 121, 96, 12), "conv2": (96 // 2 * 25, 256, 6), "conv3": (256 * 9, 384, 3),
    "conv4": (384 // 2 * 9, 384, 3), "conv5": (384 // 2 * 9, 256, 3),
    "fc6": (256, 4096, 1), "fc7": (4096, 4096, 1), "fc8": (4096, 200, 1),
}  # fmt: skip

SMALL = """
name: "small"
layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ {transform} }}
        data_param {{ source: "nowhere" batch_size: 4 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 2 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("name", "layers", "total"), [("nin", NIN, 1_003_656), ("alexnet", ALEXNET, 20_987_464)])
def test_zoo_is_counted(name: str, layers: dict[str, tuple[int, int, int]], total: int, phase: str) -> None:
    """The nets of the zoo have the parameters and multiply-adds that their layers' formulas give."""
    summary = summarize(ZOO / f"{name}.prototxt", phase)
    counted = {row.name: (row.parameters, row.multiply_adds) for row in summary.rows if row.parameters}
    assert counted == {
        layer: ((inputs + 1) * outputs, 100 * inputs * outputs * size**2)
        for layer, (inputs, outputs, size) in layers.items()
    }
    assert summary.parameters == total
    assert summary.parameter_bytes == 4 * total
    assert summary.multiply_adds == sum(count for _, count in counted.values())


@pytest.mark.parametrize(("name", "layers"), [("nin", NIN), ("alexnet", ALEXNET)])
def test_shapes_are_those_of_the_batch(name: str, layers: dict[str, tuple[int, int, int]]) -> None:
    """Every layer's tops carry the batch, the outputs and the size of the map."""
    tops = {row.name: row.tops for row in summarize(ZOO / f"{name}.prototxt").rows}
    for layer, (_, outputs, size) in layers.items():
        assert tops[layer] == [(100, outputs, size, size)[: 2 if layer.startswith("fc") else 4]]
    assert tops["loss"] == tops["accuracy"] == [()]


def test_blob_memory_counts_each_blob_once() -> None:
    """A blob that layers change in place takes its memory once."""
    net = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 5 dim: 7 } } }
    layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }
    layer { name: "copy" type: "ReLU" bottom: "x" top: "y" }
    """
    assert summarize(parse_net(net)).blob_bytes == 4 * (5 * 7 + 5 * 7)


def test_shared_blobs_count_once() -> None:
    """Two layers that share a weight count it once in the total, and each in its own row."""
    layer = """layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" param {{ name: "w" }}
               inner_product_param {{ num_output: 3 }} }}"""
    shape = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 7 } } }'
    summary = summarize(parse_net(shape + layer.format("a") + layer.format("b")))
    assert [row.parameters for row in summary.rows] == [0, 3 * 7 + 3, 3 * 7 + 3]
    assert summary.parameters == 3 * 7 + 3 + 3


def test_states_take_memory_but_are_not_learned() -> None:
    """The statistics of BatchNorm are in the memory of the parameters, not in their number."""
    net = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }
    layer { name: "norm" type: "BatchNorm" bottom: "x" top: "x" }
    """
    summary = summarize(parse_net(net))
    assert (summary.parameters, summary.statistics, summary.parameter_bytes) == (0, 11, 4 * (5 + 5 + 1))


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        ("crop_size: 6", (4, 3, 6, 6)),
        ("crop_size: 6 force_gray: true", (4, 1, 6, 6)),
        ("crop_size: 6 mean_value: 1", (4, 3, 6, 6)),
        ("crop_size: 6 mean_value: 1 mean_value: 2", (4, 2, 6, 6)),
        ("crop_size: 6 output_size: [8, 9]", (4, 3, 8, 9)),
        ("resize: 6 resize: 7 pad: 1", (4, 3, 8, 9)),
        ("resize: 6", (4, 3, 6, 6)),
    ],
)
def test_missing_data_is_replaced_by_the_text(transform: str, shape: tuple[int, ...]) -> None:
    """Where the data is not there, batch_size, crop_size and mean_value give the shape, and a note says so."""
    summary = summarize(parse_net(SMALL.format(transform=transform)))
    assert summary.rows[0].tops == [shape, (4,)]
    assert len(summary.notes) == 1
    assert '"nowhere" is not there' in summary.notes[0]


@pytest.mark.parametrize(("more", "channels"), [("", 3), ("is_color: false", 1)])
def test_missing_images_are_replaced_by_the_text(more: str, channels: int) -> None:
    """The size to which ImageData brings its images is that of the blob; grey ones have one channel."""
    text = SMALL.format(transform="").replace('"Data"', '"ImageData"').replace("data_param {", "image_data_param {")
    summary = summarize(parse_net(text.replace("batch_size", f"new_height: 5 new_width: 7 {more} batch_size")))
    assert summary.rows[0].tops == [(4, channels, 5, 7), (4,)]


HDF5 = """
layer { name: "in" type: "HDF5Data" top: "x" top: "cont" hdf5_data_param { source: "gone.txt" batch_size: 4 } }
layer { name: "h" type: "RNN" bottom: "x" bottom: "cont" top: "h" recurrent_param { num_output: 3 } }
"""


@pytest.mark.parametrize(
    ("shapes", "hint"),
    [({}, "--shape x=N,... --shape cont=N,..."), ({"x": (5, 2, 7)}, "--shape cont=N,...")],
)
def test_data_sets_that_are_not_there(shapes: dict[str, tuple[int, ...]], hint: str) -> None:
    """Only an HDF5 file knows the shapes of its data sets: those of all tops are asked for by name."""
    with pytest.raises(SpecError) as caught:
        summarize(parse_net(HDF5), shapes=shapes)
    assert caught.value.reason == 'layer "in": "gone.txt" is not there: give the shapes of its tops'
    assert caught.value.hint == hint


def test_a_sequence_is_counted_in_timesteps_and_streams() -> None:
    """A recurrent net takes T timesteps of N streams: both axes count its items."""
    summary = summarize(parse_net(HDF5), shapes={"x": (5, 2, 7), "cont": (5, 2)})
    assert (summary.batch, summary.multiply_adds) == ((5, 2), 5 * 2 * (7 * 3 + 3 * 3 + 3 * 3))
    line = "multiply-adds  390 for a batch of 5x2 (timesteps x streams), 39 a timestep of a stream"
    assert table(summary).splitlines()[-2] == line


def test_what_is_no_image_is_an_item() -> None:
    """A net without images or sequences is not said to take images."""
    net = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }'
    assert table(summarize(parse_net(net))).splitlines()[-2] == "multiply-adds  0 for a batch of 2, 0 an item"


def test_dummy_data_keeps_the_shapes_of_its_text() -> None:
    """A shape given for one top of DummyData leaves the others as the text has them."""
    text = """layer { name: "in" type: "DummyData" top: "x" top: "y"
              dummy_data_param { shape { dim: 2 dim: 5 } shape { dim: 2 dim: 9 } } }"""
    assert summarize(parse_net(text), shapes={"x": (3, 4)}).rows[0].tops == [(3, 4), (2, 9)]


def test_layers_of_one_name_are_noted() -> None:
    """Two layers of one name that have weights are counted, with a note that begins with their name."""
    layer = (
        'layer {{ name: "ip" type: "InnerProduct" bottom: "{0}" top: "{1}" inner_product_param {{ num_output: 3 }} }}\n'
    )
    shape = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 7 } } }\n'
    summary = summarize(parse(shape + layer.format("x", "a") + layer.format("a", "b"), NetParameter))
    assert summary.parameters == 3 * 7 + 3 + 3 * 3 + 3
    assert summary.notes[0].startswith(
        "ip: two layers with weights have this name (lines 2 and 3): only the first gets"
    )


def test_the_log_counts_as_the_summary_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run logs the parameters that the summary and torch count: no statistics, a shared blob once."""
    net = """
    layer { name: "in" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 5 } } }
    layer { name: "norm" type: "BatchNorm" bottom: "x" top: "n" }
    layer { name: "a" type: "InnerProduct" bottom: "n" top: "a"
            param { name: "w" } inner_product_param { num_output: 5 } }
    layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
            param { name: "w" } inner_product_param { num_output: 5 } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "x" top: "loss" }
    """
    caplog.set_level("INFO", "netspec")
    fields = f'base_lr: 0.1 lr_policy: "fixed" max_iter: 0 snapshot_prefix: "{tmp_path}/x" snapshot_after_train: false'
    solver = Solver(parse_solver(f"net_param {{ {net} }} {fields}"), device="cpu")
    solver.solve()
    summary = summarize(parse_net(net), "TRAIN")
    count = sum(parameter.numel() for parameter in solver.net.parameters())
    assert (summary.parameters, summary.statistics) == (count, 11) == (5 * 5 + 5 + 5, 11)
    assert f"{count} parameters, on cpu" in caplog.text
    assert table(summary).splitlines()[-3] == "parameters     35 and 11 statistics (184 bytes)"


def test_missing_data_without_crop_asks_for_a_shape() -> None:
    """Without data and crop_size nothing tells the shape: the message names the blob to give."""
    with pytest.raises(SpecError, match=r'"nowhere" is not there and the text gives no crop_size.*"data"'):
        summarize(parse_net(SMALL.format(transform="")))


@given(st.lists(st.integers(1, 64), min_size=2, max_size=4))
def test_given_shape_stands_for_the_data(shape: list[int]) -> None:
    """A given shape is taken as it is, its first axis is the labels', and no data is looked for."""
    summary = summarize(parse_net(SMALL.format(transform="")), shapes={"data": shape})
    assert summary.rows[0].tops == [tuple(shape), (shape[0],)]
    assert summary.batch == (shape[0],)
    assert summary.notes == []


def test_a_shape_for_no_input_is_refused() -> None:
    """A misspelt input is named, with the input that is nearest."""
    with pytest.raises(SpecError, match='"dat" is no input') as caught:
        summarize(parse_net(SMALL.format(transform="crop_size: 6")), shapes={"dat": (1, 3, 6, 6)})
    assert caught.value.hint == 'did you mean "data"?'


def test_data_that_is_there_gives_the_shape() -> None:
    """Data that is there is opened and gives its own shape."""
    digits = Path(__file__).parents[1] / "netspec/data/digits/train_lmdb"
    summary = summarize(parse_net(SMALL.format(transform="").replace("nowhere", str(digits))))
    assert summary.rows[0].tops[0][:2] == (4, 1)
    assert summary.notes == []


def test_table_has_a_line_a_layer_and_readable_totals() -> None:
    """The table shows each layer's numbers and the totals in readable units."""
    lines = table(summarize(ZOO / "alexnet.prototxt")).splitlines()
    assert lines[0] == "AlexNet, phase TEST"
    assert any(line.split() == ["conv1", "Convolution", "100x96x12x12", "34,944", "501,811,200"] for line in lines)
    assert lines[-3:] == [
        "parameters     20,987,464 (80.1 MiB)",
        "multiply-adds  5.26 G for a batch of 100, 52.6 M an image",
        "blobs          30.4 MiB for a batch",
    ]


RULED = """
{state}
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
layer {{ name: "staged" type: "ReLU" bottom: "data" top: "a" include {{ stage: "deploy" }} }}
layer {{ name: "levelled" type: "ReLU" bottom: "data" top: "b" include {{ min_level: 2 }} }}
"""


@pytest.mark.parametrize(
    ("state", "given", "names"),
    [
        ("", {}, []),
        ('state { stage: "deploy" }', {}, ["staged"]),
        ("state { level: 2 }", {}, ["levelled"]),
        ("state { level: 2 }", {"level": 1}, []),
        ('state { stage: "deploy" }', {"stages": ["other"], "level": 3}, ["staged", "levelled"]),
    ],
)
def test_the_state_of_the_text_counts(state: str, given: dict[str, object], names: list[str]) -> None:
    """A net's own state chooses the layers of its summary as it does those of the net, beside what is given."""
    text = parse_net(RULED.format(state=state))
    assert [row.name for row in summarize(text, **given).rows] == ["data", *names]  # type: ignore[arg-type]
    assert list(Net(text, **given).layers) == names  # type: ignore[arg-type]
