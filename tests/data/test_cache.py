"""Decoded sets in files: found again, whole, and nothing beside them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from netspec.data.cache import cache_file, open_set, remove_abandoned, write_set

SHAPE = (6, 3, 4, 5)


@pytest.fixture
def path():
    return cache_file("a set")


@pytest.fixture
def images(pixels):
    return pixels(*SHAPE)


def written(path, key, parts):
    write_set(path, key, SHAPE, np.dtype(np.uint8), (), parts)


def test_a_key_of_any_length(path, images):
    """A set is found by its key, however long, and by no other."""
    key = "a record that was left out " * 1000
    written(path, key, [(images, np.arange(6.0))])
    found, labels = open_set(path, key)
    np.testing.assert_array_equal(found, images)
    assert labels.tolist() == list(range(6))
    assert open_set(path, key + "!") is None


def test_what_a_killed_process_left_is_removed(path, cache_folder):
    """Of any set; the set itself stays."""
    cache_folder.mkdir()
    left = [cache_folder / f".{name}.images.{number}.tmp" for name, number in (("one", 17), ("other", "beef"))]
    for file in (path, *left):
        file.write_bytes(b"part")
    remove_abandoned(cache_folder)
    assert list(cache_folder.iterdir()) == [path]


def test_what_is_being_written_stays(path, images, cache_folder):
    """A file that a thread still writes is not taken for one that was left, nor one that was just made."""

    def parts():
        yield images[:3], np.arange(3.0)
        (cache_folder / ".new.images.0.tmp").touch()
        remove_abandoned(cache_folder)
        yield images[3:], np.arange(3.0, 6)

    written(path, "key", parts())
    np.testing.assert_array_equal(open_set(path, "key")[0], images)
    assert (cache_folder / ".new.images.0.tmp").exists()


def test_two_threads_write_two_files(path, images):
    """Writers of one set at the same time do not write into each other's file."""
    together = Barrier(2)

    def write(first):
        def parts():
            for place in range(6):
                together.wait(10)
                yield images[place : place + 1] ^ np.uint8(first), np.full(1, float(first))

        written(path, "key", parts())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (0, 255)))
    found, labels = open_set(path, "key")
    assert len(set(labels)) == 1
    np.testing.assert_array_equal(found, images ^ np.uint8(labels[0]))
