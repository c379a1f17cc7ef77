"""The second dialect (`layers` with its type as an enum): one of its layers in today's form."""

from __future__ import annotations

from collections.abc import Iterable

from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import LayerParameter, V1LayerParameter
from netspec.spec import put

Origins = dict[FieldPath, FieldPath]
"""Where the fields of a layer in today's form stood in the text's older one."""

_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "NONE": "",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "SLICE": "Slice", "TANH": "TanH",
    "WINDOW_DATA": "WindowData", "THRESHOLD": "Threshold", "BN": "BN", "INTERP": "Interp", "UPSAMPLE": "Upsample",
}  # fmt: skip

_LISTS = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
"""The parallel lists, an entry for each param, and the field of ParamSpec that each became."""

_DATA_PARAMS = {"Data": "data_param", "ImageData": "image_data_param", "WindowData": "window_data_param"}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def fill(new: LayerParameter, old: V1LayerParameter, where: FieldPath) -> Origins:
    """Fill a new layer with what the one at `where` says; fields that kept their name keep their value."""
    origins: Origins = {(): where}
    for field, value in old.ListFields():
        if field.name in _LISTS:
            origins = fill_params(new, field.name, value, where) | origins
        elif field.name == "type":
            new.type = _TYPES[V1LayerParameter.LayerType.Name(value)]
        else:
            put(new, field.name, value)
    return origins | _move_transform(new, where)


def fill_params(new: LayerParameter, name: str, values: Iterable[object], where: FieldPath) -> Origins:
    """Put one of the parallel lists into the params, of which there are as many as the longest list has entries."""
    origins: Origins = {}
    for index, value in enumerate(values):
        if index == len(new.param):
            new.param.add()
        setattr(new.param[index], _LISTS[name], value)
        origins["param", index] = origins["param", index, _LISTS[name], 0] = (*where, name, index)
    return origins


def _move_transform(new: LayerParameter, where: FieldPath) -> Origins:
    """Move what is done to images out of the data layer's own message. As in Caffe it wins over a transform_param."""
    holder = _DATA_PARAMS.get(new.type)
    if holder is None:
        return {}
    data = getattr(new, holder)
    moved = [name for name in _TRANSFORM_FIELDS if data.HasField(name)]
    for name in moved:
        setattr(new.transform_param, name, getattr(data, name))
        data.ClearField(name)
    return {("transform_param", 0, name, 0): (*where, holder, 0, name, 0) for name in moved}
