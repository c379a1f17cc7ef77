"""Stores and images that the tests of the data package share."""

import io

import h5py
import numpy as np
import pytest
import torch
from google.protobuf import text_format
from PIL import Image

from netspec.data import datum
from netspec.data.lmdb_store import write_lmdb
from netspec.layers.sources import SOURCE_TYPES, SourceContext
from netspec.schema.netspec_pb2 import TRAIN, LayerParameter


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Keep decoded sets out of the user's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NETSPEC_CACHE", str(folder))
    return folder


@pytest.fixture
def pixels():
    """Random uint8 images, (N, C, H, W)."""
    return lambda count, *shape, seed=0: np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def encode():
    """The bytes of an image (C, H, W), BGR or grey, as a file of a format."""

    def encode(image, form="PNG", **options):
        file = io.BytesIO()
        picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))
        picture.save(file, form, **options)
        return file.getvalue()

    return encode


@pytest.fixture
def store_of(tmp_path):
    """Write Datums, or images labelled 0, 1, 2..., as an LMDB and return its path."""

    def store_of(records, name="set"):
        data = [r if isinstance(r, datum.Datum) else datum.raw_datum(r, label) for label, r in enumerate(records)]
        write_lmdb(tmp_path / name, ((b"%08d" % i, d.SerializeToString()) for i, d in enumerate(data)))
        return tmp_path / name

    return store_of


@pytest.fixture
def opened():
    """Open data layers by their text; they are closed in the end."""
    sources = []

    def opened(text, phase=TRAIN, device="cpu", **options):
        param = text_format.Parse(text, LayerParameter())
        sources.append(SOURCE_TYPES[param.type](param, SourceContext(phase, device=torch.device(device), **options)))
        return sources[-1]

    yield opened
    for source in sources:
        source.close()


@pytest.fixture
def picture(tmp_path, encode):
    """Write an image (C, H, W), BGR or grey, as a file, and return its path as text."""

    def picture(image, name, form="PNG"):
        (tmp_path / name).write_bytes(encode(image, form))
        return str(tmp_path / name)

    return picture


@pytest.fixture
def files_of_every_kind(tmp_path, picture, pixels, store_of):
    """Write what a source of every type reads: seven images as an LMDB ("set"), as files of a list ("images") and with
    their windows ("windows"), and a list of two HDF5 files ("files"). Gives the images."""
    images = pixels(7, 3, 8, 9)
    files = [picture(image, f"{index}.png") for index, image in enumerate(images)]
    (tmp_path / "images").write_text("".join(f"{file} {index}\n" for index, file in enumerate(files)))
    boxes = "".join(f"{n % 2} {n % 2} {n} 1 7 6\n" for n in range(6))
    (tmp_path / "windows").write_text("".join(f"# 0\n{file}\n3\n8\n9\n6\n{boxes}" for file in files))
    for name in ("a", "b"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = np.random.default_rng(0).random((5, 2)), np.arange(5)
    (tmp_path / "files").write_text(f"{tmp_path}/a\n{tmp_path}/b\n")
    store_of(images)
    return images
