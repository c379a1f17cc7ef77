"""Drawing what a net is fed with."""

import numpy as np
import pytest
from PIL import Image

from netspec import DataError, SpecError, batch_sheet
from netspec.batch_sheet import draw_batches
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb

NET = """
layer {{ name: "in" type: "Data" top: "x" top: "y" include {{ phase: TRAIN }}
  transform_param {{ mean_value: 100 {transform} }}
  data_param {{ source: "{folder}/train_lmdb" batch_size: 3 backend: LMDB }} }}
layer {{ name: "in" type: "Data" top: "x" top: "y" include {{ phase: TEST stage: "s" }}
  data_param {{ source: "{folder}/train_lmdb" batch_size: 2 backend: LMDB }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "s" inner_product_param {{ num_output: 2000000000 }} }}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A set of five images, each of one colour, two classes with names, and no cache in the user's folder."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 1, 1), np.uint8).repeat(8, 2).repeat(8, 3)
    records = ((b"%08d" % i, raw_datum(image, i % 2).SerializeToString()) for i, image in enumerate(images))
    write_lmdb(tmp_path / "train_lmdb", records)
    (tmp_path / "labels.txt").write_text("n00000001 cat, pussy\ndog\n")
    return tmp_path


def net(folder, transform=""):
    (folder / "net.prototxt").write_text(NET.format(folder=folder, transform=transform))
    return folder / "net.prototxt"


@pytest.fixture
def sections(monkeypatch):
    """The sections that are drawn."""
    drawn = []
    monkeypatch.setattr(batch_sheet, "draw_sheet", lambda sections, out: drawn.extend(sections))
    return drawn


def test_both_phases_of_a_net(folder, sections):
    """Each phase has a section with as many images as asked for, over several batches; the rest of the net, larger than
    any memory, is not built."""
    titles = draw_batches(net(folder), folder / "x.png", count=7, stages=["s"])
    assert [section.title for section in sections] == titles.splitlines()
    assert titles.startswith('TRAIN: "x" of layer "in" (Data), 3x8x8. Values ')
    assert "Shown: mean_value undone." in titles and titles.endswith("Shown: values as they are.")
    for section in sections:
        assert len(section.images) == 7
        assert section.captions == ["0 cat", "1 dog", "0 cat", "1 dog", "0 cat", "0 cat", "1 dog"]
    np.testing.assert_array_equal(sections[0].images, sections[1].images)


def test_a_solver(folder, sections):
    """A solver's train net and first test net are drawn, in their states, with the solver's seed."""
    net(folder, "mirror: true crop_size: 5")
    solver = folder / "x.solver"
    solver.write_text(
        f'net: "{folder}/net.prototxt" test_iter: 1 test_interval: 1 test_state {{ stage: "s" }} random_seed: 3'
    )
    titles = draw_batches(solver, folder / "x.png", count=2)
    assert [line[:5] for line in titles.splitlines()] == ["TRAIN", "TEST:"]


@pytest.mark.parametrize(("rule", "given"), [('stage: "s"', {"stages": ["s"]}), ("min_level: 3", {"level": 3})])
def test_stages_and_level_count_for_a_solver(folder, sections, rule, given):
    """What is given beside the text joins a solver's own states."""
    path = net(folder)
    path.write_text(path.read_text().replace('stage: "s"', f'{rule} stage: "own"'))
    (folder / "x.solver").write_text(
        f'net: "{path}" test_iter: 1 test_interval: 1 test_state {{ stage: "own" level: 1 }}'
    )
    assert "TEST cannot be built" in draw_batches(folder / "x.solver", folder / "x.png")
    sections.clear()
    draw_batches(folder / "x.solver", folder / "x.png", **given)
    assert len(sections) == 2


def test_a_phase_without_data(folder, sections):
    """A phase that cannot be built is told beside the other one, and alone is refused."""
    titles = draw_batches(net(folder), folder / "x.png")
    assert len(sections) == 1 and "TEST cannot be built: " in titles and 'makes the blob "x" in phase TEST' in titles
    with pytest.raises(SpecError, match='no layer makes the blob "x" in phase TEST'):
        draw_batches(net(folder), folder / "x.png", ["TEST"])


def test_a_phase_whose_data_cannot_be_read(folder, sections):
    """Data of one phase that is damaged does not take the sheet of the other."""
    path = net(folder)
    path.write_text(path.read_text().replace("train_lmdb", "empty_lmdb", 1))
    (folder / "empty_lmdb").mkdir()
    (folder / "empty_lmdb" / "data.mdb").touch()
    titles = draw_batches(path, folder / "x.png", stages=["s"])
    assert len(sections) == 1 and titles.startswith("TEST: ")
    assert f"TRAIN cannot be built: {folder}/empty_lmdb/data.mdb is empty (0 bytes)" in titles


def test_a_net_without_images(folder, sections):
    """A net whose caller gives the images has nothing to show, which is said."""
    (folder / "net.prototxt").write_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    with pytest.raises(DataError, match="no data layer gives images in phase TRAIN or TEST"):
        draw_batches(folder / "net.prototxt", folder / "x.png")


@pytest.mark.parametrize("transform", ["mixup_alpha: 0.4 classes: 2", "cutmix_alpha: 1 classes: 2"])
def test_mixed_labels_show_their_shares(folder, sections, transform):
    """The labels of mixed images are the shares of the two largest classes."""
    draw_batches(net(folder, transform), folder / "x.png", ["TRAIN"], count=9)
    shares = [[float(line.split()[0]) for line in caption.splitlines()] for caption in sections[0].captions]
    assert all(sum(share) == pytest.approx(1, abs=0.011) for share in shares)
    assert any(len(share) == 2 for share in shares)


def test_other_layers(folder, sections):
    """Of a layer with several tops each of images is shown; values without a transform are stretched."""
    (folder / "net.prototxt").write_text(
        'layer { name: "d" type: "DummyData" top: "a" top: "b" top: "y" dummy_data_param {'
        " shape { dim: 4 dim: 3 dim: 5 dim: 6 } shape { dim: 4 dim: 1 dim: 5 dim: 6 } shape { dim: 4 }"
        ' data_filler { type: "gaussian" } data_filler { type: "uniform" } data_filler { value: 2 } } }'
    )
    draw_batches(folder / "net.prototxt", folder / "x.png", ["TRAIN"], count=3)
    assert [section.images.shape for section in sections] == [(3, 3, 5, 6), (3, 1, 5, 6)]
    assert all(section.captions == ["2"] * 3 and "stretched" in section.title for section in sections)


def test_the_picture_is_there(folder):
    """The sheet is a PNG on which the colours of the images are found."""
    draw_batches(net(folder), folder / "x.png", ["TRAIN"], count=5)
    page = np.array(Image.open(folder / "x.png")).reshape(-1, 3)
    counts = np.unique(page, axis=0, return_counts=True)[1]
    assert (counts >= 96 * 96).sum() >= 6  # five images, and white


def test_a_wrong_net_is_refused(folder):
    """A mistake in the text is the net's own message."""
    with pytest.raises(SpecError, match="crop_size 99 is larger than the images"):
        draw_batches(net(folder, "crop_size: 99"), folder / "x.png")
