"""The report of an ensemble: its members beside it, the difference that it makes, and what it predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from netspec.columns import aligned
from netspec.ensemble.paired import compare
from netspec.evaluation.hits import Share, accuracy, top_accuracy
from netspec.evaluation.names import class_words, titled
from netspec.scores import Scores

_SHOWN = 5
_INTERVAL = "95 % interval"


def report(members: Sequence[Scores], weights: Sequence[float], ensemble: Scores) -> str:
    """A table with a line for each member and one for the ensemble: with labels the accuracy and, of more
    than five classes, the top-5 accuracy, each with its 95 % interval; without, how often a member predicts what the
    ensemble does. Then the ensemble against the member with the highest accuracy, and how many images are predicted to
    be of each class; where classes have names, those without that nobody predicts are left out."""
    figures = _accuracies if ensemble.labels is not None else _agreement
    shares = [f"{weight:.3f}" for weight in weights] or [""] * len(members)
    rows = [("score file", "weight", *figures(None, ensemble))]
    rows += [(m.origin, share, *figures(m, ensemble)) for m, share in zip(members, shares, strict=True)]
    rows += [("ensemble", "", *figures(ensemble, ensemble))]
    lines = [*aligned(rows, right=range(1, len(rows[0])))]
    if ensemble.labels is not None:
        lines.append(_gain(members, ensemble))
    return "\n".join([*lines, *_counts(ensemble)])


def _accuracies(member: Scores | None, ensemble: Scores) -> tuple[str, ...]:
    """The cells of a member, or their titles."""
    tops = ensemble.scores.shape[1] > _SHOWN
    if member is None:
        return ("accuracy", _INTERVAL, f"top-{_SHOWN}", _INTERVAL)[: 2 + 2 * tops]
    return (*_cells(accuracy(member)), *(_cells(top_accuracy(member, _SHOWN)) if tops else ()))


def _cells(share: Share) -> tuple[str, str]:
    """A share and where it lies with 95 % confidence."""
    low, high = share.interval
    return f"{share.value:.4f}", f"{low:.4f} to {high:.4f}"


def _agreement(member: Scores | None, ensemble: Scores) -> tuple[str, ...]:
    if member is None:
        return ("as the ensemble",)
    return (f"{(member.predictions == ensemble.predictions).mean():.4f}",)


def _gain(members: Sequence[Scores], ensemble: Scores) -> str:
    best = max(members, key=lambda member: accuracy(member).hits)
    pairs = compare(ensemble, best)
    low, high = pairs.interval
    sure = f"{_INTERVAL} {low:+.4f} to {high:+.4f}"
    asked = f"McNemar: {pairs.won} images won and {pairs.lost} lost, p = {pairs.p_value:.2g}"
    return f"ensemble less {best.origin}: {pairs.difference:+.4f}, {sure} ({asked})"


def _counts(ensemble: Scores) -> Iterator[str]:
    counts = np.bincount(ensemble.predictions, minlength=ensemble.scores.shape[1])
    names = class_words(ensemble)
    named = [number for number, name in enumerate(names) if name not in ("", str(number))]
    known = {*(named or range(len(counts))), *np.flatnonzero(counts).tolist()}
    order = [number for number in np.argsort(-counts, kind="stable").tolist() if number in known]
    spread = f"{counts.min()} to {counts.max()} images each"
    yield f"predicted: {np.count_nonzero(counts)} of {len(counts)} classes, {spread}"
    for title, numbers in (("most", order[:_SHOWN]), ("fewest", order[: -_SHOWN - 1 : -1])):
        yield f"  {title}: " + ", ".join(f"{titled(number, names)} ({counts[number]})" for number in numbers)
