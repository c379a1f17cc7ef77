"""What is wrong with a TransformationParameter, known before any image is transformed; each mistake is a LayerError."""

from __future__ import annotations

import math

from google.protobuf.message import Message

from netspec.data.datum import shape_text
from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import TransformationParameter

_OWN = 10000  # fields from this number on are not Caffe's
LARGEST_SIDE = 1 << 14


def own_fields(param: TransformationParameter) -> list[str]:
    """The fields that a message sets and Caffe has not."""
    return [field.name for field, _ in param.ListFields() if field.number >= _OWN]


def size_of(param: TransformationParameter, name: str) -> tuple[int, int] | None:
    """Height and width that the field `name` gives, if it does: two numbers, or one for both."""
    given = getattr(param, name)
    if not given:
        return None
    if len(given) > 2 or not 0 < min(given) <= max(given) <= LARGEST_SIDE:
        raise _error(f"{name} is a height and a width from 1 to {LARGEST_SIDE}, or one number for both", name)
    return given[0], given[-1]


def check_caffe(param: TransformationParameter, shape: Shape, mean: Shape | None) -> None:
    """Caffe's rules on the mean, for images of a shape (C, H, W) before the crop and a mean image of another."""
    if param.mean_value and param.HasField("mean_file"):
        raise _error("give mean_file or mean_value, not both", "mean_value")
    _count(param, "mean_value", shape[0])
    if mean is not None and mean != shape:
        raise _error(f"mean_file is {shape_text(mean)}, the uncropped images are {shape_text(shape)}", "mean_file")


def check_crop(param: TransformationParameter, shape: Shape) -> None:
    """A crop lies within the images (C, H, W). One of random size is so in TEST alone."""
    if param.crop_size > min(shape[1:]):
        reason = f"crop_size {param.crop_size} is larger than the images, {shape_text(shape)}"
        if param.HasField("random_resized_crop"):
            reason = f"in TEST, which crops in the centre, {reason}; resize makes them larger"
        raise _error(reason, "crop_size")


def check_own(param: TransformationParameter, channels: int) -> None:
    """The rules of what Caffe has not, for images of some channels."""
    _finite(param, "transform_param")
    _count(param, "fill", channels)
    _count(param, "std_value", channels)
    _check_crops(param)
    _check_mean(param)
    _check_geometry(param)
    _check_colour(param, channels)
    if not 0 <= param.erasing_probability <= 1:
        raise _error(f"erasing_probability {param.erasing_probability:g} is not from 0 to 1", "erasing_probability")
    _range(param, "erasing_area", most=1)


def _check_crops(param: TransformationParameter) -> None:
    for name in ("pad", "crop_size"):
        if (given := getattr(param, name)) > LARGEST_SIDE:
            raise _error(f"{name} is at most {LARGEST_SIDE}, not {given}", name)
    for name in ("center_crop", "random_resized_crop"):
        if param.HasField(name) and not param.crop_size:
            raise _error(f"{name} needs crop_size, its side in pixels", name)
    if not param.HasField("random_resized_crop"):
        return
    if param.center_crop:
        raise _error("give center_crop or random_resized_crop, not both", "center_crop")
    for name, most in (("area", 1.0), ("aspect", math.inf)):
        _range(param.random_resized_crop, name, True, most, "random_resized_crop")


def _check_mean(param: TransformationParameter) -> None:
    if param.std_value and min(param.std_value) <= 0:
        raise _error(f"std_value divides, so it must be above 0, not {min(param.std_value):g}", "std_value")
    for name in ("mean_file", "mean_value", "std_value"):
        if param.standardize and name in {field.name for field, _ in param.ListFields()}:
            raise _error(f"standardize takes each image's own mean and deviation: leave {name} out", name)
    for name in ("pad", "random_resized_crop", "output_size"):
        if param.HasField("mean_file") and name in own_fields(param):
            raise _error(f"a mean image fits no images changed by {name}: give mean_value", "mean_file")


def _check_geometry(param: TransformationParameter) -> None:
    if not 0 <= param.rotation <= 180:
        raise _error(f"rotation {param.rotation:g} is not from 0 to 180 degrees", "rotation")
    if param.rotation_choice and param.HasField("rotation"):
        raise _error("give rotation or rotation_choice, not both", "rotation_choice")
    if param.mirror_or_rotate and not (param.mirror and param.rotation_choice):
        raise _error("mirror_or_rotate needs mirror and rotation_choice", "mirror_or_rotate")
    if not 0 <= param.shift <= 1:
        raise _error(f"shift {param.shift:g} is not from 0 to 1, the part of a side", "shift")
    _range(param, "zoom", above_zero=True)
    if param.fill and not 0 <= min(param.fill) <= max(param.fill) <= 255:
        raise _error("fill is a colour, from 0 to 255", "fill")


def _check_colour(param: TransformationParameter, channels: int) -> None:
    for name in ("brightness", "contrast", "saturation"):
        _range(param, name)
    for name in ("contrast", "saturation"):
        for end in (f"{name}_min", f"{name}_max"):
            if channels not in (1, 3) and getattr(param, end) != 1:
                raise _error(f"{name} is that of images with 1 or 3 channels, not {channels}", end)
    if param.HasField("blur_kernel") and param.blur_kernel % 2 == 0:
        raise _error(f"blur_kernel must be odd, not {param.blur_kernel}", "blur_kernel")
    _range(param, "blur_sigma", above_zero=True)


def check_blur(param: TransformationParameter, shape: Shape) -> None:
    """The image (C, H, W) is reflected at its borders, once."""
    if param.blur_kernel // 2 >= min(shape[1:]):
        raise _error(f"blur_kernel {param.blur_kernel} is too large for images of {shape_text(shape)}", "blur_kernel")


def _finite(message: Message, *path: str) -> None:
    for field, value in message.ListFields():
        for number in value if hasattr(value, "append") else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise LayerError(f"{field.name} must be a finite number, not {number:g}", *path, field.name)
            if isinstance(number, Message) and field.name != "copy":
                _finite(number, *path, field.name)


def _range(message: Message, name: str, above_zero: bool = False, most: float = math.inf, *path: str) -> None:
    low, high = getattr(message, f"{name}_min"), getattr(message, f"{name}_max")
    least = "above 0" if above_zero else "0 or more"
    if low < 0 or (above_zero and low == 0):
        raise _error(f"{name}_min must be {least}, not {low:g}", *path, f"{name}_min")
    if high > most:
        raise _error(f"{name}_max must be {most:g} at most, not {high:g}", *path, f"{name}_max")
    if low > high:
        given = f"{name}_max" if message.HasField(f"{name}_max") else f"{name}_min"
        raise _error(f"{name}_min {low:g} is above {name}_max {high:g}", *path, given)


def _count(param: TransformationParameter, name: str, channels: int) -> None:
    given = len(getattr(param, name))
    if given not in (0, 1, channels):
        some = "1 channel; give 1" if channels == 1 else f"{channels} channels; give 1 or {channels}"
        raise _error(f"{given} {name} for images of {some}", name)


def _error(reason: str, *field: str) -> LayerError:
    return LayerError(reason, "transform_param", *field)
