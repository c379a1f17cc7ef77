"""The records that a run sees and what is drawn for them: the same however many processes and threads feed it."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec import Net, parse_net
from netspec.data import records, thread_pool
from netspec.data.mean import write_mean
from netspec.layers.sources import SOURCE_TYPES, Source, SourceContext
from netspec.schema.netspec_pb2 import TEST, TRAIN, Datum, LayerParameter, NetParameter

BATCH, BATCHES = 3, 16
TRANSFORM = "transform_param { crop_size: 6 mirror: true mean_value: 9 scale: 0.5 }"
SIZE = f"batch_size: {BATCH}"
FIELDS = {
    "Data": f'data_param {{ source: "FOLDER/set" {SIZE} shuffle: true rand_skip: 4 }} {TRANSFORM}',
    "Data, not kept": f'data_param {{ source: "FOLDER/set" {SIZE} shuffle: true cache: OFF }} {TRANSFORM}',
    "Data, in order": f'data_param {{ source: "FOLDER/set" {SIZE} rand_skip: 4 }} {TRANSFORM}',
    "Data, damaged": f'data_param {{ source: "FOLDER/torn" {SIZE} shuffle: true skip_damaged: 2 }} {TRANSFORM}',
    "DummyData": f'dummy_data_param {{ shape {{ dim: [{BATCH}, 4] }} data_filler {{ type: "gaussian" }} }}',
    "HDF5Data": f'hdf5_data_param {{ source: "FOLDER/files" {SIZE} shuffle: true }}',
    "ImageData": f'image_data_param {{ source: "FOLDER/images" {SIZE} shuffle: true }} {TRANSFORM}',
    "MemoryData": f"memory_data_param {{ {SIZE} channels: 3 height: 6 width: 6 }} {TRANSFORM}",
    "WindowData": f'window_data_param {{ source: "FOLDER/windows" {SIZE} context_pad: 1 }} {TRANSFORM}',
}
"""The fields of a layer of each type, with all that is drawn at random."""
ROOT = Path(__file__).parents[2]
AUGMENTATIONS = sorted((ROOT / "tests" / "augmentations").glob("*.prototxt"))
"""Texts whose TRAIN data layers augment in every way there is."""
BATCHES_OF_THEIR_OWN = ("DummyData", "WindowData")
"""Types that draw a batch, not a record: their batches are not pieces of larger ones."""
LABELS = {
    "Data, damaged": [0, 1, 3, 4, 5, 6, 7],
    "HDF5Data": [*range(5), *range(5)],
    "MemoryData": list(range(12)),
    "WindowData": [0, 1] * 21,
}
"""The labels of a whole pass, those of images 0 to 6 for the others."""


@pytest.fixture
def feed(tmp_path, pixels, store_of, files_of_every_kind):
    """Make a source of the fields named."""
    images = files_of_every_kind
    nothing = Datum(channels=3, height=8, width=9)
    store_of([*images[:2], nothing, *images[2:], nothing], "torn")
    made = []

    def feed(fields, prefetch=4, phase=TRAIN, size=BATCH, **options):
        text = FIELDS[fields].replace("FOLDER", str(tmp_path)).replace(SIZE, f"batch_size: {size}")
        kind = fields.split(",")[0]
        param = text_format.Parse(f'name: "data" type: "{kind}" top: "data" top: "label" {text}', LayerParameter())
        param.data_param.prefetch = prefetch
        made.append(SOURCE_TYPES[kind](param, SourceContext(phase, 5, **options)))
        if kind == "MemoryData":
            made[-1].set(pixels(12, 3, 8, 9), np.arange(12))
        return made[-1]

    yield feed
    for source in made:
        source.close()


def stream(source, batches):
    """Batches as bytes, so that what differs in one bit differs; looked at in the end, for none may change later."""
    tops = [source.next() for _ in range(batches)]
    return [tuple(top.numpy().tobytes() for top in batch) for batch in tops]


def in_turn(sources, batches):
    """The batches that the ranks hand out together, in the order of the whole."""
    return list(chain(*zip(*(stream(source, batches // len(sources)) for source in sources), strict=True)))


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("prefetch", [0, 1, 2, 4])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_run_sees_the_same_however_it_is_fed(ranks, prefetch, fields, feed):
    """Any number of ranks, of batches prepared ahead and any place to go on from give one sequence, to the bit, of
    records and of what is drawn for them; all ranks agree on their position."""
    whole = stream(feed(fields), BATCHES)
    sources = [feed(fields, prefetch, rank=rank, ranks=ranks) for rank in range(ranks)]
    for start in (0, 5, 8):
        for source in sources:
            source.position = start * BATCH
        assert in_turn(sources, 8) == whole[start : start + 8]
        assert {source.position for source in sources} == {(start + 8) * BATCH}


@pytest.mark.parametrize("fields", sorted(set(FIELDS) - set(BATCHES_OF_THEIR_OWN)))
def test_ranks_split_the_batch_of_a_process_alone(fields, feed):
    """Four ranks with a quarter of the batch each see what one process sees in whole batches."""
    alone = feed(fields, size=12).next()[0]
    parts = torch.cat([feed(fields, rank=rank, ranks=4).next()[0] for rank in range(4)])
    assert torch.equal(alone, parts)


def test_a_net_of_each_rank_draws_its_share(tmp_path, pixels, store_of):
    """Nets of two ranks hand out the batches of a net alone, in turn."""
    source = store_of(pixels(7, 3, 8, 9))
    text = (
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{source}" '
        "batch_size: 3 shuffle: true } transform_param { crop_size: 6 mirror: true } }"
    )

    def batches(count, **options):
        net = Net(parse_net(text), "TRAIN", seed=3, **options)
        return [net()["data"].clone() for _ in range(count)]

    shares = [batches(3, rank=rank, ranks=2) for rank in range(2)]
    together = [batch for batches in zip(*shares, strict=True) for batch in batches]
    assert all(map(torch.equal, together, batches(6)))


@pytest.mark.parametrize("fields", ["Data", "Data, not kept", "Data, damaged", "ImageData"])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_decoding_threads_change_nothing(threads, fields, feed, monkeypatch):
    """However many threads decode, the sequence is the same."""
    whole = stream(feed(fields), BATCHES)
    monkeypatch.setattr(thread_pool, "_THREADS", threads)
    monkeypatch.setattr(records, "_PART", 2)
    monkeypatch.setattr(records, "_FEW_BYTES", 0)
    assert stream(feed(fields), BATCHES) == whole


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_pass_has_every_record_once(ranks, fields, feed):
    """The batches that the ranks hand out in a whole pass, taken in turn, are those of a process alone."""
    alone = [tuple(map(torch.clone, tops)) for tops in feed(fields, phase=TEST).once()]
    assert sum(len(tops[0]) for tops in alone) == feed(fields, phase=TEST).epoch_size
    if fields != "DummyData":
        assert torch.cat([tops[1] for tops in alone]).tolist() == LABELS.get(fields, list(range(7)))
    shares = [list(feed(fields, phase=TEST, rank=rank, ranks=ranks).once()) for rank in range(ranks)]
    assert sum(map(len, shares)) == len(alone)
    for place, tops in enumerate(alone):
        again = shares[place % ranks][place // ranks]
        assert all(torch.equal(one, other) for one, other in zip(tops, again, strict=True))


def test_another_seed_gives_another_sequence(feed):
    """The test of one sequence can fail: what is drawn depends on the seed."""
    source = feed("Data")
    first = stream(source, BATCHES)
    source.reseed(6)
    source.position = 0
    assert stream(source, BATCHES) != first


@pytest.mark.parametrize("path", AUGMENTATIONS, ids=lambda path: path.stem)
def test_augmentation_is_the_same_however_it_is_fed(path, pixels, store_of, tmp_path):
    """Whatever is drawn for an image, ranks and resumed runs draw the same as one process without a break, and another
    seed draws otherwise."""
    net = text_format.Parse(path.read_text(), NetParameter())
    (param,) = (one for one in net.layer if one.type in SOURCE_TYPES and TRAIN in (rule.phase for rule in one.include))
    param.data_param.batch_size = 6
    images = pixels(10, 1, 8, 8) if "digits" in param.data_param.source else pixels(10, 3, 64, 64)
    write_mean(tmp_path / "mean", images.mean(0, dtype=np.float32))
    places = {param.data_param.source: store_of(images), param.transform_param.mean_file: tmp_path / "mean"}
    sources: list[Source] = []

    def opened(seed, **share):
        sources.append(SOURCE_TYPES[param.type](param, SourceContext(TRAIN, seed, find=places.__getitem__, **share)))
        return sources[-1]

    try:
        whole = stream(opened(7), 8)
        for ranks in (1, 2, 4):
            shares = [opened(7, rank=rank, ranks=ranks) for rank in range(ranks)]
            for start in (0, 3):
                for source in shares:
                    source.position = start * 6
                assert in_turn(shares, 4) == whole[start : start + 4]
        assert stream(opened(8), 8) != whole
    finally:
        for source in sources:
            source.close()
