"""The data of the benchmark: a set that it makes itself, and a DataLoader that reads image files of the same set."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from netspec import DataError
from netspec.data import LmdbStore, compute_mean, write_lmdb, write_mean
from netspec.data.datum import decode, encoded_datum

SIDE = 64  # pixels
IMAGES = 2000
FILES = 4000


def make_set(folder: Path, classes: int) -> None:
    """Write train_lmdb and mean.binaryproto: JPEGs of about 2 kB, as photographs of that size are."""
    random = np.random.default_rng(0)
    datums = [encoded_datum(_jpeg(random), label=index % classes) for index in range(IMAGES)]
    write_lmdb(folder / "train_lmdb", ((b"%08d" % i, d.SerializeToString()) for i, d in enumerate(datums)))
    write_mean(folder / "mean.binaryproto", compute_mean(map(decode, datums)))


def _jpeg(random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    noise = Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8))
    noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
    return file.getvalue()


def write_files(store: LmdbStore, folder: Path) -> None:
    """Write the images of a set, or its first few thousand, as files; DataError where they are not encoded."""
    for index in range(min(len(store), FILES)):
        datum = store.read(index)
        if not datum.encoded:
            raise DataError(f"{store.where(index)}: the image is not encoded; the benchmark compares decoders")
        (folder / f"{index:06d}_{datum.label}").write_bytes(datum.data)


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """The files of a folder, decoded by Pillow and transformed by torchvision each time; a name ends in _LABEL."""

    def __init__(self, folder: Path, crop: int, mean: Sequence[float]) -> None:
        self._paths = sorted(folder.iterdir())
        self._transform = transforms.Compose(
            [transforms.RandomCrop(crop), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        )
        self._mean = torch.tensor(mean)[:, None, None]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self._paths[index]
        with Image.open(path) as image:
            pixels: Tensor = self._transform(image.convert("RGB"))
        return pixels - self._mean, int(path.name.rpartition("_")[2])


def open_loader(images: ImageFolder, batch: int, device: str) -> Iterator[list[Tensor]]:
    """Shuffled batches from two worker processes, without the pause that an epoch's end would bring."""
    sampler = RandomSampler(images, num_samples=1 << 40)
    return iter(DataLoader(images, batch, sampler=sampler, num_workers=2, pin_memory=device != "cpu"))
