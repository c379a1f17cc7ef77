"""Score files: what a net thinks of each image, for ensembles, evaluations and prediction files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.files import write_whole

KINDS = ("raw", "softmax")

_ZIP = b"PK"


@dataclass(frozen=True)
class Scores:
    """The scores (N, C) of N images for C classes, float32. `keys` name the images, as their set does; `labels` (N,),
    int64, are their right classes, None where these are unknown; `classes` are the names of the classes by number, or
    none. `kind` says whether each row is raw scores or a distribution (softmax); `origin` is how messages name it, and
    `net` a checksum of the weights that made them, where it is known. DataError where these do not fit together.
    """

    scores: NDArray[np.float32]
    keys: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    kind: str = "raw"
    origin: str = "scores"
    net: str = ""

    def __post_init__(self) -> None:
        if reason := self._reason():
            raise DataError(f"{self.origin}: {reason}")

    def _reason(self) -> str:
        """What does not fit; nothing where all does."""
        if self.scores.ndim != 2 or not self.scores.size:
            return f"scores are (images, classes), not {self.scores.shape}"
        images, classes = self.scores.shape
        if len(self.keys) != images:
            return f"{len(self.keys)} keys for the scores of {images} images"
        if self.labels is not None and self.labels.shape != (images,):
            return f"labels {self.labels.shape} for the scores of {images} images"
        if self.labels is not None and not ((self.labels >= 0) & (self.labels < classes)).all():
            return f"a label is none of the classes 0 to {classes - 1}"
        if self.classes and len(self.classes) != classes:
            return f"{len(self.classes)} names of classes for scores of {classes}"
        if self.kind not in KINDS:
            return f'kind "{self.kind}" is none of {", ".join(KINDS)}'
        if not np.isfinite(self.scores).all():
            row = int(np.flatnonzero(~np.isfinite(self.scores).all(1))[0])
            return f"the scores of {self.keys[row]} are no numbers"
        return ""

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the largest score of each image (N,), of equal ones the lowest."""
        best: NDArray[np.int64] = self.scores.argmax(1).astype(np.int64)
        return best

    def save(self, path: str | Path) -> None:
        """Write a score file (.npz), whole or not at all; SnapshotError where that fails."""
        arrays: dict[str, Any] = {
            "scores": self.scores,
            "keys": np.array(self.keys),
            "kind": np.array(self.kind),
            "net": np.array(self.net),
        }
        arrays |= {"classes": np.array(self.classes)} if self.classes else {}
        arrays |= {} if self.labels is None else {"labels": self.labels}
        content = BytesIO()
        np.savez_compressed(content, **arrays)
        write_whole(Path(path), content.getvalue())


def load_scores(path: str | Path) -> Scores:
    """Read a score file; DataError where there is none, or it is damaged."""
    try:
        written = Path(path).read_bytes()
        if not written.startswith(_ZIP):
            raise DataError(f"{path}: no score file of tools/score.py: it is no .npz file")
        with np.load(BytesIO(written), allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        return Scores(
            _numbers(content["scores"], "fiu").astype(np.float32),
            tuple(map(str, content["keys"])),
            _numbers(content["labels"], "iu").astype(np.int64) if "labels" in content else None,
            tuple(map(str, content.get("classes", ()))),
            str(content["kind"]),
            str(path),
            str(content.get("net", "")),
        )
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such score file") from None
    except KeyError as error:
        raise DataError(f"{path}: no score file of tools/score.py: it has no {error}") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: the score file cannot be read: {error}") from None


def _numbers(array: NDArray[Any], kinds: str) -> NDArray[Any]:
    if array.dtype.kind not in kinds:
        raise ValueError(f"{array.dtype} where it has {'whole numbers' if kinds == 'iu' else 'numbers'}")
    return array
