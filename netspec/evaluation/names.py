"""What the classes of scores are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netspec.data.captions import in_short
from netspec.scores import Scores


def class_words(scores: Scores) -> tuple[str, ...]:
    """The names of the classes by number in short, without wnid where words follow it, and without further names;
    empty where the scores have none."""
    names = scores.classes or [""] * scores.scores.shape[1]
    return tuple(map(in_short, names))


def named(scores: Scores, known: Mapping[int, str]) -> Scores:
    """Scores with the names that are `known` of their classes by number, where they have none of their own."""
    count = scores.scores.shape[1]
    if scores.classes or not any(number < count for number in known):
        return scores
    return replace(scores, classes=tuple(known.get(number, "") for number in range(count)))


def titled(number: int, names: Sequence[str]) -> str:
    """A class by its number and its name, where it has one that is not its number."""
    name = names[number]
    return f"{number} {name}" if name not in ("", str(number)) else str(number)
