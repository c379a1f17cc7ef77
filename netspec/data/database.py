"""The Data layer: images and labels of an LMDB."""

from __future__ import annotations

from netspec.data.feed import Feed
from netspec.data.images import stored_images
from netspec.data.lmdb_store import LmdbStore
from netspec.data.records import Records
from netspec.layers.base import LayerError
from netspec.layers.sources import SourceContext, source
from netspec.schema.netspec_pb2 import DataParameter, LayerParameter


@source("Data")
class Data(Feed):
    """(pixel - mean) * scale of the images in the LMDB folder `source`, cropped and mirrored as transform_param says.

    Tops: images (N, C, H, W), BGR; labels (N), which may be left out. `batch_size` must be stated. As in Caffe records
    come in the order of their keys; `shuffle`, which Caffe has not, gives every epoch an order of its own.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        _refuse(param)
        data = param.data_param
        store = LmdbStore(context.find(data.source))
        if data.HasField("backend") and data.backend == DataParameter.LEVELDB:
            raise LayerError(f"the backend is LEVELDB, but {store.path} is an LMDB", "data_param", "backend")
        records = Records(store, _colour(param), data.cache)
        super().__init__(stored_images(records, param, data, context), data.prefetch)
        self.shapes = self.shapes[: len(param.top)]


def _refuse(param: LayerParameter) -> None:
    if len(param.top) not in (1, 2):
        raise LayerError(f"a Data layer has 1 or 2 tops (images, labels), not {len(param.top)}", "top")
    if not param.data_param.source:
        raise LayerError("source is missing: the folder of the LMDB", "data_param", "source")
    if not param.data_param.batch_size:
        raise LayerError("batch_size is missing or 0", "data_param", "batch_size")
    for field in ("scale", "mean_file", "crop_size", "mirror"):
        if param.data_param.HasField(field):
            raise LayerError(f"{field} has moved: write it in transform_param", "data_param", field)


def _colour(param: LayerParameter) -> bool | None:
    """What encoded images become: BGR, grey, or (None) what they are."""
    transform = param.transform_param
    colour = transform.force_color or param.data_param.force_encoded_color
    if colour and transform.force_gray:
        raise LayerError("give force_color or force_gray, not both", "transform_param", "force_gray")
    return colour or (False if transform.force_gray else None)
