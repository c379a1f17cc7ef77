"""The first dialect (`layers { layer { ... } }`, one message for all types): its layers in today's form."""

from __future__ import annotations

from netspec.log import logger
from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter, V1LayerParameter
from netspec.spec import Document, put
from netspec.upgrade.v1 import Origins, fill_params

_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution", "data": "Data",
    "dropout": "Dropout", "euclidean_loss": "EuclideanLoss", "flatten": "Flatten", "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output", "im2col": "Im2col", "images": "ImageData", "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct", "lrn": "LRN", "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling", "relu": "ReLU", "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss",
    "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip
_PADDING = "padding"

_LEARNT = {
    "num_output": "num_output", "biasterm": "bias_term", "weight_filler": "weight_filler", "bias_filler": "bias_filler",
}  # fmt: skip
_WINDOW = {"pad": "pad", "kernelsize": "kernel_size", "stride": "stride"}
_SOURCE = {"source": "source", "batchsize": "batch_size"}
_FIELDS = {
    "concat": ("concat_param", {"concat_dim": "concat_dim"}),
    "conv": ("convolution_param", {**_LEARNT, **_WINDOW, "group": "group"}),
    "data": ("data_param", {**_SOURCE, "rand_skip": "rand_skip"}),
    "dropout": ("dropout_param", {"dropout_ratio": "dropout_ratio"}),
    "hdf5_data": ("hdf5_data_param", _SOURCE),
    "images": (
        "image_data_param",
        {**_SOURCE, "rand_skip": "rand_skip", "shuffle_images": "shuffle", "new_height": "new_height",
         "new_width": "new_width"},
    ),
    "infogain_loss": ("infogain_loss_param", {"source": "source"}),
    "innerproduct": ("inner_product_param", _LEARNT),
    "lrn": ("lrn_param", {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}),
    "pool": ("pooling_param", {**_WINDOW, "pool": "pool"}),
    "window_data": (
        "window_data_param",
        {**_SOURCE, "det_fg_threshold": "fg_threshold", "det_bg_threshold": "bg_threshold",
         "det_fg_fraction": "fg_fraction", "det_context_pad": "context_pad", "det_crop_mode": "crop_mode"},
    ),
}  # fmt: skip
"""For each type the message that its fields went to, and their names there; any other field had no effect on it."""

_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}


def fill_layers(new: NetParameter, document: Document[NetParameter]) -> Origins:
    """Put today's form of all layers into a new net; a padding layer becomes the `pad` of the layer that reads it.
    SpecError where a type is unknown, and where a padding layer is not read as Caffe allows it."""
    origins: Origins = {}
    makers: dict[str, int] = {}  # of each blob the layer that made it last
    for index, old in enumerate(document.message.layers):
        _check_dialect(document, index)
        paddings = [makers[bottom] for bottom in old.bottom if _is_padding(document, makers.get(bottom))]
        if paddings:
            _check_padding(document, index, paddings[0])
        if old.layer.type != _PADDING:
            moved = _fill(new.layer.add(), document, index, paddings[0] if paddings else None)
            origins |= {("layer", len(new.layer) - 1, *path): place for path, place in moved.items()}
        makers |= dict.fromkeys(old.top, index)
    return origins


def _is_padding(document: Document[NetParameter], index: int | None) -> bool:
    return index is not None and document.message.layers[index].layer.type == _PADDING


def _check_dialect(document: Document[NetParameter], index: int) -> None:
    old = document.message.layers[index]
    if not old.HasField("layer"):
        raise document.error('a layer without a "layer" inside, in a net of layers with one', "layers", index)
    for field, _ in old.ListFields():
        if field.name not in ("layer", "bottom", "top"):
            raise document.error(f'{field.name} must stand inside "layer" here', "layers", index, field.name)


def _check_padding(document: Document[NetParameter], index: int, padding: int) -> None:
    """Caffe's conditions on a padding layer and the layer that reads it."""
    reader, padded = document.message.layers[index], document.message.layers[padding]
    if reader.layer.type not in ("conv", "pool"):
        reason = f'a padding layer is read by a layer of type "conv" or "pool", not "{reader.layer.type}"'
        raise document.error(reason, "layers", index, "bottom")
    if len(reader.bottom) != 1:
        raise document.error("a layer that reads a padding layer has one bottom", "layers", index, "bottom", 1)
    if len(padded.bottom) != 1 or len(padded.top) != 1:
        raise document.error("a padding layer has one bottom and one top", "layers", padding)


def _fill(new: LayerParameter, document: Document[NetParameter], index: int, padding: int | None) -> Origins:
    """Fill a new layer with what an old one says, and the padding layer that it reads."""
    where: FieldPath = ("layers", index)
    old, inner = document.message.layers[index], (*where, "layer", 0)
    origins: Origins = {(): inner, **_copy_wiring(new, old, where)}
    if old.layer.HasField("type"):
        new.type = _today(document, index)
    message, fields = _FIELDS.get(old.layer.type, ("", {}))
    for field, value in old.layer.ListFields():
        name, place = field.name, (*inner, field.name, 0)
        if name in ("blobs_lr", "weight_decay"):
            origins = fill_params(new, name, value, inner) | origins
        elif name in ("name", "blobs") or (name == "hdf5_output_param" and new.type == "HDF5Output"):
            put(new, name, value)
        elif name in _TRANSFORM:
            setattr(new.transform_param, _TRANSFORM[name], value)
            origins["transform_param", 0, _TRANSFORM[name], 0] = place
        elif name in fields:
            if isinstance(value, int) and value < 0:  # some of these fields were signed and are not today
                raise document.error(f"{name} must not be negative, but is {value}", *place)
            put(getattr(new, message), fields[name], value)
            origins[message, 0, fields[name], 0] = place
        elif name != "type":
            line = document.position(*place)[0]
            logger.warning('%s:%d: %s has no effect on a layer of type "%s"', document.path, line, name, old.layer.type)
    return origins if padding is None else origins | _fold(new, document, padding)


def _copy_wiring(new: LayerParameter, old: V1LayerParameter, where: FieldPath) -> Origins:
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    return {(name, j): (*where, name, j) for name in ("bottom", "top") for j in range(len(getattr(old, name)))}


def _today(document: Document[NetParameter], index: int) -> str:
    name = document.message.layers[index].layer.type
    if name not in _TYPES:
        reason = f'there is no layer type "{name}" in this old form'
        raise document.error(reason, "layers", index, "layer", 0, "type", wrong=name, known=[*_TYPES, _PADDING])
    return _TYPES[name]


def _fold(new: LayerParameter, document: Document[NetParameter], padding: int) -> Origins:
    """Let a layer read what its padding layer reads, with that layer's `pad` in place of its own."""
    padded = document.message.layers[padding]
    new.bottom[0] = padded.bottom[0]
    message, _ = _FIELDS["conv" if new.type == "Convolution" else "pool"]
    getattr(new, message).ClearField("pad")
    put(getattr(new, message), "pad", padded.layer.pad)
    where: FieldPath = ("layers", padding)
    return {("bottom", 0): (*where, "bottom", 0), (message, 0, "pad", 0): (*where, "layer", 0, "pad", 0)}
