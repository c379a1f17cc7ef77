"""Python layers: classes written for pycaffe run unchanged, modules of PyTorch too, and neither without leave."""

import copy
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net, SpecError
from netspec.layers.pycaffe import Blob
from netspec.layers.user_code import CodeError
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import parse

Write = Callable[[str, str], None]

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }\n'
IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"'
    ' inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }\n'
)


def python(
    module: str, cls: str, bottoms: str = "data", tops: str = "y", rest: str = "", param_str: str | None = None
) -> str:
    fields = [*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())]
    told = "" if param_str is None else f'param_str: "{param_str}"'
    message = f'python_param {{ module: "{module}" layer: "{cls}" {told} }}'
    return f'layer {{ name: "py" type: "Python" {" ".join(fields)} {rest} {message} }}\n'


def net(text: str, phase: str = "TEST", **options: object) -> Net:
    return Net(parse(text, NetParameter), phase, allow_python=True, **options)  # type: ignore[arg-type]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write Python modules into the working directory; they are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write_module(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))

    yield write_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


LOSS = '''\
    import caffe
    import numpy as np


    class EuclideanLossLayer(caffe.Layer):
        """Computes the Euclidean loss, as an example of a loss with gradients to both bottoms."""

        def setup(self, bottom, top):
            if len(bottom) != 2:
                raise Exception("Need two inputs to compute distance.")

        def reshape(self, bottom, top):
            if bottom[0].count != bottom[1].count:
                raise Exception("Inputs must have the same dimension.")
            self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
            top[0].reshape(1)

        def forward(self, bottom, top):
            self.diff[...] = bottom[0].data - bottom[1].data
            top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

        def backward(self, top, propagate_down, bottom):
            for i in range(2):
                if not propagate_down[i]:
                    continue
                sign = 1 if i == 0 else -1
                bottom[i].diff[...] = sign * self.diff / bottom[i].num * top[0].diff[0]
'''
TWO = DATA + IP + DATA.replace('"data"', '"target"')


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_loss_for_pycaffe_is_caffes_own(write: Write, weight: float) -> None:
    """A loss written for pycaffe counts with its loss_weight and has the gradients of the layer it imitates."""
    write("losses", LOSS)
    results = []
    for last in (
        python("losses", "EuclideanLossLayer", "ip target", "loss", f"loss_weight: {weight}"),
        f'layer {{ type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" loss_weight: {weight} }}',
    ):
        torch.manual_seed(1)
        built = net(TWO + last, "TRAIN")
        inputs = {name: torch.randn(2, 3).requires_grad_() for name in ("data", "target")}
        loss = built.loss(built(**inputs))
        loss.backward()
        blobs = built.layer_params["ip"]
        results.append([loss, *(x.grad for x in (*inputs.values(), *blobs))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_a_loss_weight_it_does_not_count(write: Write) -> None:
    """A Python layer is no loss unless the text says so."""
    write("losses", LOSS)
    assert net(TWO + python("losses", "EuclideanLossLayer", "ip target", "loss")).loss_weights == {}


WEIGHTED = """\
    import json

    import caffe


    class Weighted(caffe.Layer):
        def setup(self, bottom, top):
            self.start = json.loads(self.param_str)["start"]
            self.blobs.add_blob(bottom[0].channels)
            self.blobs.add_blob(1)
            self.blobs[0].data[...] = self.start
            self.in_training = self.phase == caffe.TRAIN if hasattr(caffe, "TRAIN") else None

        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].shape)

        def forward(self, bottom, top):
            top[0].data[...] = bottom[0].data * self.blobs[0].data + self.blobs[1].data

        def backward(self, top, propagate_down, bottom):
            self.blobs[0].diff[...] = (top[0].diff * bottom[0].data).sum(0)
            self.blobs[1].diff[...] += top[0].diff.sum()
            if propagate_down[0]:
                bottom[0].diff[...] = top[0].diff * self.blobs[0].data
"""
WEIGHTED_LAYER = python("weighted", "Weighted", param_str='{\\"start\\": 3}', rest="param { lr_mult: 2 }")


def test_blobs_learn(write: Write) -> None:
    """What setup adds to `blobs` are the layer's blobs: filled as setup left them, with rates and gradients."""
    write("weighted", WEIGHTED)
    built = net(DATA + WEIGHTED_LAYER, "TRAIN")
    assert [(tuple(p.tensor.shape), p.lr_mult) for p in built.params] == [((3,), 2), ((1,), 1)]
    scale, shift = built.layer_params["py"]
    assert scale.tolist() == [3, 3, 3]
    x = torch.randn(2, 3)
    for passes in (1, 2):
        out = built(data=x)["y"]
        torch.testing.assert_close(out, x * 3)
        out.sum().backward()
        torch.testing.assert_close(scale.grad, passes * x.sum(0))
        torch.testing.assert_close(shift.grad, passes * torch.tensor([6.0]))
    with torch.no_grad():
        scale.fill_(5)
    torch.testing.assert_close(built(data=x)["y"], x * 5)


def test_blobs_are_saved_and_lent(write: Write, tmp_path: Path) -> None:
    """The blobs go into weights files and to a net that shares them; a copy of the net has its own."""
    write("weighted", WEIGHTED)
    one, x = net(DATA + WEIGHTED_LAYER), torch.randn(2, 3)
    with torch.no_grad():
        one.layer_params["py"][0].fill_(7)
    one.save(tmp_path / "one.caffemodel")
    lent, loaded, copied = net(DATA + WEIGHTED_LAYER, share=one), net(DATA + WEIGHTED_LAYER), copy.deepcopy(one)
    loaded.load(tmp_path / "one.caffemodel")
    with torch.no_grad():
        one.layer_params["py"][0].fill_(8)
    factors = [(other(data=x)["y"] / x)[0, 0].item() for other in (lent, loaded, copied)]
    assert factors == pytest.approx([8, 7, 7])


def test_blobs_added_in_reshape(write: Write) -> None:
    """As in Caffe, the blobs that a layer has after its first reshape are its own; older classes add them shapeless."""
    late = """
    class Late(Weighted):
        def setup(self, bottom, top):
            pass

        def reshape(self, bottom, top):
            if len(self.blobs) == 0:
                self.blobs.add_blob()
                self.blobs.add_blob(1)
                self.blobs[0].reshape(bottom[0].channels)
                self.blobs[0].data[...] = 5
            top[0].reshape(*bottom[0].shape)
    """
    write("late", WEIGHTED + late)
    built = net(DATA + python("late", "Late"), "TRAIN")
    assert [tuple(blob.shape) for blob in built.layer_params["py"]] == [(3,), (1,)]
    x = torch.randn(2, 3)
    torch.testing.assert_close(built(data=x)["y"], x * 5)


def test_setup_runs_once_and_forward_not_for_shapes(write: Write) -> None:
    """Compiling runs setup and reshape on zeros of the bottoms' shapes; every pass runs reshape, then forward."""
    write("calls", """\
        class Calls:
            calls = []

            def setup(self, bottom, top):
                self.calls.append(("setup", bottom[0].data.shape, float(bottom[0].data.sum()), self.param_str))

            def reshape(self, bottom, top):
                self.calls.append("reshape")
                top[0].reshape(bottom[0].shape[0], 5)

            def forward(self, bottom, top):
                self.calls.append("forward")
                top[0].data[...] = 1
        """)  # fmt: skip
    built = net(DATA + python("calls", "Calls", param_str="x"))
    calls = sys.modules["calls"].Calls.calls
    assert built.blob_shapes["y"] == (2, 5)
    assert calls == [("setup", (2, 3), 0.0, "x"), "reshape"]
    assert torch.equal(built(data=torch.randn(7, 3))["y"], torch.ones(7, 5))
    assert calls[2:] == ["reshape", "forward"]


def test_a_data_layer(write: Write) -> None:
    """A layer without bottoms makes new tops in every pass; shapes set in setup stay."""
    write("counting", """\
        import caffe

        class Counting(caffe.Layer):
            def setup(self, bottom, top):
                self.count = 0
                top[0].reshape(2, 3)
                top[1].reshape(2)

            def reshape(self, bottom, top):
                pass

            def forward(self, bottom, top):
                self.count += 1
                top[0].data[...] = self.count
                top[1].data[...] = -self.count

            def backward(self, top, propagate_down, bottom):
                pass
        """)  # fmt: skip
    built = net(python("counting", "Counting", "", "data label") + IP, "TRAIN")
    passes = [built(blobs=["data", "label", "ip"]) for _ in range(2)]
    assert [(int(out["data"][0, 0]), int(out["label"][0])) for out in passes] == [(1, -1), (2, -2)]
    passes[-1]["ip"].sum().backward()
    assert torch.equal(built.layer_params["ip"][0].grad, torch.full((3, 3), 4.0))


SQUARE = """\
    import caffe
    import numpy as np

    class Square(caffe.Layer):
        def setup(self, bottom, top):
            pass

        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].data.shape)

        def forward(self, bottom, top):
            top[0].data[...] = bottom[0].data ** 2

        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] = 2 * bottom[0].data * top[0].diff

    class Half(Square):
        def forward(self, bottom, top):
            top[0].data[...] *= 0.5

        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] *= 0.5

    class NoBackward(caffe.Layer):
        def setup(self, bottom, top): pass
        def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
        def forward(self, bottom, top): top[0].data[...] = bottom[0].data

    class Fails(Square):
        def forward(self, bottom, top):
            raise KeyError("of the user's")

    class FailsBack(Square):
        def backward(self, top, propagate_down, bottom):
            bottom[0].diff[...] = np.zeros(7)

    class Sink(caffe.Layer):
        seen = []
        def setup(self, bottom, top): pass
        def reshape(self, bottom, top): pass
        def forward(self, bottom, top): self.seen.append(float(bottom[0].data.sum()))
        def backward(self, top, propagate_down, bottom): pass
"""


def test_gradients_flow_through(write: Write) -> None:
    """A Python layer in the middle passes its gradient on; propagate_down: false stops it there."""
    write("square", SQUARE)
    for rest, flows in (("", True), ("propagate_down: false", False)):
        built = net(DATA + IP + python("square", "Square", "ip", "y", rest), "TRAIN")
        x = torch.randn(2, 3)
        out = built(data=x, blobs=["y", "ip"])
        torch.testing.assert_close(out["y"], out["ip"] ** 2)
        assert out["y"].requires_grad is flows
        if flows:
            out["y"].sum().backward()
            torch.testing.assert_close(built.layer_params["ip"][0].grad, 2 * out["ip"].detach().T @ x)


def test_in_place(write: Write) -> None:
    """In place, top and bottom are one blob, as the class expects; nothing else sees the change."""
    write("square", SQUARE)
    built = net(DATA + IP + python("square", "Half", "ip", "ip"), "TRAIN")
    weight, bias = built.layer_params["ip"]
    x = torch.randn(2, 3)
    out = built(data=x)["ip"]
    torch.testing.assert_close(out, (x @ weight.T + bias) / 2)
    out.sum().backward()
    torch.testing.assert_close(bias.grad, torch.full((3,), 1.0))


def test_a_layer_without_tops_runs(write: Write) -> None:
    """A layer that only looks at its bottoms runs in every pass that computes them."""
    write("square", SQUARE)
    built = net(DATA + IP + python("square", "Sink", "ip", "") + 'layer { type: "TanH" bottom: "data" top: "tanh" }')
    seen = sys.modules["square"].Sink.seen
    x = torch.randn(2, 3)
    sums = [built(data=x, blobs=blobs)["tanh"].sum().item() for blobs in (None, ["tanh"])]
    assert sums[0] == sums[1]
    assert seen == [pytest.approx(built(data=x, blobs="ip")["ip"].sum().item(), rel=1e-4)] * 3


@pytest.mark.parametrize(
    ("cls", "message", "cause"),
    [
        ("Fails", 'layer "py": Fails: square.py:31: KeyError: "of the user\'s"', KeyError),
        ("FailsBack", 'layer "py": FailsBack: square.py:35: ValueError: could not broadcast', ValueError),
        ("NoBackward", 'layer "py": NoBackward has no method "backward": no gradient can flow through', type(None)),
    ],
)
def test_errors_of_the_run(write: Write, cls: str, message: str, cause: type) -> None:
    """What the user's code raises in a pass is one message with layer, file and line, and the error as its cause."""
    write("square", SQUARE)
    built = net(DATA + IP + python("square", cls, "ip", "y"), "TRAIN")
    with pytest.raises(CodeError) as caught:
        built(data=torch.zeros(2, 3))["y"].sum().backward()
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value.__cause__, cause)


def test_an_error_while_compiling_keeps_its_cause(write: Write) -> None:
    """Behind the message of a class that cannot be set up stands what it raised."""
    write("wrong", WRONG)
    with pytest.raises(SpecError) as caught:
        net(DATA + python("wrong", "SetupFails"))
    assert str(caught.value.__cause__) == "needs two bottoms"


def test_an_error_of_a_torch_module_in_a_pass(write: Write) -> None:
    """A module that fails in a pass is told with the line of its own file, whatever failed below it."""
    write("modules", MODULES + "\n    class Narrow(nn.Module):\n        def forward(self, x):\n"
                               "            return x.view(2, 3)\n")  # fmt: skip
    built = net(DATA + python("modules", "Narrow"))
    with pytest.raises(CodeError, match=r'layer "py": Narrow: modules.py:\d+: RuntimeError: shape') as caught:
        built(data=torch.zeros(1, 3))
    assert isinstance(caught.value.__cause__, RuntimeError)


PROPOSAL = """\
    import caffe
    import numpy as np

    class Proposal(caffe.Layer):
        def setup(self, bottom, top):
            self._stride = int(self.param_str_)
            top[0].reshape(1, 5)

        def forward(self, bottom, top):
            count = {"TRAIN": 5, "TEST": 3}[str(self.phase)]
            assert count == (5 if self.phase == 0 else 3)
            rois = np.zeros((count, 5)) + self._stride * np.arange(count)[:, np.newaxis] * [0, 1, 0, 1, 1]
            top[0].reshape(*(rois.shape))
            top[0].data[...] = rois.astype(np.float32, copy=False)

        def backward(self, top, propagate_down, bottom):
            pass

        def reshape(self, bottom, top):
            pass
"""
ROIS = (
    'layer { name: "roi" type: "ROIPooling" bottom: "data" bottom: "y" top: "roi"'
    " roi_pooling_param { pooled_h: 2 pooled_w: 2 } }\n"
    'layer { name: "ip" type: "InnerProduct" bottom: "roi" top: "ip" inner_product_param { num_output: 3 } }\n'
)


@pytest.mark.parametrize(("phase", "count"), [("TRAIN", 5), ("TEST", 3)])
def test_proposals(write: Write, phase: str, count: int) -> None:
    """As in Faster R-CNN a layer finds in forward how many rows its top has; `param_str_` and the name of the phase are
    those of its pycaffe."""
    write("proposal", PROPOSAL)
    built = net(DATA.replace("[2, 3]", "[1, 3, 8, 8]") + python("proposal", "Proposal", param_str="2") + ROIS, phase)
    assert built.blob_shapes["y"] == (1, 5)
    out = built(data=torch.randn(1, 3, 8, 8), blobs=["y", "ip"])
    assert out["y"][:, 1].tolist() == [2.0 * i for i in range(count)]
    assert out["ip"].shape == (count, 3)


SEGMENTS = """\
    import caffe
    import numpy as np

    class Segments(caffe.Layer):
        def setup(self, bottom, top):
            import split_names
            if len(top) != 2 or len(bottom) != 0:
                raise Exception("Need two tops, data and label, and no bottom.")
            params = eval(self.param_str)
            self.sizes = [int(line) for line in open(params['source']).read().splitlines()]
            self.mean = np.array(params['mean'])
            self.idx = 0

        def reshape(self, bottom, top):
            size = self.sizes[self.idx]
            self.data = np.ones((3, size, size + 2)) * self.idx - self.mean[:, None, None]
            top[0].reshape(1, *self.data.shape)
            top[1].reshape(1, 1, size, size + 2)

        def forward(self, bottom, top):
            top[0].data[...] = self.data
            top[1].data[...] = self.idx
            self.idx = (self.idx + 1) % len(self.sizes)

        def backward(self, top, propagate_down, bottom):
            pass
"""
FULLY_CONVOLUTIONAL = """
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: 4 kernel_size: 2 pad: 9 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "score" top: "up"
  convolution_param { num_output: 4 kernel_size: 4 stride: 2 } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "crop" crop_param { axis: 2 offset: 5 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "crop" bottom: "label" top: "loss" }
"""


def test_images_of_many_sizes(write: Write, tmp_path: Path) -> None:
    """As FCN's, a layer reads its list in setup and gives each pass an image of its own size."""
    write("segments", SEGMENTS)
    write("split_names", "")
    (tmp_path / "val.txt").write_text("8\n11\n6\n")
    told = "{'source': 'val.txt', 'mean': (1, 2, 3)}"
    built = net(python("segments", "Segments", "", "data label", param_str=told) + FULLY_CONVOLUTIONAL, "TRAIN")
    for index, size in enumerate([8, 11, 6, 8]):
        out = built(blobs=["data", "crop", "loss"])
        assert out["data"].shape == (1, 3, size, size + 2)
        assert out["crop"].shape == (1, 4, size, size + 2)
        assert out["data"][0, :, 0, 0].tolist() == [index % 3 - mean for mean in (1, 2, 3)]
        out["loss"].backward()


PYTHON_2 = [
    ('print "done"', "SyntaxError: Missing parentheses in call to 'print'"),
    ("import cPickle", "ModuleNotFoundError: No module named 'cPickle'"),
    ("NAMES = {}.iteritems()", "AttributeError: 'dict' object has no attribute 'iteritems'"),
    ("SIZES = [i for i in xrange(3)]", "NameError: name 'xrange' is not defined"),
    ("io = caffe.io", 'AttributeError: there is no pycaffe here: "caffe" has Layer, TRAIN and TEST, but no "io"'),
]


@pytest.mark.parametrize(("line", "says"), PYTHON_2, ids=[line for line, _ in PYTHON_2])
def test_what_cannot_be_imported_is_told_with_its_line(write: Write, line: str, says: str) -> None:
    """Code of Python 2, or of what only a whole pycaffe has, is refused with file and line and Python's own words."""
    write("old", f"import caffe\n{line}\n")
    with pytest.raises(SpecError) as caught:
        net(DATA + python("old", "Old"))
    assert f'layer "py": the module "old" cannot be imported: old.py:2: {says}' in caught.value.reason


def test_a_folder_named_caffe_is_no_pycaffe(write: Write, tmp_path: Path) -> None:
    """Caffe's sources in the working directory are not taken for its Python module."""
    (tmp_path / "caffe" / "src").mkdir(parents=True)
    write("square", SQUARE)
    assert net(DATA + python("square", "Square")).blob_shapes["y"] == (2, 3)


def test_what_the_code_adds_to_the_path_stays(write: Write, tmp_path: Path) -> None:
    """A module may put its own folder on sys.path; the working directory is there only while it is imported."""
    before = list(sys.path)
    write("square", f"import sys\nsys.path.insert(0, {str(tmp_path / 'lib')!r})\n" + textwrap.dedent(SQUARE))
    try:
        net(DATA + python("square", "Square"))
        assert sys.path == [str(tmp_path / "lib"), *before]
    finally:
        sys.path[:] = before


def test_a_net_in_double_precision(write: Write) -> None:
    """In another number type the arrays are float32, and tops, gradients and what the class writes into its blobs are
    of the net's."""
    write("weighted", WEIGHTED + "\n    class Writes(Weighted):\n        def forward(self, bottom, top):\n"
                                 "            self.blobs[0].data[...] = 4\n"
                                 "            Weighted.forward(self, bottom, top)\n")  # fmt: skip
    built = net(DATA + WEIGHTED_LAYER.replace('"Weighted"', '"Writes"'), "TRAIN").double()
    x = torch.randn(2, 3, dtype=torch.double)
    out = built(data=x)["y"]
    assert out.dtype == torch.double
    torch.testing.assert_close(out, (x * 4 + built.layer_params["py"][1]).detach(), rtol=1e-5, atol=1e-6)
    out.sum().backward()
    scale = built.layer_params["py"][0]
    assert scale.tolist() == [4, 4, 4]
    assert scale.grad is not None and scale.grad.dtype == torch.double


def test_caffe_is_only_lent(write: Write) -> None:
    """The stand-in for pycaffe is there while the module is imported, and gone afterwards."""
    write("square", SQUARE)
    net(DATA + python("square", "Square"))
    assert "caffe" not in sys.modules
    assert issubclass(sys.modules["square"].Square, sys.modules["square"].caffe.Layer)


def test_a_real_pycaffe_keeps_its_own(write: Write) -> None:
    """Where pycaffe is installed, layers are made from our Layer, and its own is put back."""
    write("caffe", "class Layer:\n    def __init__(self): raise TypeError\nversion = 1\n")
    write("square", SQUARE + "\n    assert caffe.version == 1\n")
    assert net(DATA + python("square", "Square")).blob_shapes["y"] == (2, 3)
    assert sys.modules["caffe"].Layer.__module__ == "caffe"


# --- PyTorch modules -------------------------------------------------------------------------------------------------

MODULES = """\
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, param_str="2"):
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.norm = nn.BatchNorm1d(3)
            self.factor = float(param_str)

        def forward(self, x, *others):
            return self.norm(self.linear(x)) * self.factor

    class Two(nn.Module):
        def forward(self, a, b):
            return [a + b, a - b]
"""


@pytest.mark.parametrize(("param_str", "factor"), [(None, 2), ("5", 5)])
def test_a_torch_module(write: Write, param_str: str | None, factor: float) -> None:
    """A module computes as alone, with the layer's blobs: its parameters, then its running statistics as states."""
    write("modules", MODULES)
    torch.manual_seed(3)
    built = net(DATA + python("modules", "Block", param_str=param_str), "TRAIN")
    torch.manual_seed(3)
    alone = sys.modules["modules"].Block()
    blobs = built.layer_params["py"]
    assert [tuple(blob.shape) for blob in blobs] == [(3, 3), (3,), (3,), (3,), (3,), (3,)]
    assert [p.lr_mult for p in built.params] == [1, 1, 1, 1, 0, 0]
    x = torch.randn(2, 3)
    out = built(data=x)["y"]
    expected = alone(x) / 2 * factor
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for blob, parameter in zip(blobs, alone.parameters(), strict=False):
        torch.testing.assert_close(blob.grad, parameter.grad)
    torch.testing.assert_close(blobs[4], alone.norm.running_mean)
    assert len(list(built.parameters())) == 4


def test_a_torch_module_knows_the_phase(write: Write) -> None:
    """In phase TEST the module is in PyTorch's evaluation mode."""
    write("modules", MODULES)
    built = net(DATA + python("modules", "Block"))
    x = torch.randn(1, 3)
    weight, bias = built.layer_params["py"][:2]
    torch.testing.assert_close(built(data=x)["y"], 2 * (x @ weight.T + bias) / (1 + 1e-5) ** 0.5)


def test_a_torch_module_of_several_tops(write: Write) -> None:
    """A list or tuple of tensors are the tops."""
    write("modules", MODULES)
    built = net(DATA + DATA.replace('"data"', '"b"') + python("modules", "Two", "data b", "sum difference"))
    out = built(data=torch.ones(2, 3), b=torch.ones(2, 3))
    assert (float(out["sum"].sum()), float(out["difference"].sum())) == (12, 0)


# --- refused ---------------------------------------------------------------------------------------------------------


def test_nothing_is_imported_without_leave(write: Write) -> None:
    """A text alone never runs code; the message says how to allow it."""
    write("trap", "raise SystemExit('ran')\n")
    with pytest.raises(SpecError) as caught:
        Net(parse(DATA + python("trap", "X"), NetParameter))
    reason = 'this layer runs Python code from the module "trap": allow it with --allow-python (allow_python=True)'
    assert caught.value.reason == reason
    assert "trap" not in sys.modules


WRONG = """\
    import caffe

    class Base(caffe.Layer):
        def setup(self, bottom, top):
            pass
        def reshape(self, bottom, top):
            top[0].reshape(1)
        def forward(self, bottom, top):
            pass

    class SetupFails(Base):
        def setup(self, bottom, top):
            raise ValueError("needs two bottoms")

    class ReshapeFails(Base):
        def reshape(self, bottom, top):
            top[0].reshape(bottom[1].num)

    class NoReshape(caffe.Layer):
        setup = forward = Base.setup
        def reshpe(self): pass

    def function(): pass
"""


@pytest.mark.parametrize(
    ("module", "cls", "reason", "hint"),
    [
        ("wrng", "Base", 'there is no Python module "wrng" in the working directory or on sys.path', '"wrong"'),
        ("wrong.more", "Base", 'there is no Python module "wrong.more"', ""),
        ("wrong", "Bse", 'the module "wrong" has no class "Bse"', '"Base"'),
        ("wrong", "function", 'the module "wrong" has no class "function"', ""),
        ("wrong", "NoReshape", 'the class "NoReshape" has no method "reshape"', '"reshpe"'),
        ("wrong", "SetupFails", "SetupFails: wrong.py:13: ValueError: needs two bottoms", ""),
        ("wrong", "ReshapeFails", "ReshapeFails: wrong.py:17: IndexError: list index out of range", ""),
        ("broken", "X", 'the module "broken" cannot be imported: broken.py:2: SyntaxError', ""),
        ("needs", "X", "cannot be imported: needs.py:1: ModuleNotFoundError: No module named 'not_there'", ""),
        ("needs_caffe", "X", "cannot be imported: needs_caffe.py:1: ImportError", ""),
        ("", "X", "module must be given", ""),
        ("wrong", "", "layer must be given", ""),
    ],
)
def test_wrong_code(write: Write, module: str, cls: str, reason: str, hint: str) -> None:
    """What is wrong with the code is one message at the layer, with the user's file and line."""
    write("wrong", WRONG)
    write("broken", "x = 1\ndef (:\n")
    write("needs", "import not_there\n")
    write("needs_caffe", "from caffe import Net\n")
    with pytest.raises(SpecError) as caught:
        net(DATA + python(module, cls))
    assert caught.value.reason.startswith('layer "py": ')
    assert reason in caught.value.reason
    assert hint in caught.value.hint
    assert caught.value.line == 2


def test_another_number_of_tops_is_refused(write: Write) -> None:
    """A module that returns other than one tensor a top is an error where the net is compiled."""
    write("modules", MODULES)
    with pytest.raises(SpecError, match=re.escape("Two: 2 tensors for 1 tops")):
        net(DATA + python("modules", "Two", "data data"))


# --- blobs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "legacy", "count"), [((2, 3, 4, 5), (2, 3, 4, 5), 120), ((7,), (7, 1, 1, 1), 7), ((), (1, 1, 1, 1), 1)]
)
def test_a_blob_has_its_shape(shape: tuple[int, ...], legacy: tuple[int, ...], count: int) -> None:
    """num, channels, height and width are the first four axes, 1 where there are fewer."""
    blob = Blob(shape)
    assert (blob.num, blob.channels, blob.height, blob.width) == legacy
    assert blob.count == count
    assert blob.data.shape == blob.diff.shape == blob.shape == shape
    assert blob.data.dtype == blob.diff.dtype == np.float32


