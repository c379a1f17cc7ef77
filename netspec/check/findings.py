"""What a check found in one file, as text and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from netspec.errors import SpecError

ERROR, TRAP, NOTE = "error", "trap", "note"
"""What would be refused; what runs but hardly means what was meant; what is good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing found. `place` has the sentence with file, line, column and hint; it is never raised."""

    severity: str
    place: SpecError

    def as_text(self, places: int = 1) -> str:
        """The severity and the sentence, for all the places where it holds; without line and column where it is about
        a file as a whole."""
        place = self.place
        lines = str(place).split("\n") if place.source_line else [f"{place.path}: {place.reason}", place.hint]
        if places > 1:
            lines[0] += f" (and at {counted(places - 1, 'more place')})"
        return f"{self.severity}: " + "\n".join(filter(None, lines))

    def as_data(self) -> dict[str, Any]:
        """The finding for JSON."""
        place = self.place
        return {
            "severity": self.severity, "line": place.line, "column": place.column, "message": place.reason,
            "hint": place.hint, "source_line": place.source_line,
        }  # fmt: skip


@dataclass
class Report:
    """One file: what it is, its older forms, whose fields it uses, its costs by phase, and what was found.

    `kind` is net, solver or weights; empty where the file cannot be read as any. `facts` are lines about what the file
    holds.
    """

    file: str
    kind: str = ""
    dialect: list[str] = field(default_factory=list)
    forks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)

    def add(self, severity: str, *places: SpecError) -> None:
        """Note findings of one severity."""
        self.findings += [Finding(severity, place) for place in places]

    @property
    def is_refused(self) -> bool:
        """Whether a run would refuse the file."""
        return any(finding.severity == ERROR for finding in self.findings)

    def ordered(self) -> list[Finding]:
        """The findings by their place in the file, then those about it as a whole; one that was found twice, in two
        phases say, once."""
        unique = {(f.place.line, f.place.column, f.place.reason): f for f in self.findings}
        return sorted(unique.values(), key=lambda f: (not f.place.source_line, f.place.line, f.place.column))

    def as_data(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "file": self.file, "kind": self.kind, "dialect": self.dialect, "forks": self.forks,
            "findings": [finding.as_data() for finding in self.ordered()], "sizes": self.sizes, "facts": self.facts,
        }  # fmt: skip

    def as_text(self) -> str:
        """The report for people: what the file is, then what was found, at the first of its places and with its line,
        then how much there is."""
        lines = [f"{self.file}: {', '.join([self.kind, *self.dialect])}"] if self.kind else []
        lines += [f"  from {fork}" for fork in self.forks]
        lines += [
            f"  {phase}: {size['parameters']:,} parameters, {size['multiply_adds']:,} multiply-adds for a batch"
            for phase, size in self.sizes.items()
        ]
        lines += [f"  {fact}" for fact in self.facts]
        alike: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.ordered():
            alike.setdefault((finding.severity, finding.place.reason), []).append(finding)
        lines += [found[0].as_text(len(found)) for found in alike.values()]
        return "\n".join([*lines, f"{self.file}: {_counts(self.ordered())}"])


def counted(number: int, what: str) -> str:
    """2, layer -> "2 layers"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _counts(findings: Iterable[Finding]) -> str:
    """Two errors, a note -> "2 errors, 1 note"."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(counted(counts[name], name) for name in (ERROR, TRAP, NOTE) if counts[name]) or "nothing found"
