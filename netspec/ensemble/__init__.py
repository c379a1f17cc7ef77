"""Several nets' scores of the same images made into one: sums, means, merging by confusion matrices, balancing."""

from netspec.ensemble.align import align
from netspec.ensemble.balance import balance
from netspec.ensemble.learning import WEIGHTS_BY, Learner, check_validation
from netspec.ensemble.paired import Paired, compare
from netspec.ensemble.predictions import read_counts, write_predictions
from netspec.ensemble.recipe import Recipe, load_recipe
from netspec.ensemble.report import report
from netspec.ensemble.rule import METHODS, Rule, combine
from netspec.ensemble.votes import dawid_skene, naive_bayes

__all__ = [
    "METHODS",
    "WEIGHTS_BY",
    "Learner",
    "Paired",
    "Recipe",
    "Rule",
    "align",
    "balance",
    "check_validation",
    "combine",
    "compare",
    "dawid_skene",
    "load_recipe",
    "naive_bayes",
    "read_counts",
    "report",
    "write_predictions",
]
