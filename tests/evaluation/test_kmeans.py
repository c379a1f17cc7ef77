"""The k-means baseline: its parts by hand, and all of it on images that it can tell apart."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from netspec import DataError, NetspecError
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.evaluation.kmeans import ImageSet, Settings, baselines, open_images
from netspec.evaluation.kmeans.classifiers import predicted_by_means, predicted_linearly, standardised
from netspec.evaluation.kmeans.clusters import centres_of, nearest, square_distances
from netspec.evaluation.kmeans.patches import Dictionary, encode, learn_dictionary, normalised, zca
from netspec.evaluation.kmeans.pixels import majority

SMALL = Settings(clusters=6, patches=200, side=3, stride=2)


def drawn(count: int, *shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Random numbers."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def stripes(count: int, seed: int = 0) -> ImageSet:
    """Images (N, 3, 9, 9) of two classes in turn: stripes down or across, anywhere, in any colour."""
    draw = np.random.default_rng(seed)
    waves = (np.arange(9)[None] // 2 + draw.integers(0, 2, (count, 1))) % 2
    labels = np.arange(count) % 2
    images = np.where(labels[:, None, None] == 1, waves[:, :, None], waves[:, None])[:, None]
    coloured = images * draw.integers(120, 200, (count, 3, 1, 1)) + draw.integers(0, 55, (count, 3, 9, 9))
    return ImageSet(Path("stripes"), coloured.astype(np.uint8), labels)


def test_distances() -> None:
    """They are squared, never below 0, and the lowest is the nearest."""
    rows, centres = drawn(20, 5), drawn(4, 5, seed=1)
    wanted = ((rows[:, None].astype(float) - centres[None]) ** 2).sum(2)
    np.testing.assert_allclose(square_distances(rows, centres), wanted, atol=1e-4)
    np.testing.assert_array_equal(nearest(rows, centres), wanted.argmin(1))
    assert square_distances(rows * 1000, rows * 1000).min() >= 0


def test_centres_are_found() -> None:
    """Three far heaps have a centre each, and the seed alone decides which is which."""
    pytest.importorskip("sklearn")
    heaps = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    batches = [heaps.repeat(20, 0) + drawn(60, 2, seed=n) for n in range(5)]
    centres = centres_of(batches, 3, seed=1)
    assert centres.dtype == np.float32 and sorted(nearest(heaps, centres)) == [0, 1, 2]
    assert np.sqrt(square_distances(heaps, centres).min(1)).max() < 1
    np.testing.assert_array_equal(centres, centres_of(batches, 3, seed=1))


def test_the_majority() -> None:
    """A cluster has the class of most of its images, of equally many the lowest; an empty one that of most of all."""
    numbers, labels = np.array([0, 0, 0, 1, 1, 3, 3]), np.array([2, 2, 0, 1, 0, 1, 1])
    assert majority(numbers, labels, 4).tolist() == [2, 0, 1, 1]


def test_contrast() -> None:
    """Patches lose their mean and, unless they are flat, their deviation."""
    patches = np.stack([np.tile([0, 200], 6), np.tile([90, 91], 6), np.full(12, 7)]).astype(np.float32)
    done = normalised(patches)
    np.testing.assert_allclose(done.mean(1), 0, atol=1e-6)
    assert done.std(1) == pytest.approx([1, 0.5 / 10.25**0.5, 0], abs=1e-3)


def test_whitening() -> None:
    """Correlated numbers become uncorrelated, of variance v / (v + 0.1) for eigenvalues v, by a symmetric matrix."""
    rows = drawn(4000, 3) @ np.array([[3, 1, 0], [0, 2, 1], [0, 0, 1]], np.float32) + 5
    mean, whitening = zca(rows)
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-6)
    white = np.cov((rows - mean) @ whitening, rowvar=False)
    values = np.linalg.eigvalsh(np.cov(rows, rowvar=False))
    np.testing.assert_allclose(np.linalg.eigvalsh(white), values / (values + 0.1), atol=1e-3)


def test_codes_by_hand() -> None:
    """The triangle is how much nearer than the mean distance a centre is, or 0; hard is 1 of K."""
    centres = np.array([[0, 0], [3, 0], [0, 9]], np.float32)
    rows = np.zeros((1, 2), np.float32)
    assert encode(rows, centres, "triangle").tolist() == [[4, 1, 0]]
    assert encode(rows, centres, "hard").tolist() == [[1, 0, 0]]


def test_quadrants() -> None:
    """Features are counts over the quadrants, upper left, upper right, lower left, lower right; of an odd grid the
    middle is of the upper left."""
    dictionary = Dictionary(
        1, 2, np.zeros(1, np.float32), np.eye(1, dtype=np.float32), np.zeros((1, 1), np.float32), "hard"
    )
    images = np.zeros((2, 1, 5, 6), np.uint8)
    found = dictionary.features(ImageSet(Path("a"), images, np.zeros(2, np.int64)))
    assert found.tolist() == [[4, 2, 2, 1]] * 2


def test_classifiers() -> None:
    """Classes that lie apart are told apart, one that train has not is never predicted; one class alone is all."""
    pytest.importorskip("sklearn")
    labels = np.arange(60) % 3 * 2
    train, val = standardised(
        drawn(60, 4) + 9 * np.eye(5)[labels, :4], drawn(60, 4, seed=1) + 9 * np.eye(5)[labels, :4]
    )
    np.testing.assert_allclose(train.std(0), 1, atol=1e-3)
    for classifier in (predicted_by_means, predicted_linearly):
        np.testing.assert_array_equal(classifier(train, labels, val), labels)
        np.testing.assert_array_equal(classifier(train, labels * 0 + 5, val), labels * 0 + 5)


@pytest.mark.parametrize("encoding", ["triangle", "hard"])
def test_patches_see_what_pixels_do_not(encoding: str) -> None:
    """Stripes that lie anywhere are told apart by their patches; the same settings give the same errors."""
    pytest.importorskip("sklearn")
    settings = Settings(clusters=6, patches=300, side=3, stride=2, encoding=encoding)
    found = dict(baselines(stripes(120), stripes(60, seed=1), settings))
    assert list(found) == [
        "raw pixels, 6 clusters",
        f"whitened patches, 6 clusters, {encoding}, nearest class mean",
        f"whitened patches, 6 clusters, {encoding}, linear",
    ]
    assert {share.cases for share in found.values()} == {60}
    assert found[f"whitened patches, 6 clusters, {encoding}, linear"].value < 0.1
    assert found == dict(baselines(stripes(120), stripes(60, seed=1), settings))


@pytest.mark.parametrize(
    ("train", "val", "settings", "said"),
    [
        (stripes(4), stripes(4), SMALL, "6 clusters need as many images in stripes: there are 4"),
        (stripes(9), stripes(4), Settings(clusters=6, patches=5), "6 clusters need as many patches: there are 5"),
        (stripes(9), stripes(4), Settings(6, 99, side=10), "stripes: patches of 10 pixels are larger than the images"),
        (
            stripes(9),
            ImageSet(Path("other"), np.zeros((1, 1, 9, 9), np.uint8), np.zeros(1, np.int64)),
            SMALL,
            "other: its images are not of the size of those in stripes: 3x9x9 and 1x9x9",
        ),
    ],
)
def test_what_does_not_fit(train: ImageSet, val: ImageSet, settings: Settings, said: str) -> None:
    """Sets and settings that do not go together are refused in one sentence."""
    pytest.importorskip("sklearn")
    with pytest.raises(DataError) as error:
        list(baselines(train, val, settings))
    assert str(error.value) == said


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install without it gets one line, which names the extra."""
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(NetspecError) as error:
        list(baselines(stripes(9), stripes(4), SMALL))
    assert str(error.value) == "scikit-learn is not installed: pip install 'netspec[kmeans]'"


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[str], Path]:
    """The same six images of two classes in turn as a database, as a list and as a folder of classes."""
    images = stripes(6)
    records = (
        (b"%08d" % number, raw_datum(image, int(label)).SerializeToString())
        for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True))
    )
    write_lmdb(tmp_path / "lmdb", records)
    for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        (tmp_path / "folder" / f"class {label}").mkdir(parents=True, exist_ok=True)
        path = tmp_path / "folder" / f"class {label}" / f"{number}.png"
        Image.fromarray(np.ascontiguousarray(image[::-1].transpose(1, 2, 0))).save(path)
        with (tmp_path / "list").open("a") as file:
            file.write(f"{path} {label}\n")
    return lambda kind: tmp_path / kind


