"""The classes of the nets of a run: a number means the same class in all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netspec.errors import DataError
from netspec.net import Net


@dataclass(frozen=True)
class Labelled:
    """A data layer whose classes have names: its top of labels, the set's place, and the names by number."""

    top: str
    path: Path
    classes: tuple[str, ...]


def check_classes(train_net: Net, test_net: Net) -> None:
    """DataError where a test net has another number for a class than the train net, as folders give them that are not
    alike. A set whose classes have no names says nothing."""
    train = list(_labelled(train_net))
    for labelled in _labelled(test_net):
        if problem := other_number(train, labelled):
            raise DataError(problem)


def _labelled(net: Net) -> Iterator[Labelled]:
    for node, source in net.sources:
        contents = source.contents
        if len(node.tops) > 1 and contents.path is not None and contents.classes:
            yield Labelled(node.tops[1], contents.path, contents.classes)


def other_number(train: Sequence[Labelled], test: Labelled) -> str:
    """The first class of a test set that has another number in the train set of the same top, or in the only one; in
    words, nothing where there is none. Classes of the train set alone do not matter where the others' numbers stay."""
    alike = [one for one in train if one.top == test.top] or train[: len(train) == 1]
    for one in alike[:1]:
        numbers = {name: number for number, name in enumerate(one.classes)}
        for number, name in enumerate(test.classes):
            if numbers.get(name) != number:
                there = f"number {numbers[name]}" if name in numbers else "no class"
                counts = f"{len(test.classes)} and {len(one.classes)} classes"
                return f"{test.path}: the class {name} is number {number} here, but {there} in {one.path} ({counts})"
    return ""
