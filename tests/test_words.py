"""What a wrong word in a text was meant for."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from netspec.errors import SpecError
from netspec.schema.netspec_pb2 import DESCRIPTOR, LayerParameter, SolverParameter, TransformationParameter
from netspec.spec import parse
from netspec.words import _WAY, right_field

RESIZED = "random_resized_crop {{ {} }}"

HINTS = [
    *[(TransformationParameter, f"{word}: 1", "write mirror: true") for word in ("flip", "hflip", "horizontal_flip")],
    *[(TransformationParameter, f"{word}: 1", "write mirror_vertical: true") for word in ("vflip", "vertical_flip")],
    (TransformationParameter, "mean: 1", "write mean_value, one a channel: BGR, of pixels from 0 to 255"),
    *[
        (TransformationParameter, f"{word}: 1", "write mean_value and std_value, one a channel: BGR, of 0 to 255")
        for word in ("std", "normalize")
    ],
    *[
        (
            TransformationParameter,
            f"{word} {{ }}",
            "write brightness_min and _max, contrast_min and _max, saturation_min and _max",
        )
        for word in ("color_jitter", "colorjitter")
    ],
    *[
        (TransformationParameter, f"{word}: 1", "write rotation, in degrees")
        for word in ("degrees", "angle", "random_rotation", "rotation_range")
    ],
    (TransformationParameter, "translate: 1", "write shift, a part of the side"),
    *[
        (
            TransformationParameter,
            f"{word}: 1",
            "write blur_kernel, a side in pixels, and blur_sigma_min and blur_sigma_max",
        )
        for word in ("blur", "gaussian_blur")
    ],
    *[
        (TransformationParameter, f"{word}: 1", "write erasing_probability")
        for word in ("cutout", "random_erasing", "erasing")
    ],
    (TransformationParameter, "random_crop: 1", "write crop_size: TRAIN crops at random, TEST in the centre"),
    *[(TransformationParameter, f"{word}: 1", "write force_gray: true") for word in ("grayscale", "to_gray")],
    (TransformationParameter, "five_crop: 1", "there is none: an image gives one crop, in TEST that of the centre"),
    *[
        (TransformationParameter, f"{word}: 1", "there is none")
        for word in ("auto_augment", "randaugment", "hue", "posterize", "solarize")
    ],
    (TransformationParameter, "resize_short: 1", "write resize: height and width; none keeps the aspect"),
    *[
        (kind, "label_smoothing: 0.1", "it belongs into loss_param of a SoftmaxWithLoss layer")
        for kind in (TransformationParameter, SolverParameter, LayerParameter)
    ],
    (TransformationParameter, RESIZED.format("size: 48"), "its side is crop_size, beside it in transform_param"),
    (TransformationParameter, RESIZED.format("scale: 0.3"), "write area_min and area_max, parts of the area"),
    (TransformationParameter, RESIZED.format("scale_min: 0.3"), "write area_min, a part of the area"),
    (TransformationParameter, RESIZED.format("ratio: 0.3"), "write aspect_min and aspect_max, width over height"),
    (TransformationParameter, RESIZED.format("xyz: 0.3"), "it has area_min, area_max, aspect_min, aspect_max"),
    (TransformationParameter, RESIZED.format("area_mn: 0.3"), 'did you mean "area_min"?'),
    (TransformationParameter, "xyz: 1", "fields: tools/layers.py TransformationParameter"),
    (TransformationParameter, "brightnes_min: 1", 'did you mean "brightness_min"?'),
    (TransformationParameter, "erasing_probabilty: 1", 'did you mean "erasing_probability"?'),
    (LayerParameter, "xyz: 1", "fields: tools/layers.py LayerParameter"),
    (LayerParameter, "relu_param { slope: 1 }", "it has negative_slope, engine"),
]


@pytest.mark.parametrize(("kind", "text", "hint"), HINTS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_word_that_is_no_field_gets_its_hint(kind: type[Message], text: str, hint: str) -> None:
    """Words of other libraries get Caffe's or our way, or that there is none; others what is near, and where all fields
    are listed."""
    with pytest.raises(SpecError) as caught:
        parse(text, kind)
    assert (caught.value.hint, "fork" in caught.value.reason) == (hint, False)


def test_no_field_is_taken_for_anothers_word() -> None:
    """No word of the table is a field of its message, and every hint is short enough to be shown whole."""
    for (message, word), way in _WAY.items():
        assert word not in DESCRIPTOR.message_types_by_name[message].fields_by_name
        assert len(way) <= 80


def test_fields_are_where_the_hints_say() -> None:
    """What a hint tells to write is a field."""
    fields = TransformationParameter.DESCRIPTOR.fields_by_name
    for (message, _), way in _WAY.items():
        if message == "TransformationParameter" and way.startswith("write "):
            assert way.removeprefix("write ").split()[0].rstrip(":,") in fields
    assert right_field(fields["random_resized_crop"].message_type, "crop_size").startswith("its side is crop_size")