@pytest.mark.parametrize(("kind", "order"), [("lmdb", range(6)), ("list", range(6)), ("folder", (0, 2, 4, 1, 3, 5))])
def test_images_are_read(stored: Callable[[str], Path], kind: str, order: list[int]) -> None:
    """A set of each kind gives its images and classes in its order; the seed draws some of them, in that order."""
    found, wanted = open_images(stored(kind)), stripes(6)
    np.testing.assert_array_equal(found.images, wanted.images[list(order)])
    np.testing.assert_array_equal(found.labels, wanted.labels[list(order)])
    some = [open_images(stored(kind), 3, seed) for seed in (1, 1, 2)]
    assert [len(part) for part in some] == [3, 3, 3] and len(open_images(stored(kind), 99)) == 6
    np.testing.assert_array_equal(some[0].images, some[1].images)
    assert (some[0].images != some[2].images).any()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{folder}/0.png 0\n{folder}/small.png 1\n", "k-means needs images of bytes, of the size of the first one"),
        ("{folder}/0.png 0.5\n", "the label 0.5 is no number of a class"),
        ("{folder}/0.png -1\n", "the label -1 is no number of a class"),
        ("{folder}/none.png 1\n", "No such file or directory"),
    ],
)
def test_images_that_do_not_do(tmp_path: Path, content: str, said: str) -> None:
    """An image of another size, without a class or missing is named with its line."""
    for name, side in (("0", 4), ("small", 3)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    (tmp_path / "list").write_text(content.format(folder=tmp_path))
    with pytest.raises(DataError, match=rf"list: line \d .*{said}"):
        open_images(tmp_path / "list")


def test_images_without_labels(tmp_path: Path) -> None:
    """A folder of images alone has nothing to hold a class against."""
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"k-means needs one class an image; these have no labels$"):
        open_images(tmp_path)


def test_the_dictionary_is_of_the_seed() -> None:
    """The seed decides which patches are drawn."""
    pytest.importorskip("sklearn")
    made = [learn_dictionary(stripes(20), 4, 100, 3, 2, "hard", seed).centres for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()
