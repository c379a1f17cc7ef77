"""The predictions file, and the one of the counts that its classes are to have."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from netspec.data.captions import WNID
from netspec.errors import DataError
from netspec.files import read_whole, write_whole
from netspec.scores import Scores

_NUMBERED = re.compile(r"(\d{8})_(.+)")


def write_predictions(scores: Scores, path: str | Path) -> None:
    """Write one line an image, its file and its predicted class, as Tiny ImageNet takes submissions:
    `test_0.JPEG n01443537`. A file is its key without folders, and without the numbers that convert_imageset puts
    before its keys; a class its wnid where its name begins with one, else its name, else its number. DataError where
    two images have one name.
    """
    names = [PurePosixPath(key).name or key for key in _unnumbered(scores.keys)]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"{scores.origin}: two images are named {twice}: a predictions file cannot tell them apart")
    classes = _submitted(scores)
    lines = (f"{name} {classes[number]}\n" for name, number in zip(names, scores.predictions, strict=True))
    write_whole(Path(path), "".join(lines).encode(errors="surrogateescape"))


def read_counts(path: str | Path, scores: Scores) -> tuple[float, ...]:
    """The count of each class (C,) from a text with a line `CLASS COUNT` for each, where a class is as in a predictions
    file; a class without a name need not have one. DataError where a line is wrong or a class has none, SnapshotError
    where there is no such file."""
    classes = _submitted(scores)
    counts = {name: 0.0 if name == str(number) and scores.classes else math.nan for number, name in enumerate(classes)}
    known: set[str] = set()
    for place, line in enumerate(read_whole(Path(path)).decode(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        name, _, count = line.strip().replace("\t", " ").rpartition(" ")
        name = name.strip()
        if name in known:
            raise DataError(f"{path}:{place}: {name} has a count already")
        if name not in counts or not _is_count(count):
            raise DataError(f'{path}:{place}: "{line.strip()}" is no class of {scores.origin} and its count')
        counts[name] = float(count)
        known.add(name)
    if missing := [name for name, count in counts.items() if math.isnan(count)]:
        raise DataError(f"{path}: there is no count for {missing[0]}")
    return tuple(counts.values())


def _is_count(text: str) -> bool:
    try:
        return 0 <= float(text) < math.inf
    except ValueError:
        return False


def _unnumbered(keys: Sequence[str]) -> Sequence[str]:
    """The keys without their numbers where these count the images, as no dates in names of files do."""
    found = [match for key in keys if (match := _NUMBERED.fullmatch(key))]
    counts = sorted(int(match[1]) for match in found) == list(range(len(keys)))
    return [match[2] for match in found] if counts else keys


def _submitted(scores: Scores) -> list[str]:
    """What stands for each class in a predictions file."""
    names = scores.classes or [""] * scores.scores.shape[1]
    return [wnid[0] if (wnid := WNID.match(name)) else name or str(number) for number, name in enumerate(names)]
