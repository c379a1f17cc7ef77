"""What all data layers share: a position in a stream of batches, which one thread prepares in the background."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from netspec.data.batches import Batches, Tops
from netspec.data.crops import Windows
from netspec.data.damage import Watch
from netspec.data.labels import LabelRule
from netspec.layers.base import Shape
from netspec.layers.sources import Contents, Pending, SourceContext


class Feed:
    """Hands out the batches of one data layer, `prefetch` of them prepared ahead;
    `netspec.layers.sources.Source` says what its members mean.

    The class of a data layer type derives from it: it reads its message, opens its files (LayerError, DataError) and
    makes the batches. A change of one of `files` while batches are made is a DataError; the first of them names the
    feed in the log.
    """

    def __init__(
        self, batches: Batches[Any], prefetch: int, context: SourceContext, files: Sequence[Path] = ()
    ) -> None:
        self._batches, self._prefetch = batches, prefetch
        self._share = context.rank, context.ranks
        self._watch, self._origin = Watch(files), next(iter(files), None)
        self._sizes = [file.stat().st_size for file in files if file.is_file()]
        self.shapes: list[Shape] = batches.shapes
        self.epoch_size = batches.length
        self.wait_seconds = 0.0
        self._position = 0
        self._running: Iterator[Pending] | None = None
        self._stop: Callable[[], object] | None = None

    @property
    def contents(self) -> Contents:
        """What the set holds, known by the sizes of its files."""
        return Contents(self._origin, " ".join(map(str, self._sizes)))

    @property
    def position(self) -> int:
        """How many records all ranks together handed out, those prepared ahead not counted; setting it goes on from
        there."""
        return self._position

    @position.setter
    def position(self, records: int) -> None:
        self.close()
        self._position = records

    def prepare(self) -> None:
        """Do now what else is done for the first batch, in the background: decode a set that is kept decoded."""
        self._batches.prepare()

    def reseed(self, seed: int) -> None:
        """Go on from the same position with the draws of another seed."""
        self.close()
        self._batches.reseed(seed)

    def next(self) -> Tops:
        """The next batch, one tensor a top. What failed in the background is raised here."""
        return self.pending().tops()[: len(self.shapes)]

    def pending(self) -> Pending:
        """The next batch, of which the tops are still to be made; a top that nobody reads may be among them."""
        started = time.perf_counter()
        if self._running is None:
            several = self._batches.device.type == "cpu"  # where `start` cuts them
            loaded = self._watch.over(self._batches.after(self._position, *self._share, several=several))
            ahead, self._running = self._batches.start(loaded, self._prefetch, self._origin)
            # Also stops the thread when the feed is forgotten or the interpreter ends.
            self._stop = weakref.finalize(self, ahead.close)
        batch = next(self._running)
        self._position += self._batches.size * self._share[1]
        self.wait_seconds += time.perf_counter() - started
        return batch

    def once(self) -> Iterator[Tops]:
        """Every record exactly once, in order, the last batch short, of which each rank has its share; `position`
        stays as it is."""
        loaded = self._watch.over(self._batches.once(*self._share))
        ahead, batches = self._batches.start(loaded, self._prefetch, self._origin)
        try:
            for batch in batches:
                yield batch.tops()[: len(self.shapes)]
        finally:
            ahead.close()

    def keys(self) -> list[str]:
        """What names each record, in the order of `once`: the key in a database, the file in a list or below a folder,
        else a number."""
        return self._batches.keys()

    def cut(self, windows: Windows) -> None:
        """Cut these K windows out of every image from now on, in place of one: images are (N, K, C, h, w) then, though
        `shapes` stay. DataError where the records are no images."""
        self.close()
        self._batches.cut(windows)

    def check_labels(self, classes: int, ignore: int | None, layer: str, shares: bool = False) -> None:
        """DataError unless every label is in 0..classes-1, or `ignore`; `layer` is where the labels go. Several of a
        record must be `shares` where it takes those. Labels that are not all known yet are checked when they are
        read."""
        self._batches.check_labels(LabelRule(classes, ignore, layer, shares))

    def close(self) -> None:
        """Stop the thread; `next` starts it again."""
        if self._stop is not None:
            self._stop()
        self._stop = self._running = None
