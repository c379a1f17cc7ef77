"""The images that are scored: those of the net's own data, of another set in their place, or some files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netspec.compiler import compile_graph, layer_error
from netspec.data import class_folder
from netspec.data.feed import Feed
from netspec.data.leveldb_store import is_leveldb
from netspec.data.list_file import read_lines
from netspec.errors import DataError
from netspec.graph import Node
from netspec.layers.base import LayerError
from netspec.layers.sources import Source, SourceContext
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, LayerParameter
from netspec.scoring.crops import CENTER, Crops
from netspec.scoring.files import files_source
from netspec.scoring.preparation import Preparation, prepared_layer, resize_to, resizes, stored_shape
from netspec.scoring.text import ScoredText

_OF_IMAGES = ("Data", "ImageData", "MemoryData")
_LABEL = "label"


def open_data(
    text: ScoredText,
    images: str | Path | Sequence[str | Path] | None,
    given: Preparation,
    crops: Crops,
    context: SourceContext,
) -> tuple[Node, Source]:
    """The layer and the source of what is scored: the net's own data where `images` is None, the set of a folder, a
    list or a database where it is one path, or single image files. Errors are DataErrors and SpecErrors."""
    param = prepared_layer(text, given)
    node = Node(param, text.data.where if text.data else ())
    if images is None:
        if text.data is None or text.is_stored:
            raise DataError(f"{text.document.path} has no data of its own: name a set to score (--source)")
        if given.size:
            resize_to(param, given.size)
    elif param.type not in _OF_IMAGES:
        raise DataError(f"{text.document.path}: its {param.type} layer gives no images that others could stand for")
    elif isinstance(images, (str, Path)):
        _put_source(text, param, Path(images), given)
    else:
        _put_files(text, param, given)
    for settings in (param.data_param, param.image_data_param):  # so that about as many windows come at once
        if settings.batch_size > 1:
            settings.batch_size //= min(len(crops), settings.batch_size)
    source = _opened(text, node, images, context)
    _cut(text, node, source, crops)
    return node, source


def _opened(
    text: ScoredText, node: Node, images: str | Path | Sequence[str | Path] | None, context: SourceContext
) -> Source:
    if images is None or isinstance(images, (str, Path)):
        return compile_graph(text.graph(node), {}, context).sources[0][1]
    try:
        return files_source(list(map(str, images)), node.param, text.document.find, context)
    except LayerError as error:
        raise layer_error(text.graph(node), node, error.reason, *error.field) from None


def _put_files(text: ScoredText, param: LayerParameter, given: Preparation) -> None:
    """Make a data layer read image files in the same way, of any size. DataError where the size is not known."""
    _become_files(text, param, given)
    if not resizes(param):
        reason = "how large images are before they are cropped is not known, as its data is not there: give a size"
        raise DataError(f"{text.document.path}: {reason} (--size)")
    del param.top[1:]


def _put_source(text: ScoredText, param: LayerParameter, path: Path, given: Preparation) -> None:
    """Make a data layer read another set in the same way."""
    if not path.exists():
        raise DataError(f"{path}: there is no such folder, list or database")
    if path.is_file() and path.suffix.lower() in class_folder.SUFFIXES:
        raise DataError(f"{path}: one image is no set: name its folder or a list, or let tools/classify.py look at it")
    labels = _labels(path)
    if _is_database(path):
        own = param.image_data_param
        param.transform_param.force_gray |= param.type == "ImageData" and not own.is_color
        param.data_param.CopyFrom(DataParameter(source=str(path), batch_size=_batch_size(param)))
        param.type = "Data"
        if given.size or own.new_height:
            resize_to(param, given.size or (own.new_height, own.new_width))
    else:
        _become_files(text, param, given)
        param.image_data_param.source = str(path)
        if path.is_file():
            param.image_data_param.labels = labels
    del param.top[1:]
    if labels:
        param.top.append(_LABEL if param.top[0] != _LABEL else f"{_LABEL}_of_{_LABEL}")


def _become_files(text: ScoredText, param: LayerParameter, given: Preparation) -> None:
    """Make a data layer one of image files, which have the size and the colour of the net's own data, as far as these
    are known."""
    own, stored = param.image_data_param, stored_shape(text, param)
    colour = own.is_color and not param.transform_param.force_gray and (stored is None or stored[0] != 1)
    damaged = max(own.skip_damaged, param.data_param.skip_damaged)
    images = ImageDataParameter(batch_size=_batch_size(param), is_color=colour, skip_damaged=damaged)
    if own.new_height:
        images.new_height, images.new_width = own.new_height, own.new_width
    own.CopyFrom(images)
    param.data_param.ClearField("source")
    param.type = "ImageData"
    if given.size or (stored and not resizes(param)):
        resize_to(param, given.size or (stored or ())[1:])


def _is_database(path: Path) -> bool:
    return path.name == "data.mdb" or (path.is_dir() and ((path / "data.mdb").exists() or is_leveldb(path)))


def _labels(path: Path) -> int:
    """How many labels each image of a set has: one, or none in a folder without classes and in a list of names."""
    if _is_database(path):
        return 1
    if path.is_dir():
        return len(class_folder.class_names(path)[:1])
    last = read_lines(path)[0][1].rpartition(" ")
    return int(bool(last[0]) and last[2].lstrip("-").isdigit())


def _batch_size(param: LayerParameter) -> int:
    own = (param.data_param.batch_size, param.image_data_param.batch_size, param.memory_data_param.batch_size)
    return max(own) or 1


def _cut(text: ScoredText, node: Node, source: Source, crops: Crops) -> None:
    """Let the source cut windows, and mirror nothing at random as `mirror` would in TEST."""
    transform = node.param.transform_param
    if crops.kind != CENTER.kind and not transform.crop_size:
        reason = "there is nothing to crop: its transform_param has no crop_size"
        raise layer_error(text.graph(node), node, reason, "transform_param")
    if crops != CENTER or transform.mirror:
        if not isinstance(source, Feed):
            raise DataError(f'layer "{node.name}": only images of netspec\'s own data layers can be cut')
        source.cut(crops)
