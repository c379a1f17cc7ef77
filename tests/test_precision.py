"""Nets in TF32, BF16 and FP16."""

from collections.abc import Iterator

import pytest
import torch
from google.protobuf import text_format
from torch import Tensor

from netspec import Net
from netspec.precision import allow_tf32, computing_in, is_fast, refusal, remark
from netspec.schema.netspec_pb2 import NetParameter, Precision

KINDS = {"BF16": torch.bfloat16, "FP16": torch.float16}
CPU, GPU, OTHER = torch.device("cpu"), torch.device("cuda"), torch.device("meta")

DATA = """
layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 6 dim: 3 dim: 8 dim: 8 } shape { dim: 6 } } }
"""

TRAINED = (
    DATA
    + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
"""
)

MIXED = (
    DATA
    + """
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "prelu" type: "PReLU" bottom: "a" top: "a" }
layer { name: "b" type: "Sigmoid" bottom: "a" top: "b" }
layer { name: "power" type: "Power" bottom: "b" top: "b" power_param { power: 2 shift: 0.5 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" eltwise_param { coeff: 1 coeff: -2 } }
layer { name: "max" type: "Eltwise" bottom: "b" bottom: "a" top: "max" eltwise_param { operation: MAX } }
layer { name: "prod" type: "Eltwise" bottom: "a" bottom: "b" top: "prod" eltwise_param { operation: PROD } }
layer { name: "concat" type: "Concat" bottom: "sum" bottom: "max" bottom: "prod" bottom: "a" bottom: "data" top: "all" }
layer { name: "relu" type: "ReLU" bottom: "all" top: "all" relu_param { negative_slope: 0.1 } }
layer { name: "lrn" type: "LRN" bottom: "all" top: "lrn" lrn_param { local_size: 5 alpha: 0.5 } }
layer { name: "global" type: "Pooling" bottom: "lrn" top: "global" pooling_param { pool: AVE global_pooling: true } }
layer { name: "gate" type: "Convolution" bottom: "global" top: "gate"
  convolution_param { num_output: 19 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "squash" type: "Sigmoid" bottom: "gate" top: "gate" }
layer { name: "axpy" type: "Axpy" bottom: "gate" bottom: "lrn" bottom: "all" top: "axpy" }
layer { name: "flat" type: "Flatten" bottom: "gate" top: "flat" }
layer { name: "scaled" type: "Scale" bottom: "axpy" bottom: "flat" top: "axpy" scale_param { axis: 0 bias_term: true } }
layer { name: "drop" type: "Dropout" bottom: "axpy" top: "axpy" dropout_param { dropout_ratio: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "axpy" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "ip" top: "ip" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
)

CLASSES = 2003

LABELLED = f"""
layer {{ name: "data" type: "Input" top: "data" top: "label"
  input_param {{ shape {{ dim: 6 dim: 4 }} shape {{ dim: 6 dim: 1 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: {CLASSES} weight_filler {{ type: "gaussian" std: 1 }} }} }}
layer {{ name: "twice" type: "Concat" bottom: "label" bottom: "label" top: "twice" }}
layer {{ name: "cut" type: "Slice" bottom: "twice" top: "first" top: "second" }}
layer {{ name: "half" type: "Eltwise" bottom: "first" bottom: "second" top: "half"
  eltwise_param {{ coeff: 2 coeff: -1 }} }}
layer {{ name: "shape" type: "Reshape" bottom: "half" top: "numbers" reshape_param {{ shape {{ dim: -1 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "numbers" top: "loss" }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "numbers" top: "accuracy" }}
layer {{ name: "best" type: "ArgMax" bottom: "ip" top: "best" argmax_param {{ axis: 1 }} }}
"""


def net_of(text: str, precision: str = "FP32") -> Net:
    """A training net, the same for every precision."""
    torch.manual_seed(1)
    net = Net(text_format.Parse(text, NetParameter()), "TRAIN")
    net.precision = precision
    return net


def batch(net: Net, classes: int = 5) -> dict[str, Tensor]:
    """A batch for its inputs, always the same."""
    random = torch.Generator().manual_seed(2)
    shape = net.blob_shapes["label"]
    return {
        "data": torch.randn(net.blob_shapes["data"], generator=random),
        "label": torch.randint(classes, shape, generator=random).float(),
    }


def gradients(net: Net) -> list[Tensor]:
    """Those of its blobs after a pass over the batch."""
    torch.manual_seed(3)
    net.loss(net(**batch(net))).backward()  # type: ignore[no-untyped-call]
    return [param.tensor.grad for param in net.params if param.tensor.grad is not None]


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """Give PyTorch's switches back as they were."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("kind", KINDS)
def test_products_have_16_bits_and_results_32(kind: str) -> None:
    """Convolutions and inner products compute in 16 bits; weights, states, gradients and results are float32."""
    net, inside = net_of(TRAINED, kind), {}
    for name in ("conv", "norm", "scale", "relu", "pool", "ip"):
        hook = net.layers[name].register_forward_hook
        hook(lambda layer, bottoms, top, name=name: inside.update({name: top.dtype}))
    results = net(blobs=[*net.outputs, "conv", "norm", "ip"], **batch(net))
    net.loss(results).backward()  # type: ignore[no-untyped-call]
    assert set(inside.values()) == {KINDS[kind]}
    assert {top.dtype for top in results.values()} == {torch.float32}
    blobs = [blob for blobs in net.layer_params.values() for blob in blobs]
    grads = [param.tensor.grad for param in net.params if param.tensor.grad is not None]
    assert {blob.dtype for blob in [*blobs, *grads]} == {torch.float32}
    assert len(grads) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [TRAINED, MIXED], ids=["plain", "mixed"])
def test_gradients_are_those_of_fp32_within_rounding(text: str, kind: str) -> None:
    """Layers in place, and layers that read blobs of 16 and of 32 bits, compute what they do in FP32."""
    ours, theirs = gradients(net_of(text, kind)), gradients(net_of(text))
    assert len(ours) == len(theirs) >= 5
    tolerance = {"BF16": 2**-4, "FP16": 2**-7}[kind]
    for own, other in zip(ours, theirs, strict=True):
        assert (own - other).norm() <= tolerance * other.norm() + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_labels_stay_whole(kind: str) -> None:
    """Labels of thousands of classes, and indices, are not rounded, whatever carries them."""
    net = net_of(LABELLED, kind)
    given = batch(net, CLASSES)
    out = net(blobs=["numbers", "loss", "accuracy", "best", "ip"], **given)
    assert torch.equal(out["numbers"], given["label"].flatten())
    assert out["numbers"].max() > 1000
    best = out["ip"].argmax(1)
    assert (out["ip"][range(6), out["best"].long().flatten()] == out["ip"][range(6), best]).all()
    hit = net(data=given["data"], label=out["best"])
    tied = (out["ip"] == out["ip"].max(1, keepdim=True).values).sum(1) > 1
    assert hit["accuracy"] == pytest.approx(1 - tied.float().mean().item())


def test_fp32_is_untouched() -> None:
    """A net that was in BF16 computes the bits and runs the code of one that never was."""
    never, back = net_of(MIXED), net_of(MIXED)
    back.precision = "BF16"
    back(**batch(back))
    assert "float()" in back.code
    back.precision = Precision.FP32
    assert back.code == never.code
    assert "float()" not in never.code
    for own, other in zip(gradients(back), gradients(never), strict=True):
        assert torch.equal(own, other)


def test_torch_compile_takes_it() -> None:
    """A compiled net computes in the precision of the net."""
    net = net_of(TRAINED, "BF16")
    plain = net(**batch(net))["loss"]
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="eager")(**batch(net))["loss"]
    assert torch.equal(plain, compiled)


REFUSED = {
    "TF32 on the CPU": (Precision.TF32, CPU, (0, 0), "is a precision of GPUs, and this runs on the CPU"),
    "TF32 before Ampere": (Precision.TF32, GPU, (7, 5), "capability 8.0 (Ampere) or above; the card has 7.5"),
    "TF32 on Ampere": (Precision.TF32, GPU, (8, 0), ""),
    "BF16 before Ampere": (Precision.BF16, GPU, (7, 5), ""),
    "BF16 on the CPU": (Precision.BF16, CPU, (0, 0), ""),
    "FP16 on the CPU": (Precision.FP16, CPU, (0, 0), ""),
    "BF16 elsewhere": (Precision.BF16, OTHER, (0, 0), "no automatic BF16 on the device meta"),
    "FP32 elsewhere": (Precision.FP32, OTHER, (0, 0), ""),
}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A GPU of some compute capability."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: request.param)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "the card")


@pytest.mark.parametrize(("kind", "device", "card", "words"), REFUSED.values(), ids=list(REFUSED), indirect=["card"])
def test_refusals(kind: Precision.Kind, device: torch.device, card: None, words: str) -> None:
    """A precision that a device has not is refused with the reason."""
    assert words in refusal(kind, device)
    assert bool(words) == bool(refusal(kind, device))


FAST = {
    "FP16 on Volta": (Precision.FP16, (7, 0), True, "FP16: the card has 7.0"),
    "FP16 on Pascal": (
        Precision.FP16,
        (6, 1),
        False,
        "FP16: works, but slowly: no instructions for it on the card has",
    ),
    "BF16 on Turing": (Precision.BF16, (7, 5), False, "BF16: works, but slowly"),
    "TF32 on Hopper": (Precision.TF32, (9, 0), True, "TF32: the card has 9.0"),
    "FP32": (Precision.FP32, (9, 0), False, "FP32: as in Caffe"),
}


@pytest.mark.parametrize(("kind", "card", "fast", "words"), FAST.values(), ids=list(FAST), indirect=["card"])
def test_what_is_fast_on_a_gpu(kind: Precision.Kind, card: None, fast: bool, words: str) -> None:
    """Tensor cores decide, which the compute capability tells."""
    assert is_fast(kind, GPU) == fast
    assert words in remark(kind, GPU)


@pytest.mark.parametrize(
    ("has", "words"),
    [
        (("_is_amx_tile_supported", "_is_avx512_bf16_supported"), "BF16: this CPU has AMX"),
        (("_is_avx512_bf16_supported",), "BF16: this CPU has AVX512_BF16"),
        ((), "BF16: works, but slowly: no instructions for it on the CPU"),
        (None, "BF16: works, but slowly: no instructions for it on the CPU"),
    ],
)
def test_what_is_fast_on_a_cpu(has: tuple[str, ...] | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instructions decide, as far as this PyTorch knows of them."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        if has is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda name=name: name in has, raising=False)
    assert remark(Precision.BF16, CPU) == words
    assert is_fast(Precision.BF16, CPU) == bool(has)


def test_a_net_refuses_what_its_device_cannot() -> None:
    """The precision stays what it was."""
    net = net_of(TRAINED, "BF16")
    with pytest.raises(ValueError, match="TF32 is a precision of GPUs"):
        net.precision = "TF32"
    with pytest.raises(ValueError, match="FP8"):
        net.precision = "FP8"
    assert net.precision == Precision.BF16


@pytest.mark.parametrize("allowed", [True, False])
def test_the_switches_of_tf32(allowed: bool) -> None:
    """Products and convolutions are switched together."""
    allow_tf32(not allowed)
    allow_tf32(allowed)
    assert torch.backends.cuda.matmul.allow_tf32 == allowed
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_fp32_changes_no_context() -> None:
    """Only 16 bits need a context."""
    for kind in (Precision.FP32, Precision.TF32):
        with computing_in(kind, CPU):
            assert not torch.is_autocast_enabled("cpu")
    with computing_in(Precision.FP16, CPU):
        assert torch.get_autocast_dtype("cpu") == torch.float16
