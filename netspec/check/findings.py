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

    @property
    def key(self) -> tuple[int, int, str]:
        """What two findings of the same thing, in two phases say, have in common; sorts by place."""
        return self.place.line, self.place.column, self.place.reason

    def __str__(self) -> str:
        """The severity and the sentence; without line and column where it is about a file as a whole."""
        place = self.place
        return f"{self.severity}: {place if place.source_line else f'{place.path}: {place.reason}'}"

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

    `facts` are lines about what the file holds.
    """

    file: str
    kind: str
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
        """The findings by their place in the file, each once."""
        unique = {finding.key: finding for finding in self.findings}
        return [unique[key] for key in sorted(unique)]

    def as_data(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "file": self.file, "kind": self.kind, "dialect": self.dialect, "forks": self.forks,
            "findings": [finding.as_data() for finding in self.ordered()], "sizes": self.sizes, "facts": self.facts,
        }  # fmt: skip

    def as_text(self) -> str:
        """The report for people: what the file is, then each finding with its line, then how many there are."""
        lines = [f"{self.file}: {self.kind}{', ' if self.dialect else ''}{', '.join(self.dialect)}"]
        lines += [f"  from {fork}" for fork in self.forks]
        lines += [
            f"  {phase}: {size['parameters']:,} parameters, {size['multiply_adds']:,} multiply-adds for a batch"
            for phase, size in self.sizes.items()
        ]
        lines += [f"  {fact}" for fact in self.facts]
        lines += map(str, self.ordered())
        return "\n".join([*lines, f"{self.file}: {_counts(self.ordered())}"])


def _counts(findings: Iterable[Finding]) -> str:
    """Two errors, a note -> "2 errors, 1 note"."""
    counts = Counter(finding.severity for finding in findings)
    shown = [f"{counts[name]} {name}{'s' if counts[name] > 1 else ''}" for name in (ERROR, TRAP, NOTE) if counts[name]]
    return ", ".join(shown) or "nothing found"
