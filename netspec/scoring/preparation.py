"""How images are prepared for a net: as its data layer says, or as the user says where the text does not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netspec.data.mean import read_mean
from netspec.data.open_store import open_store
from netspec.errors import DataError
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import TEST, LayerParameter
from netspec.scoring.text import ScoredText

_BATCH = 50
"""Images at once, where no text says how many."""


@dataclass(frozen=True)
class Preparation:
    """What the user says of the images, over what the text says: the mean value of each channel or of all (BGR), a mean
    file, the deviation of each channel or of all that divides them then, the scale, and the size (height, width) that
    images are resized to before they are cropped.

    Of a net whose inputs are Input layers, a mean file that is not of the input's size gives the means of its channels,
    as in Caffe's classification example; and images of another size are cropped to a square input.
    """

    mean: Sequence[float] = ()
    mean_file: str = ""
    std: Sequence[float] = ()
    scale: float | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.mean and self.mean_file:
            raise DataError("give mean values or a mean file, not both")


def prepared_layer(text: ScoredText, given: Preparation) -> LayerParameter:
    """A copy of the net's data layer with what is `given` in it, which prepares as in TEST, though a .caffemodel has
    that of the training; for a net with an Input layer, one that resizes images to its shape. SpecError where there
    are several inputs."""
    param = LayerParameter()
    if text.data:
        param.CopyFrom(text.data.param)
    else:
        _fill_for_input(param, text, given)
    param.phase = TEST
    if given.mean or given.mean_file:
        param.transform_param.ClearField("mean_file")
        param.transform_param.ClearField("mean_value")
        _put_mean(param, given, is_input=text.data is None)
    if given.std:
        param.transform_param.std_value[:] = given.std
    if given.scale is not None:
        param.transform_param.scale = given.scale
    return param


def _put_mean(param: LayerParameter, given: Preparation, is_input: bool) -> None:
    images = param.image_data_param
    if given.mean:
        param.transform_param.mean_value.extend(given.mean)
    elif is_input and (mean := read_mean(Path(given.mean_file))).shape[1:] != (images.new_height, images.new_width):
        param.transform_param.mean_value.extend(mean.mean((1, 2)).tolist())
    else:
        param.transform_param.mean_file = given.mean_file


def _fill_for_input(param: LayerParameter, text: ScoredText, given: Preparation) -> None:
    inputs = [layer for layer in text.view({}).message.layer if layer.type == "Input"]
    shape = list(inputs[0].input_param.shape[0].dim) if inputs else []
    if len(inputs) != 1 or len(shape) != 4:
        shown = ", ".join(f"{layer.top[0]} {tuple(layer.input_param.shape[0].dim)}" for layer in inputs)
        reason = f"a net is scored that has one input of images (N, C, H, W); this one has {shown or 'none'}"
        raise text.document.error(reason)
    param.name, param.type = inputs[0].name, "ImageData"
    param.top.append(inputs[0].top[0])
    param.image_data_param.batch_size = max(shape[0], _BATCH)
    param.image_data_param.is_color = shape[1] != 1
    param.image_data_param.new_height, param.image_data_param.new_width = shape[2:]
    if given.size and shape[2] == shape[3]:
        param.transform_param.crop_size = shape[2]


def stored_shape(text: ScoredText, param: LayerParameter) -> Shape | None:
    """The shape (C, H, W) of the images of a net's own data before they are cropped: that of the first record of its
    database, of what a MemoryData layer is given, or of the mean image; None where none of these tells it."""
    source, mean_file = param.data_param.source, param.transform_param.mean_file
    memory = param.memory_data_param
    if memory.height and not param.transform_param.crop_size:
        return memory.channels, memory.height, memory.width
    with suppress(DataError):
        if source and not text.is_stored:
            return open_store(text.document.find(source)).image(0)[0].shape
    with suppress(DataError):
        if mean_file:
            return read_mean(text.document.find(mean_file)).shape
    return None


def resizes(param: LayerParameter) -> bool:
    """Whether a data layer brings images of all sizes to one by itself."""
    return bool(param.transform_param.resize or param.image_data_param.new_height)


def resize_to(param: LayerParameter, size: tuple[int, ...]) -> None:
    """Make a data layer resize its images to a height and a width: image files as Caffe does, records of a database by
    the transform."""
    param.transform_param.ClearField("resize")
    if param.type == "ImageData":
        param.image_data_param.new_height, param.image_data_param.new_width = size
    else:
        param.transform_param.resize.extend(size)
