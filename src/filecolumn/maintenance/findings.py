"""What a check can find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ("CheckReport", "Finding", "FindingKind", "OnFinding", "RowReference")

EXAMPLES = 1000
"""Findings that a report keeps; all of them are given to the callback."""


class FindingKind(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    """A row refers to an object that is not there."""
    CORRUPT = "corrupt"
    """An object is not what its row says, or the row cannot be read."""
    FOREIGN = "foreign"
    """A row refers to what is not its own: an object of another row, or a storage its column does not read."""
    ORPHAN = "orphan"
    """An object that no row and no ledger knows; a sweep removes it."""
    LEDGER = "ledger"
    """The ledger says otherwise than the rows."""
    PLACE = "place"
    """A storage is not the one that the database knows under its name."""
    WITHHELD = "withheld"
    """Nothing is removed from a storage, because the database may be a copy or a restored one."""
    HIDDEN = "hidden"
    """A column that may hold keys cannot be read completely, so nothing is concluded from what is not found."""
    TRIGGERS = "triggers"
    """Triggers that were installed are not there any more."""
    UNREACHABLE = "unreachable"
    """A storage, or an object in it, could not be asked: nothing is known of it, and nothing is repaired there."""
    UNRECORDED = "unrecorded"
    """A row's object is not in the ledger: it was written without one, or is to be checked by the next
    drain. No fault."""


@dataclass(frozen=True, slots=True)
class RowReference:
    """A column of a row."""

    table: str
    """Name of the table, with its schema if it has one."""
    column: str
    """Name of the column in it."""
    primary_key: tuple[object, ...]
    """Values of the row's primary key, in the order of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong."""

    kind: FindingKind
    """What kind of thing."""
    detail: str
    """What exactly, in words."""
    storage: str | None = None
    """The key of the storage; None if the row cannot be read."""
    key: str | None = None
    """The object's key in it."""
    row: RowReference | None = None
    """The row that refers to it."""
    repaired: bool = False
    """Whether it has been put right, or will be by the next drain."""


OnFinding = Callable[[Finding], None]


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """What a check has seen and found."""

    files: int = 0
    """Files that rows refer to."""
    entries: int = 0
    """Keys in the ledger."""
    objects: int = 0
    """Objects in the storages."""
    counts: dict[FindingKind, int] = field(default_factory=lambda: dict.fromkeys(FindingKind, 0))
    """Findings, by kind."""
    repaired: int = 0
    """Findings that were put right."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first 1,000 findings."""

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        self.counts[finding.kind] += 1
        self.repaired += finding.repaired
        if len(self.findings) < EXAMPLES:
            self.findings.append(finding)

    @property
    def faults(self) -> int:
        """The number of findings that are faults."""
        return sum(self.counts.values()) - self.counts[FindingKind.UNRECORDED]

    @property
    def is_clean(self) -> bool:
        """Whether rows, ledger and storages agree."""
        return self.faults == 0

    def of(self, kind: FindingKind) -> list[Finding]:
        """Return the findings of a kind, of those that are kept."""
        return [finding for finding in self.findings if finding.kind is kind]
