"""Scores that are written by hand, or planted so that one knows what is in them."""

from collections.abc import Sequence

import numpy as np

from netspec.scores import Scores

Rows = Sequence[Sequence[float]] | np.ndarray


def scores(
    rows: Rows, labels: Sequence[int] | None = None, kind: str = "softmax", name: str = "a.npz", **others: object
) -> Scores:
    """Scores of images `0.png`, `1.png` and so on."""
    values = np.asarray(rows, np.float32)
    keys = tuple(f"{number}.png" for number in range(len(values)))
    given = {"keys": keys, "origin": name, "kind": kind, **others}
    return Scores(values, labels=None if labels is None else np.asarray(labels, np.int64), **given)  # type: ignore[arg-type]


def nets(
    strengths: Sequence[float], images: int = 400, classes: int = 10, seed: int = 0, labelled: bool = True
) -> list[Scores]:
    """Raw scores: noise of deviation 1, and so much more at the label for each net, which is sure of itself; a net of
    strength 0 knows nothing."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(images) % classes)
    made = []
    for number, strength in enumerate(strengths):
        values = random.normal(size=(images, classes))
        values[np.arange(images), labels] += strength
        made.append(scores(3 * values, labels if labelled else None, "raw", f"net{number}.npz"))
    return made


def votes(confusions: np.ndarray, labels: np.ndarray, seed: int = 0, labelled: bool = True) -> list[Scores]:
    """The predictions of nets with these confusion matrices (nets, C, C), each sure of one class."""
    random = np.random.default_rng(seed)
    made = []
    for number, matrix in enumerate(confusions):
        picks = np.array([random.choice(len(matrix), p=matrix[label]) for label in labels])
        made.append(scores(np.eye(len(matrix))[picks], labels if labelled else None, name=f"net{number}.npz"))
    return made
