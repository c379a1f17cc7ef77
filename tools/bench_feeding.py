"""The measurements of data alone: netspec's data layer and a DataLoader in one process, in rounds that alternate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from bench_data import ImageFolder, open_loader
from bench_rounds import Result, Settings, judged, now
from google.protobuf import text_format

from netspec.data import Data, read_mean
from netspec.layers.sources import SourceContext
from netspec.schema.netspec_pb2 import TRAIN, LayerParameter

CROP = 56

ON_A_GPU = 2_000_000
"""The mark of feeding there, in images/s."""

_UNTIMED = 8  # batches: what both sides prepare ahead, and more


def measure_first_epoch(data: Path, files: Path, settings: Settings) -> Result:
    """The speed of the first epoch of a set that was never read: every image decoded, kept, and handed out."""
    means = _means(data)

    def first_epoch() -> float:
        with new_cache():
            started = time.perf_counter()
            source = _open(data, means, settings)
            batches = -(-source.epoch_size // settings.batch)
            for _ in range(batches):
                source.next()
            seconds = time.perf_counter() - started
            source.close()
        return batches * settings.batch / seconds

    return _compare("first epoch", _loader(files, means, settings), first_epoch, settings, 2.5)


def measure_feeding(data: Path, files: Path, settings: Settings) -> Result:
    """The speed of the epochs after the first one."""
    means = _means(data)
    with new_cache():
        source = _open(data, means, settings)
        source.next()

        def next_epochs() -> float:
            rate = _rate(source.next, settings)
            source.close()
            return rate

        if settings.kind == "cuda":
            return _share_of_mark(next_epochs, settings)
        return _compare("next epochs", _loader(files, means, settings), next_epochs, settings, 12)


@contextmanager
def new_cache() -> Iterator[None]:
    """Keep decoded sets in a folder that is empty at first and goes in the end."""
    before = os.environ.get("NETSPEC_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["NETSPEC_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["NETSPEC_CACHE"]
            if before is not None:
                os.environ["NETSPEC_CACHE"] = before


def _means(data: Path) -> list[float]:
    """The mean of each channel, BGR."""
    means: list[float] = read_mean(data / "mean.binaryproto").mean((1, 2)).tolist()
    return means


def _open(data: Path, means: list[float], settings: Settings) -> Data:
    """netspec's side: the layer as a net file has it."""
    param = LayerParameter(name="data", type="Data", top=["data", "label"])
    param.data_param.source, param.data_param.batch_size = str(data / "train_lmdb"), settings.batch
    text_format.Parse("backend: LMDB shuffle: true", param.data_param)
    text_format.Parse(f"crop_size: {CROP} mirror: true mean_value: {means}", param.transform_param)
    return Data(param, SourceContext(TRAIN, device=torch.device(settings.device)))


def _loader(files: Path, means: list[float], settings: Settings) -> Callable[[], float]:
    """The other side, which reads its files anew in every epoch."""
    images = ImageFolder(files, CROP, means[::-1])

    def loader() -> float:
        return _rate(partial(next, open_loader(images, settings.batch, "cpu")), settings)

    return loader


def _rate(step: Callable[[], object], settings: Settings) -> float:
    """Images/s over about `settings.seconds`, after a few batches."""
    for _ in range(_UNTIMED):
        step()
    batches, started = 0, now(settings.device)
    while time.perf_counter() - started < settings.seconds:
        step()
        batches += 1
    return batches * settings.batch / (now(settings.device) - started)


def _share_of_mark(ours: Callable[[], float], settings: Settings) -> Result:
    """The speed on a GPU, which is held against images/s: no DataLoader comes near."""
    speeds = [ours() for _ in range(settings.rounds)]
    shares = [speed / ON_A_GPU for speed in speeds]
    return judged("data", f"next epochs / {ON_A_GPU:,} images/s", shares, 1, netspec=median(speeds))


def _compare(
    what: str, by_hand: Callable[[], float], ours: Callable[[], float], settings: Settings, mark: float
) -> Result:
    """Both sides in turn, round by round; the value is the ratio of their speeds."""
    rounds = [(by_hand(), ours()) for _ in range(settings.rounds)]
    ratios = [own / theirs for theirs, own in rounds]
    theirs, own = (median(column) for column in zip(*rounds, strict=True))
    return judged("data", what, ratios, mark, theirs, own)
