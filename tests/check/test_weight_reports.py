"""What a check says of weights files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from good import SHAPES, found

from netspec import parse_net
from netspec.check import check
from netspec.check.findings import ERROR, NOTE, TRAP
from netspec.schema.weights_pb2 import (
    WeightsBlob,
    WeightsFile,
    WeightsLayer,
    WeightsShape,
    WeightsV0Layer,
    WeightsV1Layer,
)
from netspec.weights import write_weights


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5", ".safetensors"])
def test_a_weights_file_is_described(suffix: str) -> None:
    """Form, number of layers and numbers, their type, and the shapes of all blobs."""
    blobs = {"ip": [np.ones((3, 4), np.float32), np.ones(3, np.float32)], "fc8": [np.ones(2, np.float32)]}
    write_weights(f"w{suffix}", "net", parse_net('layer { name: "ip" type: "InnerProduct" }').layer, blobs)
    report = check([f"w{suffix}"])[0]
    assert report.kind == "weights"
    assert report.dialect == [{"5": "HDF5", "s": "safetensors"}.get(suffix[-1], "today's form")]
    assert any(fact.endswith("3x4, 3") for fact in report.facts)
    assert not report.is_refused


def test_a_weights_file_is_known_by_its_content() -> None:
    """As when it is loaded, an HDF5 file may have another name."""
    write_weights("w.h5", "net", parse_net('layer { name: "ip" }').layer, {"ip": [np.ones(2, np.float32)]})
    Path("w.h5").rename("w.caffemodel")
    report = check(["w.caffemodel"])[0]
    assert (report.dialect, report.facts[0]) == (["HDF5"], "1 layer with blobs, 2 numbers (float32)")


HALVES = WeightsBlob(raw_data_type=2, raw_data=np.ones(2, "<f2").tobytes(), shape=WeightsShape(dim=[2]))
DOUBLES = WeightsBlob(double_data=[np.ones(2, "<f8").tobytes()], num=1, channels=1, height=1, width=2)


@pytest.mark.parametrize(
    ("file", "dialect", "facts"),
    [
        (
            WeightsFile(layer=[WeightsLayer(name="a", blobs=[HALVES.SerializeToString()]).SerializeToString()]),
            "today's form",
            ["1 layer with blobs, 2 numbers (float16)", "no net definition: names and blobs only", "a  2"],
        ),
        (
            WeightsFile(
                name="old",
                layers=[WeightsV1Layer(name="a", type=4, blobs=[DOUBLES.SerializeToString()]).SerializeToString()],
            ),
            "V1 layers",
            ["1 layer with blobs, 2 numbers (float64)", 'the definition of the net "old": 1 layer', "a  1x1x1x2"],
        ),
        (
            WeightsFile(
                layers=[
                    WeightsV1Layer(
                        layer=WeightsV0Layer(name="a", blobs=[DOUBLES.SerializeToString()])
                    ).SerializeToString()
                ]
            ),
            "V0 layers",
            ["1 layer with blobs, 2 numbers (float64)", 'the definition of the net "": 1 layer', "a  1x1x1x2"],
        ),
    ],
)
def test_a_caffemodel_of_any_age_is_described(file: WeightsFile, dialect: str, facts: list[str]) -> None:
    """Dialect, number types and old shapes of a .caffemodel are told."""
    Path("w.caffemodel").write_bytes(file.SerializeToString())
    report = check(["w.caffemodel"])[0]
    assert (report.dialect, report.facts) == ([dialect], facts)


@pytest.mark.parametrize(
    ("mean", "weight", "message"),
    [(0, 0, "were never trained"), (1, 0, "as NVIDIA's fork writes them"), (np.nan, 1, "not finite"), (1, 1, "")],
)
def test_statistics_without_a_weight_are_told(mean: float, weight: float, message: str) -> None:
    """A BatchNorm that was never trained, or NVIDIA's, and numbers that are none."""
    blobs = [np.full(2, mean, np.float32), np.full(2, mean, np.float32), np.full(1, weight, np.float32)]
    write_weights("w.safetensors", "", [], {"bn": blobs})
    assert all(message and message in trap for trap in found(check(["w.safetensors"]), TRAP))
    assert bool(found(check(["w.safetensors"]), TRAP)) == bool(message)


def test_weights_are_held_against_a_net() -> None:
    """What is copied, absent, left over and misfitting is told."""
    blobs = {name: [np.ones(4, np.float32), np.ones(4, np.float32)] for name in ("scale", "ip", "fc8")}
    write_weights("w.safetensors", "", [], blobs)
    report = check(["w.safetensors", "net.prototxt"], SHAPES)[-1]
    assert report.facts[-2:] == ["into net.prototxt, TRAIN: 1 of 5 layers copied", "left over: fc8 (1 layer)"]
    assert [finding.severity for finding in report.ordered()] == [ERROR, NOTE]
    assert found([report], NOTE) == ["3 layers of net.prototxt not in it, filled as the net says: conv, bn, up"]
    assert found([report], ERROR)[0].startswith('blob 0 of layer "ip" has shape (3, 3600) here and (4,) there')
    write_weights("w.safetensors", "", [], {"other": blobs["ip"]})
    assert found(check(["w.safetensors", "net.prototxt"], SHAPES), ERROR) == ["no layer of net.prototxt is in it"]
