"""Numbers that are meant for pixels from 0 to 1 are told from those for pixels from 0 to 255."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from netspec.data.unit_pixels import unit_numbers
from netspec.schema.netspec_pb2 import LayerParameter

OTHER = "is of pixels from 0 to 1, in RGB; here they go to 255, in BGR"
MEAN = f"mean_value 0.485 0.456 0.406 {OTHER}: 103.53 116.28 123.675"
STD = f"std_value 0.229 0.224 0.225 {OTHER}: 57.375 57.12 58.395"
SCALE = "scale 0.0039 comes after the mean, which is of pixels from 0 to 255"
UNIT_MEAN, UNIT_STD = "mean_value: [0.485, 0.456, 0.406]", "std_value: [0.229, 0.224, 0.225]"

CASES = [
    ("Data", UNIT_MEAN, {"mean_value": MEAN}),
    ("ImageData", f"{UNIT_MEAN} {UNIT_STD}", {"mean_value": MEAN, "std_value": STD}),
    ("ImageData", f"{UNIT_MEAN} scale: 0.0039", {"mean_value": MEAN, "scale": SCALE}),
    ("Data", f"{UNIT_MEAN} {UNIT_STD} scale: 0.0039", {"mean_value": MEAN, "scale": SCALE, "std_value": STD}),
    ("Data", "mean_value: 0.5", {"mean_value": "mean_value 0.5 is of pixels from 0 to 1; here they go to 255: 127.5"}),
    ("Data", f"mean_value: 104 {UNIT_STD}", {"std_value": STD}),
    ("Data", f"mean_value: [104, 117, 123] {UNIT_STD} scale: 0.00392157", {}),
    ("Data", "mean_value: [104, 117, 123] scale: 0.017", {}),
    ("Data", "mean_value: 0 scale: 0.00390625", {}),
    ("Data", "scale: 0.00390625", {}),
    ("Data", "mean_value: [104, 117, 123] std_value: [57, 57, 58]", {}),
    ("MemoryData", f"{UNIT_MEAN} {UNIT_STD}", {}),
]


@pytest.mark.parametrize(("kind", "transform", "said"), CASES)
def test_numbers_for_other_pixels_are_told(kind: str, transform: str, said: dict[str, str]) -> None:
    """A mean or deviation below 1 of pixels that go to 255, and a scale beside such a mean, each with its field."""
    layer = text_format.Parse(f'type: "{kind}" transform_param {{ {transform} }}', LayerParameter())
    assert dict(unit_numbers(layer)) == said
