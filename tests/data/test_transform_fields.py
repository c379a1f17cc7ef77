"""What makes no sense in a transform_param."""

import math

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from netspec.data.transform import Transform
from netspec.data.transform_fields import own_fields
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST, TRAIN, TransformationParameter

WRONG = [
    ("resize: 0", "resize", "resize is a height and a width from 1 to 16384, or one number for both"),
    ("resize: [1, 2, 3]", "resize", "resize is a height and a width"),
    ("output_size: 100000", "output_size", "output_size is a height and a width"),
    ("pad: 100000", "pad", "pad is at most 16384, not 100000"),
    ("crop_size: 16385 random_resized_crop { }", "crop_size", "crop_size is at most 16384, not 16385"),
    ("pad: 1 crop_size: 13", "crop_size", "crop_size 13 is larger than the images, 3x12x14"),
    ("resize: 6 crop_size: 7", "crop_size", "crop_size 7 is larger than the images, 3x6x6"),
    ("center_crop: true", "center_crop", "center_crop needs crop_size"),
    ("random_resized_crop { }", "random_resized_crop", "random_resized_crop needs crop_size"),
    ("center_crop: true crop_size: 4 random_resized_crop { }", "center_crop", "or random_resized_crop, not both"),
    ("crop_size: 4 random_resized_crop { area_min: 0 }", "random_resized_crop.area_min", "must be above 0, not 0"),
    ("crop_size: 4 random_resized_crop { area_max: 2 }", "random_resized_crop.area_max", "must be 1 at most, not 2"),
    ("crop_size: 4 random_resized_crop { aspect_min: 2 }", "random_resized_crop.aspect_min", "2 is above aspect_max"),
    ("rotation: 181", "rotation", "rotation 181 is not from 0 to 180 degrees"),
    ("rotation: -5", "rotation", "rotation -5 is not from 0 to 180 degrees"),
    ("rotation: 5 rotation_choice: 3", "rotation_choice", "give rotation or rotation_choice, not both"),
    ("mirror: true mirror_or_rotate: true", "mirror_or_rotate", "needs mirror and rotation_choice"),
    ("zoom_min: 0", "zoom_min", "zoom_min must be above 0, not 0"),
    ("zoom_max: 0.5", "zoom_max", "zoom_min 1 is above zoom_max 0.5"),
    ("zoom_max: inf", "zoom_max", "zoom_max must be a finite number, not inf"),
    ("rotation_choice: [1, nan]", "rotation_choice", "rotation_choice must be a finite number, not nan"),
    ("shift: 1.5", "shift", "shift 1.5 is not from 0 to 1"),
    ("fill: [1, 2]", "fill", "2 fill for images of 3 channels; give 1 or 3"),
    ("fill: 256", "fill", "fill is a colour, from 0 to 255"),
    ("brightness_min: -1", "brightness_min", "brightness_min must be 0 or more, not -1"),
    ("contrast_min: 2", "contrast_min", "contrast_min 2 is above contrast_max 1"),
    ("saturation_max: 0.5", "saturation_max", "saturation_min 1 is above saturation_max 0.5"),
    ("blur_kernel: 4", "blur_kernel", "blur_kernel must be odd, not 4"),
    ("blur_kernel: 0", "blur_kernel", "blur_kernel must be odd, not 0"),
    ("blur_kernel: 21", "blur_kernel", "blur_kernel 21 is too large for images of 3x10x12"),
    ("blur_kernel: 3 blur_sigma_min: 0", "blur_sigma_min", "blur_sigma_min must be above 0, not 0"),
    ("std_value: [1, 2]", "std_value", "2 std_value for images of 3 channels; give 1 or 3"),
    ("std_value: 0", "std_value", "std_value divides, so it must be above 0, not 0"),
    ("standardize: true std_value: 2", "std_value", "each image's own mean and deviation: leave std_value out"),
    ("standardize: true mean_value: 2", "mean_value", "each image's own mean and deviation: leave mean_value out"),
    ('pad: 1 mean_file: "m"', "mean_file", "a mean image fits no images changed by pad: give mean_value"),
    ('output_size: 4 mean_file: "m"', "mean_file", "a mean image fits no images changed by output_size"),
    ("erasing_probability: 1.5", "erasing_probability", "erasing_probability 1.5 is not from 0 to 1"),
    ("erasing_area_max: 0.01", "erasing_area_max", "erasing_area_min 0.02 is above erasing_area_max 0.01"),
]


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize(("text", "field", "cause"), WRONG)
def test_refuses_what_makes_no_sense(text, field, cause, phase):
    """Every mistake is refused with its field, in both phases, whether it would act there or not."""
    with pytest.raises(LayerError) as caught:
        Transform(text_format.Parse(text, TransformationParameter()), phase, (3, 10, 12))
    assert cause in caught.value.reason
    assert caught.value.field == ("transform_param", *field.split("."))


@pytest.mark.parametrize("name", ["contrast", "saturation"])
def test_grey_needs_one_or_three_channels(name):
    """Contrast and saturation of images that are neither grey nor BGR are refused."""
    param = text_format.Parse(f"{name}_max: 2", TransformationParameter())
    with pytest.raises(LayerError, match=f"{name} is that of images with 1 or 3 channels, not 4"):
        Transform(param, TRAIN, (4, 8, 8))


def test_own_fields_are_those_that_caffe_has_not():
    """Fields of Caffe are not among them, and a field that is not set is not."""
    param = text_format.Parse("scale: 2 crop_size: 3 fill: 1 copy { } rotation: 0", TransformationParameter())
    assert own_fields(param) == ["rotation", "fill", "copy"]


FIELDS = [field for field in TransformationParameter.DESCRIPTOR.fields if field.name not in ("mean_file", "copy")]
NUMBERS = {
    "float": st.sampled_from([-1, 0, 0.1, 0.5, 0.9, 1, 1.5, 3, 45, 1e30, math.inf, math.nan]),
    "uint32": st.sampled_from([0, 1, 2, 3, 5, 6, 9, 11, 40, 4294967295]),
    "bool": st.booleans(),
    "enum": st.sampled_from([0, 1, 2]),
}


@st.composite
def messages(draw):
    """A message with a few fields set to any of some numbers."""
    param = TransformationParameter()
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=6, unique_by=lambda field: field.name)):
        holder, fields = param, [field]
        if field.message_type:
            holder, fields = param.random_resized_crop, field.message_type.fields
        for inner in fields:
            kind = {2: "float", 13: "uint32", 8: "bool", 14: "enum"}[inner.type]
            if isinstance(getattr(holder, inner.name), (int, float)):
                setattr(holder, inner.name, draw(NUMBERS[kind]))
            else:
                getattr(holder, inner.name).extend(draw(st.lists(NUMBERS[kind], min_size=1, max_size=3)))
    return param


@settings(max_examples=300)
@given(messages(), st.sampled_from([TRAIN, TEST]), st.sampled_from([1, 3]))
def test_any_message_is_refused_or_obeyed(param, phase, channels):
    """Whatever the fields hold, a LayerError names one of them, or images of the stated shape come out."""
    try:
        transform = Transform(param, phase, (channels, 10, 12))
    except LayerError as error:
        assert error.field[1] in {field.name for field, _ in param.ListFields()}
        return
    assume(max(transform.output_shape) < 100)
    images = torch.full((2, channels, 10, 12), 200, dtype=torch.uint8)
    out = transform(images, transform.draw(np.arange(2)))
    assert out.shape == (2, *transform.output_shape)
    assert out.isfinite().all() or max(param.scale, *param.mean_value, 0) > 1e20
