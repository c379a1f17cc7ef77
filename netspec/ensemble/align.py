"""Scores of the same images by several nets, brought into one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.scores import Scores


def align(members: Sequence[Scores]) -> list[Scores]:
    """The members of an ensemble, all with the first one's order of images, and each with the labels and the names of
    classes that any of them has. DataError where they are not of the same images and classes, which names the files
    and the first difference.
    """
    named = next((member for member in members if member.classes), members[0])
    for member in members:
        check_classes(named, member)
    in_order = [_in_order_of(members[0], member) for member in members]
    labelled = next((member for member in in_order if member.labels is not None), in_order[0])
    for member in in_order:
        _check_labels(labelled, member)
    return [replace(member, labels=labelled.labels, classes=named.classes) for member in in_order]


def part(member: Scores, images: NDArray[np.int64]) -> Scores:
    """The scores of some images, by their numbers, in the order of these."""
    labels = None if member.labels is None else member.labels[images]
    return replace(member, scores=member.scores[images], keys=tuple(member.keys[i] for i in images), labels=labels)


def check_classes(first: Scores, other: Scores) -> None:
    """DataError where the scores are not for the same classes; names that one of them lacks may be any."""
    count, own = first.scores.shape[1], other.scores.shape[1]
    if own != count:
        raise DataError(f"{other.origin}: scores for {own} classes, but {first.origin} has them for {count}")
    if first.classes and other.classes and first.classes != other.classes:
        pairs = enumerate(zip(other.classes, first.classes, strict=True))
        number, name, wanted = next((number, *pair) for number, pair in pairs if pair[0] != pair[1])
        raise DataError(f'{other.origin}: class {number} is "{name}", but in {first.origin} it is "{wanted}"')


def check_net(net: str, member: Scores) -> None:
    """DataError where scores are known to be of other weights than the net that stands in their place."""
    if net and member.net and net != member.net:
        reason = "these scores are of other weights than what was learned in their place"
        raise DataError(f"{member.origin}: {reason}: give the files of the same nets in the same order")


def _in_order_of(first: Scores, other: Scores) -> Scores:
    if first.keys == other.keys:
        return other
    for one, two in ((first, other), (other, first)):
        there = set(two.keys)
        if missing := [key for key in one.keys if key not in there]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(f"{two.origin}: no scores of {missing[0]}{more}, which {one.origin} has")
    for member in (first, other):
        key, times = Counter(member.keys).most_common(1)[0]
        if times > 1:
            raise DataError(f"{member.origin}: {key} is there {times} times, so its order of images is not known")
    places = {key: place for place, key in enumerate(other.keys)}
    return part(other, np.array([places[key] for key in first.keys]))


def _check_labels(labelled: Scores, member: Scores) -> None:
    if labelled.labels is None or member.labels is None or (labelled.labels == member.labels).all():
        return
    image = int(np.flatnonzero(labelled.labels != member.labels)[0])
    labels = f"{member.labels[image]}, but {labelled.labels[image]} in {labelled.origin}"
    raise DataError(f"{member.origin}: the label of {member.keys[image]} is {labels}")
