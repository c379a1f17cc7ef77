"""What is known of an ensemble before it sees the scores that it combines, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from netspec.ensemble.align import check_net
from netspec.ensemble.rule import Rule, check_weights, combine
from netspec.ensemble.votes import Counts, dawid_skene, naive_bayes
from netspec.errors import DataError
from netspec.files import read_whole, write_whole
from netspec.scores import Scores


@dataclass(frozen=True)
class Recipe:
    """The rule by which members are combined, their names, their weights where the rule has them (made to have the sum
    1), their confusion matrices on labelled images (members, C, C; a row a label) where it takes these, and the
    checksums of their nets where these are known. DataError where these do not fit together.
    """

    rule: Rule
    names: tuple[str, ...]
    weights: tuple[float, ...] = ()
    confusions: Counts | None = None
    nets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rule.weighs:
            object.__setattr__(self, "weights", check_weights(self.weights, len(self.names)))
        elif self.weights:
            raise DataError(f"{self.rule.method} takes no weights: it learns how good each net is")
        if self.rule.method == "naive-bayes" and self.confusions is None:
            raise DataError("naive-bayes needs the confusion matrix of each net")
        shape = np.shape(() if self.confusions is None else self.confusions)
        if self.confusions is not None and (len(shape) != 3 or shape[0] != len(self.names) or shape[1] != shape[2]):
            raise DataError(f"confusion matrices {shape} for {len(self.names)} nets")

    def combined(self, members: Sequence[Scores]) -> Scores:
        """The ensemble's scores of the images of aligned members; DataError where there are more or fewer of these, or
        they have other classes."""
        if len(members) != len(self.names):
            raise DataError(f"{len(members)} score files, but the recipe is for {len(self.names)}: {self._listed()}")
        for net, member in zip(self.nets, members, strict=False):
            check_net(net, member)
        if self.rule.weighs:
            return combine(members, self.weights, self.rule)
        classes, known = members[0].scores.shape[1], self.confusions
        if known is not None and known.shape[1] != classes:
            raise DataError(f"{members[0].origin}: {classes} classes, but the recipe is for {known.shape[1]}")
        if self.rule.method == "dawid-skene":
            return dawid_skene(members, known, self.rule.smoothing)[0]
        return naive_bayes(members, np.asarray(known), self.rule.smoothing)

    def chosen(self) -> Recipe:
        """The recipe without the members that have no weight."""
        if not self.rule.weighs:
            return self
        names, weights, nets = compress(self.names, self.weights), filter(None, self.weights), self.nets
        return replace(self, names=tuple(names), weights=tuple(weights), nets=tuple(compress(nets, self.weights)))

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON, whole or not at all; SnapshotError where that fails."""
        content: dict[str, Any] = {"score_files": self.names, "nets": self.nets, **asdict(self.rule)}
        content["weights"] = self.weights
        if self.confusions is not None:
            content["confusions"] = self.confusions.tolist()
        write_whole(Path(path), (json.dumps(content) + "\n").encode())

    def _listed(self) -> str:
        return ", ".join(self.names)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe; DataError where its file is none, SnapshotError where there is no file."""
    try:
        content = json.loads(read_whole(Path(path)))
        rule = Rule(**{field.name: content[field.name] for field in fields(Rule)})
        confusions = np.array(content["confusions"], np.int64) if "confusions" in content else None
        names, nets = (tuple(map(str, files)) for files in (content["score_files"], content.get("nets", ())))
        return Recipe(rule, names, tuple(map(float, content["weights"])), confusions, nets)
    except KeyError as error:
        raise DataError(f"{path}: no recipe of tools/ensemble.py: it has no {error}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: the recipe cannot be read: {error}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
