"""What names each record of a source, and sources that hand out several windows of each image."""

import numpy as np
import pytest
import torch

from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import TEST

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
NUMBERS = [f"{index:08d}" for index in range(7)]
FILES = [f"{index}.png" for index in range(7)]

LAYERS = {
    "a database": ('type: "Data" data_param { source: "{0}/set" batch_size: 2 }', NUMBERS),
    "a list": ('type: "ImageData" image_data_param { source: "{0}/images" batch_size: 2 }', FILES),
    "windows": (
        'type: "WindowData" window_data_param { source: "{0}/windows" batch_size: 2 } transform_param { crop_size: 4 }',
        None,
    ),
    "HDF5": ('type: "HDF5Data" hdf5_data_param { source: "{0}/files" batch_size: 2 }', None),
    "no file": ('type: "DummyData" dummy_data_param { shape { dim: [2, 3] } shape { dim: 2 } }', None),
    "memory": ('type: "MemoryData" memory_data_param { batch_size: 1 channels: 1 height: 4 width: 4 }', None),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_source_names_its_records(kind, files_of_every_kind, tmp_path, opened):
    """There is a key for each record, in order: that of the database, the file's name in a list, or a number."""
    text, expected = LAYERS[kind]
    text = text.replace("{0}", str(tmp_path))
    source = opened(f'name: "x" top: "data" top: "label" {text}', phase=TEST)
    if kind == "memory":
        source.set(np.zeros((5, 1, 4, 4)), np.zeros(5))
    keys = source.keys()
    assert len(keys) == len(set(keys)) == source.epoch_size
    if kind == "a list":
        keys = [key.removeprefix(f"{tmp_path}/") for key in keys]
    assert expected in (None, keys)


def test_keys_below_a_folder(tmp_path, encode, pixels, opened):
    """An image of a folder is named below it, in the order in which it comes."""
    for name in ("dog/b.png", "cat/a.png", "dog/a.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(encode(pixels(1, 3, 4, 4)[0]))
    text = f'type: "ImageData" top: "data" image_data_param {{ source: "{tmp_path}/set" batch_size: 2 }}'
    assert opened(text, phase=TEST).keys() == ["cat/a.png", "dog/a.png", "dog/b.png"]


def test_damaged_records_have_no_key(pixels, opened, tmp_path):
    """What is left out is not among the keys, and any bytes of a key can be shown."""
    good = raw_datum(pixels(1, 1, 4, 4)[0], 0).SerializeToString()
    write_lmdb(tmp_path / "set", [(b"a_1", good), (b"b_2", b"bad"), (b"c_\xff", good)])
    text = f'type: "Data" top: "data" data_param {{ source: "{tmp_path}/set" batch_size: 2 skip_damaged: 1 }}'
    assert opened(text, phase=TEST).keys() == ["a_1", "c_\ufffd"]


def corners(positions, down, right):
    """Two windows: one in the first corner, one in the last, mirrored."""
    yield np.zeros_like(down), np.zeros_like(right), False
    yield down, right, True


@pytest.mark.parametrize("cache", ["AUTO", "ON", "OFF"])
@pytest.mark.parametrize("device", DEVICES)
def test_windows_of_every_image(cache, device, store_of, pixels, opened):
    """With windows a batch has them of each image beside each other and its labels once; the last one is short."""
    images = pixels(5, 3, 6, 7)
    text = f'source: "{store_of(images)}" batch_size: 2 cache: {cache}'
    transform = "crop_size: 4 mean_value: 9 scale: 0.5 mirror: true"
    source = opened(
        f'type: "Data" top: "data" top: "label" data_param {{ {text} }} transform_param {{ {transform} }}',
        phase=TEST,
        device=device,
    )
    source.cut(corners)
    batches = list(source.once())
    assert [tuple(top.shape) for top in batches[-1]] == [(1, 2, 3, 4, 4), (1,)]
    expected = np.stack([images[:, :, :4, :4], images[:, :, 2:, 3:][..., ::-1]], 1)
    np.testing.assert_array_equal(torch.cat([top for top, _ in batches]).cpu(), (expected - np.float32(9)) / 2)
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1, 2, 3, 4]


def test_only_images_have_windows(files_of_every_kind, tmp_path, opened):
    """Rows of HDF5 files cannot be cut."""
    source = opened(
        f'type: "HDF5Data" top: "data" hdf5_data_param {{ source: "{tmp_path}/files" batch_size: 2 }}', phase=TEST
    )
    with pytest.raises(DataError, match="only images can be cut in several ways"):
        source.cut(corners)
