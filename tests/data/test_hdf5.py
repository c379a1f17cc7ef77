"""The HDF5Data layer: rows of datasets over several files."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch

from netspec.errors import DataError
from netspec.layers.base import LayerError

ROWS = (4, 1, 6)
COUNT = sum(ROWS)


def write(path, rows, first=0, **more):
    """A file of rows numbered from `first`: data (rows, 2, 3), label (rows) and what else is given."""
    numbers = np.arange(first, first + rows)
    data = {"data": numbers[:, None, None] + np.zeros((1, 2, 3)), "label": numbers % 5, **more}
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name] = values
    return path


@pytest.fixture
def listed(tmp_path):
    """Three files whose rows are numbered through, in a list; its path."""
    firsts = np.cumsum((0, *ROWS))
    files = [write(tmp_path / f"{i}.h5", rows, firsts[i]) for i, rows in enumerate(ROWS)]
    (tmp_path / "list.txt").write_text("".join(f"{file}\n" for file in files))
    return tmp_path / "list.txt"


def text(path, fields="batch_size: 3", tops=("data", "label"), rest=""):
    named = " ".join(f'top: "{top}"' for top in tops)
    return f'type: "HDF5Data" {named} hdf5_data_param {{ source: "{path}" {fields} }} {rest}'


def drawn(source, batches):
    """The numbers of the rows handed out."""
    return torch.cat([source.next()[0][:, 0, 0] for _ in range(batches)]).int().tolist()


def test_batches_go_on_from_file_to_file(opened, listed):
    """Each top is the dataset of its name as float32; rows follow each other over all files and wrap round."""
    source = opened(text(listed, tops=("label", "data")))
    assert source.shapes == [(3,), (3, 2, 3)]
    assert source.epoch_size == COUNT
    tops = [source.next() for _ in range(5)]
    assert all(top.dtype == torch.float32 for batch in tops for top in batch)
    assert torch.cat([data for _, data in tops])[:, 1, 2].tolist() == [i % COUNT for i in range(15)]
    assert torch.cat([label for label, _ in tops]).tolist() == [i % COUNT % 5 for i in range(15)]


def test_shuffled_epochs(opened, listed):
    """Each shuffled epoch has every row once, file after file, and an order of its own of both."""
    rows = drawn(opened(text(listed, "batch_size: 11 shuffle: true")), 12)
    epochs = [rows[i : i + COUNT] for i in range(0, len(rows), COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 12
    files = np.repeat(range(3), ROWS).tolist()
    orders = {tuple(dict.fromkeys(files[row] for row in epoch)) for epoch in epochs}
    assert all(len(order) == 3 for order in orders)
    assert len(orders) > 2
    for epoch in epochs:
        assert sum(files[a] != files[b] for a, b in pairwise(epoch)) == 2


def test_several_tops_are_shuffled_alike(opened, listed, tmp_path):
    """With any number of tops, of any kind of number, the rows of all come together in every order."""
    for index, (rows, first) in enumerate(zip(ROWS, (0, 4, 5), strict=True)):
        numbers = np.arange(first, first + rows)
        box = np.stack([numbers, -numbers], 1).astype(np.int16)
        write(tmp_path / f"{index}.h5", rows, first, box=box, weight=numbers / 4)
    source = opened(text(listed, "batch_size: 4 shuffle: true", ("box", "weight", "data")))
    assert source.shapes == [(4, 2), (4,), (4, 2, 3)]
    source.check_labels(1, None, "loss")  # of three tops none is known for labels
    for _ in range(6):
        box, weight, data = source.next()
        assert box.dtype == weight.dtype == torch.float32
        assert box.tolist() == [[4 * number, -4 * number] for number in weight.tolist()]
        assert torch.equal(data[:, 1, 1], box[:, 0])


def test_labels_are_checked(opened, listed, tmp_path):
    """A label of no class is named with its file and row when its file is read."""
    source = opened(text(listed))
    source.check_labels(4, None, "loss")
    assert drawn(source, 1) == [0, 1, 2]
    with pytest.raises(DataError, match=r"1.h5: row 0 has the label 4, but layer 'loss' knows 0 to 3 \(1 such"):
        drawn(source, 1)


def cut(path):
    path.write_bytes(path.read_bytes()[:-400])


def corrupt(path):
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(600) + data[700:])


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (cut, "1.h5 cannot be read as HDF5: .*truncated"),
        (corrupt, "1.h5 "),
        (lambda path: path.write_text("no HDF5"), "1.h5 cannot be read as HDF5"),
        (lambda path: path.unlink(), "1.h5 cannot be read as HDF5: .*No such file"),
        (lambda path: write(path, 2, label=np.zeros(3)), '1.h5: the dataset "label" has 3 rows, "data" has 2'),
        (lambda path: write(path, 2, data=np.zeros((2, 5))), r'a row of the dataset "data" is \(5,\), in .*0.h5 it is'),
        (lambda path: write(path, 2, label=["a", "b"]), '"label" must hold rows of numbers, not object'),
        (lambda path: write(path, 2, label=3), r'"label" must hold rows of numbers, not int64 of the shape \(\)'),
        (lambda path: write(path, 0), r'"data" must hold rows of numbers, not float64 of the shape \(0, 2, 3\)'),
    ],
)
def test_a_wrong_file(damage, cause, opened, listed, tmp_path):
    """A file that is damaged, missing or unlike the others is refused by name, with the dataset, before the start."""
    damage(tmp_path / "1.h5")
    with pytest.raises(DataError, match=cause):
        opened(text(listed))


def test_a_missing_dataset(opened, listed):
    """A top that is no dataset is named with what the file has."""
    with pytest.raises(DataError, match=r'0.h5 has no dataset "labels"; it has data, label'):
        opened(text(listed, tops=("data", "labels")))


def test_files_are_found_where_the_text_says(opened, listed, tmp_path):
    """Relative names go through `find`; one that is not there is named with its line."""
    (tmp_path / "names").write_text("0.h5\nnone.h5\n")

    def find(name):
        if not (tmp_path / name).exists():
            raise LayerError(f'"{name}" is not there')
        return tmp_path / name

    with pytest.raises(DataError, match=r'names: line 2: "none.h5" is not there'):
        opened(text("names"), find=find)


@pytest.mark.parametrize(
    ("wrong", "field", "cause"),
    [
        (text("", tops=("data",)), ("hdf5_data_param", "source"), "source is missing"),
        (text("list", ""), ("hdf5_data_param", "batch_size"), "missing or 0"),
        (text("list", tops=()), ("top",), "needs a top"),
        (text("list", rest="transform_param { scale: 2 }"), ("transform_param",), "does not transform"),
    ],
)
def test_a_wrong_message(wrong, field, cause, opened):
    """A message that makes no sense is refused with the guilty field."""
    with pytest.raises(LayerError, match=cause) as caught:
        opened(wrong)
    assert caught.value.field == field
