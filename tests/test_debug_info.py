"""`debug_info`: Caffe's lines, in Caffe's order, with the numbers of the pass."""

import logging
import re
from collections.abc import Iterator

import pytest
import torch

from netspec import Net, parse_net
from netspec.debug_info import mean_magnitude
from netspec.log import logger

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "w" }
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" } }
}
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "bn" type: "BatchNorm" bottom: "ip" top: "bn" }
layer { name: "silent" type: "InnerProduct" bottom: "ip" top: "silent" inner_product_param { num_output: 1 } }
layer {
  name: "ip2" type: "InnerProduct" bottom: "bn" top: "ip2" param { lr_mult: 0 }
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" } }
}
layer { name: "sum" type: "Eltwise" bottom: "ip2" bottom: "ip" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
"""
INPUTS = {"data": torch.tensor([[1.0, -2, 3], [0, 1, 1]]), "label": torch.tensor([1.0, 3])}

LINES = """\
[Forward] Layer data, top blob data data: 1.33333
[Forward] Layer label, top blob label data: 2
[Forward] Layer ip, top blob ip data: #
[Forward] Layer ip, param blob w data: #
[Forward] Layer ip, param blob 1 data: 0
[Forward] Layer relu, top blob ip data: #
[Forward] Layer bn, top blob bn data: #
[Forward] Layer bn, param blob 0 data: #
[Forward] Layer bn, param blob 1 data: #
[Forward] Layer bn, param blob 2 data: 1
[Forward] Layer silent, top blob silent data: 0
[Forward] Layer silent, param blob 0 data: 0
[Forward] Layer silent, param blob 1 data: 0
[Forward] Layer ip2, top blob ip2 data: #
[Forward] Layer ip2, param blob 0 data: #
[Forward] Layer ip2, param blob 1 data: 0
[Forward] Layer sum, top blob sum data: #
[Forward] Layer loss, top blob loss data: #
[Backward] Layer loss, bottom blob sum diff: #
[Backward] Layer sum, bottom blob ip2 diff: #
[Backward] Layer sum, bottom blob ip diff: #
[Backward] Layer ip2, bottom blob bn diff: #
[Backward] Layer ip2, param blob 1 diff: #
[Backward] Layer bn, bottom blob ip diff: #
[Backward] Layer relu, bottom blob ip diff: #
[Backward] Layer ip, param blob 0 diff: #
[Backward] Layer ip, param blob 1 diff: #
[Backward] All net params (data, diff): L1 norm = (#, #); L2 norm = (#, #)
""".splitlines()


Lines = list[logging.LogRecord]


class _Keep(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: Lines = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """What is logged, as it comes."""
    caplog.set_level("INFO", "netspec")
    keep = _Keep()
    logger.addHandler(keep)
    yield keep.records
    logger.removeHandler(keep)


def build(text: str = TEXT, phase: str = "TRAIN") -> Net:
    torch.manual_seed(3)
    return Net(parse_net(text + "debug_info: true"), phase)


def run(net: Net) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = net(**INPUTS)
    net.loss(out).backward()
    return out


def number(lines: Lines, start: str) -> float:
    """The number at the end of the first line that starts so."""
    return next(
        float(line.getMessage().split(": ")[-1]) for line in lines if line.getMessage().strip().startswith(start)
    )


def test_the_lines(lines: Lines) -> None:
    """Forward from the first layer to the last, backward from the last to the first; layers and params that no
    gradient reaches have no backward line. Every line is indented as Caffe's, the last has the level ERROR."""
    run(build())
    messages = [line.getMessage() for line in lines]
    assert all(message.startswith("    [") for message in messages)
    for message, expected in zip(messages, LINES, strict=True):
        assert re.fullmatch(re.escape(expected).replace(r"\#", r"[-+.e\d]+"), message.strip())
    assert [line.levelname for line in lines] == ["INFO"] * (len(LINES) - 1) + ["ERROR"]


def test_the_numbers(lines: Lines) -> None:
    """Each is the mean magnitude of what the layer made, or of the gradient that came from it alone."""
    net = build()
    blobs = {name: blob.detach() for name, blob in net(**INPUTS, blobs=["ip", "bn", "sum"]).items()}
    lines.clear()
    net.layer_params["bn"][2].zero_()
    out = run(net)
    weight, bias = net.layer_params["ip"]
    assert number(lines, "[Forward] Layer ip, param blob w data") == pytest.approx(mean_magnitude(weight), rel=1e-5)
    assert number(lines, "[Forward] Layer ip, top blob ip data") == pytest.approx(
        mean_magnitude(INPUTS["data"] @ weight.detach().T), rel=1e-5
    )
    assert number(lines, "[Forward] Layer relu, top blob ip data") == pytest.approx(
        mean_magnitude(blobs["ip"]), rel=1e-5
    )
    assert number(lines, "[Forward] Layer loss, top blob loss data") == pytest.approx(out["loss"].item(), rel=1e-5)
    diff = (blobs["sum"].softmax(1) - torch.nn.functional.one_hot(INPUTS["label"].long(), 4)) / 2
    for start in ("Layer loss, bottom blob sum", "Layer sum, bottom blob ip2", "Layer sum, bottom blob ip "):
        assert number(lines, f"[Backward] {start}") == pytest.approx(mean_magnitude(diff), rel=1e-5)
    assert number(lines, "[Backward] Layer ip, param blob 1") == pytest.approx(mean_magnitude(bias.grad), rel=1e-5)
    numbers = [float(text) for text in re.findall(r"[\d.e+-]+(?=[,)])", lines[-1].getMessage())]
    data = torch.cat([param.tensor.detach().flatten() for param in net.params])
    grads = torch.cat([p.tensor.grad.flatten() for p in net.params if p.tensor.grad is not None])
    expected = [float(x.norm(order)) for order in (1, 2) for x in (data, grads)]
    assert numbers == pytest.approx(expected, rel=1e-5)


def test_showing_changes_nothing(lines: Lines) -> None:
    """With and without the lines, a pass has the same outputs and gradients, and its hooks are gone after it."""
    results = []
    for shown in (True, False):
        net = build()
        net.debug_info = shown
        results.append([run(net)["loss"], *(p.tensor.grad for p in net.params if p.tensor.grad is not None)])
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert len(lines) == len(LINES)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_every_pass_is_shown(lines: Lines) -> None:
    """The net's own field shows every pass; one without gradients has no backward lines."""
    net = build()
    run(net)
    run(net)
    assert len(lines) == 2 * len(LINES)
    lines.clear()
    with torch.no_grad():
        net(**INPUTS)
    assert [line.getMessage()[4:13] for line in lines] == ["[Forward]"] * 18


def test_a_forced_input_has_a_line(lines: Lines) -> None:
    """Where a gradient is forced to an input, its layer's line comes first among those of that layer."""
    run(build(TEXT + "force_backward: true "))
    messages = [line.getMessage().strip() for line in lines if "[Backward] Layer ip," in line.getMessage()]
    assert [message.split(":")[0].split(", ")[1] for message in messages] == [
        "bottom blob data diff", "param blob 0 diff", "param blob 1 diff",
    ]  # fmt: skip