def test_reshaped_a_blob_keeps_as_many_values() -> None:
    """A shape with as many values keeps them, another starts from zeros."""
    blob = Blob((2, 3))
    blob.data[...], blob.diff[...] = 1, 2
    blob.reshape(3, 2)
    assert (blob.data.tolist(), blob.diff.tolist()) == ([[1, 1]] * 3, [[2, 2]] * 3)
    blob.reshape(2)
    assert (blob.data.tolist(), blob.diff.tolist()) == ([0, 0], [0, 0])


@pytest.mark.parametrize(
    ("dims", "error", "message"),
    [
        (((2, 3),), TypeError, r"write reshape\(\*shape\) for a tuple"),
        ((2, -1), ValueError, r"cannot have the shape \(2, -1\): a size is negative"),
    ],
)
def test_a_shape_that_is_none(dims: tuple[int, ...], error: type[Exception], message: str) -> None:
    """Sizes that are no numbers, or negative ones, are refused in the user's words."""
    with pytest.raises(error, match=message):
        Blob((2,)).reshape(*dims)


def test_what_python_2_divided() -> None:
    """A half of an odd size is cut off, as Python 2 did."""
    blob = Blob()
    blob.reshape(2, 7 / 2)  # type: ignore[arg-type]
    assert blob.shape == (2, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(write: Write) -> None:
    """On a GPU the arrays are copies on the host, and tops, gradients and blobs come back."""
    write("weighted", WEIGHTED)
    write("modules", MODULES)
    x = torch.randn(2, 3, device="cuda")
    built = net(DATA + WEIGHTED_LAYER, "TRAIN", device="cuda")
    out = built(data=x)["y"]
    assert out.is_cuda
    out.sum().backward()
    torch.testing.assert_close(built.layer_params["py"][0].grad, x.sum(0))
    module = net(DATA + python("modules", "Block"), "TRAIN", device="cuda")
    assert module(data=x)["y"].is_cuda
