"""Two nets compared on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netspec.ensemble.align import align
from netspec.evaluation.hits import DEVIATIONS, labels_of
from netspec.scores import Scores


@dataclass(frozen=True)
class Paired:
    """Of so many cases, those that only the first is right in (`won`), and those that only the second is."""

    won: int
    lost: int
    cases: int

    @property
    def difference(self) -> float:
        """The first's accuracy less the second's."""
        return (self.won - self.lost) / self.cases

    @property
    def interval(self) -> tuple[float, float]:
        """Where the difference lies with 95 % confidence: Wald's interval for pairs with half a case more in each of
        the four cells (Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
        2005)."""
        cases, differing = self.cases + 2, self.won + self.lost + 1
        centre = (self.won - self.lost) / cases
        reach = DEVIATIONS * math.sqrt(differing / cases - centre**2) / math.sqrt(cases)
        return max(-1.0, centre - reach), min(1.0, centre + reach)

    @property
    def p_value(self) -> float:
        """How likely such a difference or a larger one is of two that are equally good: McNemar's test (1947), exact
        and two-sided, which asks only the images that one of them is right in."""
        differing, fewer = self.won + self.lost, min(self.won, self.lost)
        ways, total = 1, 0
        for place in range(fewer + 1):
            total += ways
            ways = ways * (differing - place) // (place + 1)
        return min(1.0, float(2 * total / 2**differing))


def compare(first: Scores, second: Scores) -> Paired:
    """How much better the first's predictions are than the second's; DataError where there are no labels."""
    first, second = align([first, second])
    right, other = (scores.predictions == labels_of(scores) for scores in (first, second))
    return Paired(int((right & ~other).sum()), int((other & ~right).sum()), len(right))
