"""Where decoded images lie from which batches are made."""

import numpy as np
import pytest
import torch

from netspec.data import records, residence
from netspec.data.lmdb_store import LmdbStore
from netspec.data.records import Records
from netspec.data.residence import Resident, free_bytes, resident
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, Residence

AUTO, DEVICE, HOST = DataParameter.AUTO_RESIDENCE, DataParameter.DEVICE, DataParameter.HOST
COUNT, SHAPE = 11, (3, 8, 9)
BYTES = COUNT * 3 * 8 * 9
CPU = torch.device("cpu")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")


@pytest.fixture
def path(pixels, store_of):
    return store_of(pixels(COUNT, *SHAPE))


@pytest.fixture
def free(monkeypatch):
    """Say how many bytes are free."""
    return lambda count: monkeypatch.setattr(residence, "free_bytes", lambda device: count)


def layer(path, settings):
    return (
        f'name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{path}" batch_size: 4 '
        f"shuffle: true {settings} }} transform_param {{ crop_size: 5 mirror: true mean_value: 9 }}"
    )


def batches(source, count=7):
    return [[top.cpu() for top in source.next()] for _ in range(count)]


def equal(one, other):
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("where", ["DEVICE", "AUTO_RESIDENCE"])
def test_batches_are_the_same_wherever_images_lie(where, device, path, opened):
    """Residence changes no number of a batch, nor of a whole pass."""
    host, other = (opened(layer(path, f"residence: {r}"), device=device) for r in ("HOST", where))
    assert equal(batches(host), batches(other))
    assert equal(list(host.once()), list(other.once()))


@pytest.mark.parametrize("insisting", [True, False])
def test_batches_of_a_resident_set(insisting, path, opened):
    """Batches that are gathered out of one tensor are those that are gathered out of memory."""
    expected = opened(layer(path, "residence: HOST"))
    source = opened(layer(path, "residence: HOST"))
    whole = Records(LmdbStore(path))
    source._batches._resident = Resident(whole, CPU, insisting)
    assert equal(batches(expected), batches(source))
    assert source._batches._resident._images.shape == (COUNT, *SHAPE)
    assert source._batches._resident._images.dtype == torch.uint8


def test_a_set_on_a_cpu_lies_in_memory(path, opened, monkeypatch, cache_folder):
    """DEVICE on a CPU decodes into memory and into no file, whatever room there is for one; HOST maps a file."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(records, "has_room", lambda path, size: True)
    source = opened(layer(path, "residence: DEVICE"))
    source.next()
    assert source._batches._images.kept()[0].flags.owndata
    assert not cache_folder.exists()
    source = opened(layer(path, "residence: HOST"))
    source.next()
    assert not source._batches._images.kept()[0].flags.owndata
    assert len(list(cache_folder.iterdir())) == 1


def test_a_set_on_a_cpu_has_one_size(opened, pixels, store_of):
    """DEVICE on a CPU refuses images of several sizes, which lie in no array."""
    path = store_of([*pixels(2, 3, 8, 9), *pixels(2, 3, 9, 9)], "several")
    with pytest.raises(DataError, match=r"several: residence: DEVICE needs images of one size"):
        opened(layer(path, "residence: DEVICE")).next()


@pytest.mark.parametrize(
    ("own", "otherwise", "made"),
    [
        (AUTO, Residence.HOST, False),
        (AUTO, Residence.DEVICE, True),
        (HOST, Residence.DEVICE, False),
        (DEVICE, Residence.HOST, True),
    ],
)
def test_a_layer_goes_before_its_solver(own, otherwise, made, path, free):
    """Where a layer says nothing its set lies where the solver wants all sets."""
    free(1 << 40)
    device, settings = torch.device("cuda"), DataParameter(residence=own)
    whole = resident(Records(LmdbStore(path)), settings, device, "data_param", otherwise)
    assert (whole is not None) is made


@pytest.mark.parametrize(
    ("where", "device", "made"),
    [
        (AUTO, "cpu", False),
        (HOST, "cpu", False),
        (DEVICE, "cpu", False),
        (AUTO, "cuda", True),
        (HOST, "cuda", False),
        (DEVICE, "cuda", True),
    ],
)
def test_which_sets_go_to_the_device(where, device, made, path, free):
    """AUTO and DEVICE bring a set to a GPU; HOST never does, and a CPU needs no copy."""
    free(1 << 40)
    settings = DataParameter(residence=where)
    whole = resident(Records(LmdbStore(path)), settings, torch.device(device), "data_param")
    assert (whole is not None) is made


@pytest.mark.parametrize(
    ("available", "brought", "said"),
    [
        (4 * BYTES, True, f"DEVICE: {BYTES} bytes of decoded images are at most a quarter of the {4 * BYTES} free"),
        (4 * BYTES - 1, False, f"HOST: {BYTES} bytes of decoded images are more than a quarter of the {4 * BYTES - 1}"),
        (None, False, "HOST"),
    ],
)
def test_auto_takes_a_quarter_of_what_is_free(available, brought, said, path, free, caplog):
    """A set larger than a quarter of the free memory, or where that is not known, stays in the machine's memory; one
    line says where it lies, and why."""
    caplog.set_level("INFO", "netspec")
    free(available)
    whole = Resident(Records(LmdbStore(path)), CPU, insisting=False)
    assert (whole.labels(np.arange(2)) is not None) is brought
    whole.labels(np.arange(2))
    (line,) = caplog.messages
    assert line.startswith(f"{path}: residence {said}")


def test_a_set_that_does_not_fit_is_refused(path, free):
    """DEVICE names the bytes that it needs and those that are free, when the layer is made and when the set moves."""
    message = f"{BYTES} bytes of decoded images do not fit on cpu, where {BYTES - 1} are free; residence: HOST"
    free(BYTES - 1)
    with pytest.raises(LayerError, match=message) as caught:
        resident(Records(LmdbStore(path)), ImageDataParameter(residence=DEVICE), CPU, "image_data_param")
    assert caught.value.field == ("image_data_param", "residence")
    with pytest.raises(DataError, match=message):
        Resident(Records(LmdbStore(path)), CPU, insisting=True).labels(np.arange(2))
    free(BYTES)
    assert Resident(Records(LmdbStore(path)), CPU, insisting=True).labels(np.arange(2)).tolist() == [0, 1]


def test_what_is_not_kept_cannot_lie_on_a_device(path, pixels, store_of, caplog):
    """DEVICE without a cache, or for images of several sizes, is refused; AUTO leaves these where they are."""
    caplog.set_level("INFO", "netspec")
    settings = DataParameter(residence=DEVICE, cache=DataParameter.OFF)
    with pytest.raises(LayerError, match="residence: DEVICE keeps decoded images, cache: OFF does not"):
        resident(Records(LmdbStore(path), cache=DataParameter.OFF), settings, CPU, "data_param")
    several = Records(LmdbStore(store_of([*pixels(2, 3, 4, 5), *pixels(2, 3, 5, 5)], "several")))
    with pytest.raises(DataError, match=r"several: residence: DEVICE needs decoded images of one size"):
        Resident(several, CPU, insisting=True).labels(np.arange(2))
    assert Resident(several, CPU, insisting=False).labels(np.arange(2)) is None
    assert caplog.messages[-1] == f"{several.store.path}: residence HOST: its decoded images are not kept"


@pytest.mark.skipif(free_bytes(CPU) is None, reason="the system does not say how much memory is free")
def test_the_memory_of_this_machine_is_known():
    """Free memory is a number of bytes that a small array fits into."""
    assert free_bytes(CPU) > 1 << 20
