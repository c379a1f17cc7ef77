"""What a field or value that a message does not have was meant for: other libraries' words, and where fields stand."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor

from netspec.errors import nearest
from netspec.schema import netspec_pb2

_CAFFE_WORDS = {
    "activation": ("type",), "batchsize": ("batch_size",), "bias": ("bias_term",),
    "dilations": ("dilation",), "epochs": ("max_iter",), "filters": ("num_output",), "groups": ("group",),
    "input": ("bottom",), "inputs": ("bottom",), "kernel": ("kernel_size",), "learning_rate": ("base_lr",),
    "lr": ("base_lr", "lr_mult"), "max_epoch": ("max_iter",), "optimizer": ("type",), "out_channels": ("num_output",),
    "out_features": ("num_output",), "output": ("top",), "outputs": ("top",), "p": ("dropout_ratio",),
    "padding": ("pad",), "rate": ("dropout_ratio",), "strides": ("stride",), "units": ("num_output",),
}  # fmt: skip
"""For words of other libraries Caffe's: the first that the message has."""

_WAYS = {
    "TransformationParameter": {
        "flip hflip horizontal_flip random_flip random_horizontal_flip": "write mirror: true",
        "vflip vertical_flip random_vertical_flip": "write mirror_vertical: true",
        "mean": "write mean_value, one a channel: BGR, of pixels from 0 to 255",
        "std normalize normalization": "write mean_value and std_value, one a channel: BGR, of 0 to 255",
        "samplewise_std_normalization per_image_standardization": "write standardize: true",
        "rescale": "write scale",
        "color_jitter colorjitter colour_jitter jitter":
            "write brightness_min and _max, contrast_min and _max, saturation_min and _max",
        "brightness brightness_range": "write brightness_min and brightness_max",
        "contrast contrast_range": "write contrast_min and contrast_max",
        "saturation saturation_range": "write saturation_min and saturation_max",
        "degrees angle rotate random_rotation rotation_range": "write rotation, in degrees",
        "translate translation random_translation width_shift_range height_shift_range":
            "write shift, a part of the side",
        "zoom random_zoom zoom_range": "write zoom_min and zoom_max",
        "blur gaussian_blur": "write blur_kernel, a side in pixels, and blur_sigma_min and blur_sigma_max",
        "cutout random_erasing random_erase erasing reprob": "write erasing_probability",
        "random_crop crop": "write crop_size: TRAIN crops at random, TEST in the centre",
        "size image_size img_size input_size": "write resize or crop_size",
        "resize_short resize_shorter shorter_side smallest_max_size":
            "write resize: height and width; none keeps the aspect",
        "grayscale to_gray to_grayscale gray grey": "write force_gray: true",
        "mixup": "write mixup_alpha and classes",
        "cutmix": "write cutmix_alpha and classes",
        "five_crop ten_crop": "there is none: an image gives one crop, in TEST that of the centre",
        """auto_augment autoaugment randaugment rand_augment trivial_augment augmix hue posterize solarize equalize
        sharpness shear perspective random_grayscale""": "there is none",
    },
    "RandomResizedCropParameter": {
        "size crop_size output_size": "its side is crop_size, beside it in transform_param",
        "scale area": "write area_min and area_max, parts of the area",
        "scale_min": "write area_min, a part of the area",
        "scale_max": "write area_max, a part of the area",
        "ratio aspect aspect_ratio": "write aspect_min and aspect_max, width over height",
        "ratio_min": "write aspect_min, width over height",
        "ratio_max": "write aspect_max, width over height",
    },
}  # fmt: skip
"""By message, how other libraries' words are written here, honestly where there is nothing like them."""

_WAY = {
    (message, word): way for message, ways in _WAYS.items() for words, way in ways.items() for word in words.split()
}

_MEAN = "the mean of n bottoms is their SUM with a coeff of 1 / n for each"
_VALUE_WAYS = {
    "EltwiseOp": dict.fromkeys(("AVE", "AVERAGE", "AVG", "MEAN"), _MEAN)
    | {"SUB": "the difference of two bottoms is their SUM with coeff: 1 and coeff: -1"},
}
"""By enum, how what other libraries have a value for is written."""

_OLDER = {
    "blob_share_mode": "param { share_mode: ... }",
    "blobs_lr": "param { lr_mult: ... }",
    "weight_decay": "param { decay_mult: ... }",
}
"""How today's layers say what V1's did."""

_OF_A_LOSS = {"label_smoothing": "it belongs into loss_param of a SoftmaxWithLoss layer"}

_PLACES = [
    (netspec_pb2.LayerParameter.DESCRIPTOR, "the layer, outside of this message"),
    (netspec_pb2.NetParameter.DESCRIPTOR, "a net file"),
    (netspec_pb2.SolverParameter.DESCRIPTOR, "a solver file"),
]
_OFTEN = ("engine", "name", "type")
_MOST_PLACES = 3
_FEW_FIELDS, _MANY_FIELDS = 4, 12


def right_field(kind: Descriptor, name: str) -> str:
    """A hint at the field that was meant: Caffe's word for another library's, the place where the field may stand, or
    the nearest name and where all are listed."""
    fields = kind.fields_by_name
    if kind is netspec_pb2.LayerParameter.DESCRIPTOR and name in _OLDER:
        return f"today it is written {_OLDER[name]}"
    if way := _WAY.get((kind.name, name), "") or _OF_A_LOSS.get(name, ""):
        return way
    if meant := next((word for word in _CAFFE_WORDS.get(name, ()) if word in fields), ""):
        return f'Caffe\'s word is "{meant}"'
    inside = [field.name for field in kind.fields if _holds(field.message_type, name)]
    if inside and name not in _OFTEN and kind is not netspec_pb2.SolverParameter.DESCRIPTOR:
        return f"it belongs into {', '.join(inside[:_MOST_PLACES])}{', ...' if len(inside) > _MOST_PLACES else ''}"
    around = next((place for other, place in _PLACES if other is not kind and name in other.fields_by_name), "")
    if around and not nearest(name, fields):
        return f"it belongs into {around}"
    return _guess(kind, name)


def _guess(kind: Descriptor, name: str) -> str:
    """The nearest field of a message; where none is near its fields, or, where they are many, what lists them."""
    if near := nearest(name, kind.fields_by_name):
        return near
    if len(kind.fields) <= _FEW_FIELDS:
        return f"it has {', '.join(kind.fields_by_name)}"
    if len(kind.fields) < _MANY_FIELDS or not name.isidentifier():
        return ""
    return f"fields: tools/layers.py {kind.name}"


def _holds(message: Descriptor | None, name: str) -> bool:
    """Whether a message, if it is one and of today's form, has a field."""
    if message is None or message is netspec_pb2.V1LayerParameter.DESCRIPTOR:
        return False
    return name in message.fields_by_name


def right_value(enum: str, value: str, values: Iterable[str]) -> str:
    """A hint at the value of an enum that was meant."""
    return _VALUE_WAYS.get(enum.rpartition(".")[2], {}).get(value, "") or nearest(value, values)
