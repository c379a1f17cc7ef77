"""The Data layer: images and labels of an LMDB or a LevelDB."""

from __future__ import annotations

from netspec.data.damage import sound_records
from netspec.data.datum_store import DatumStore
from netspec.data.feed import Feed
from netspec.data.images import stored_images
from netspec.data.leveldb_store import is_leveldb
from netspec.data.open_store import open_store
from netspec.data.records import Records
from netspec.layers.base import LayerError
from netspec.layers.sources import Contents, SourceContext, source
from netspec.schema.netspec_pb2 import DataParameter, LayerParameter


@source("Data")
class Data(Feed):
    """(pixel - mean) * scale of the images in the database `source`, cropped and mirrored as transform_param says.

    `source` is the folder of an LMDB, or of a LevelDB (which needs the package plyvel). Tops: images (N, C, H, W), BGR;
    labels (N), or (N, K) where the Datums have K `labels`; they may be left out. `batch_size` must be stated. As in
    Caffe records come in the order of their keys; `shuffle`, which Caffe has not, gives every epoch an order of its
    own.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        _refuse(param)
        data = param.data_param
        store, colour = _open(data, context), _colour(param)
        self._store = store
        records = Records(sound_records(store, colour, data.skip_damaged), colour, data.cache)
        super().__init__(stored_images(records, param, data, context), data.prefetch, context, store.files)
        self.shapes = self.shapes[: len(param.top)]

    @property
    def contents(self) -> Contents:
        """What the database holds, known by its keys."""
        return Contents(self._store.path, self._store.digest)


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


def _open(data: DataParameter, context: SourceContext) -> DatumStore:
    """The store at `source`: what lies on the disk decides its kind, and a `backend` that says otherwise is refused."""
    path = context.find(data.source)
    store = open_store(path)
    found = DataParameter.LEVELDB if is_leveldb(path) else DataParameter.LMDB
    if data.HasField("backend") and data.backend != found:
        kind = "a LevelDB" if found == DataParameter.LEVELDB else "an LMDB"
        reason = f"the backend is {DataParameter.DB.Name(data.backend)}, but {path} is {kind}"
        raise LayerError(reason, "data_param", "backend")
    return store


def _colour(param: LayerParameter) -> bool | None:
    """What encoded images become: BGR, grey, or (None) what they are."""
    transform = param.transform_param
    colour = transform.force_color or param.data_param.force_encoded_color
    if colour and transform.force_gray:
        raise LayerError("give force_color or force_gray, not both", "transform_param", "force_gray")
    return colour or (False if transform.force_gray else None)
