"""What the words of reports mean, with their units: for tables, for `--help` and for the documentation.

The names are those of the reports' fields, and the keys of their JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

from filecolumn.maintenance import (
    CheckReport,
    ColumnReport,
    ColumnStatus,
    DrainReport,
    FindingKind,
    StatusReport,
    SweepReport,
)

__all__ = ("FINDINGS", "WORDS", "explained", "spoken")

WIDTH = 76
"""Characters in a line of a help text."""

STATUS: Mapping[str, str] = {
    "live": "keys that rows own",
    "doomed": "keys whose objects are to be deleted, now or later",
    "due": "keys whose objects are to be deleted now",
    "gone": "keys whose objects are deleted; they are remembered for 7 days, so that nobody uses them again",
    "forgettable": "gone keys that the next drain forgets; commits forget a few at a time",
    "oldest_due_seconds": "seconds since the oldest due key became due",
    "retried": "doomed keys that their storage refused to delete at least once",
    "most_attempts": "most refusals of one key",
    "stuck": "doomed keys that their storage refused 20 times or more, which takes about 17 hours",
    "restored": "doomed keys that are live again, because a row still referenced them",
    "by_storage": "keys by storage, then by state",
    "by_column": "live keys by file column; an empty name stands for those of no known column",
    "quarantined": "keys that a sweep found without a row; they are deleted after the quarantine",
    "withheld": "doomed keys that are kept because of a doubt, by reason",
    "places": "storages with restrictions on deletions and sweeps, and why",
    "hidden": "file columns that cannot be read completely, and why; nothing that must be looked up in them is deleted",
    "missing_triggers": "file columns with triggers that are missing, or of an older release",
}
COLUMN_STATUS: Mapping[str, str] = {
    "live": "live keys",
    "live_bytes": "bytes of the objects of live keys",
    "unreferenced": "keys without a row, found by a sweep",
    "unreferenced_bytes": "bytes of the objects of unreferenced keys",
    "unreferenced_since": "when the oldest unreferenced key was noted, in seconds since 1970",
    "is_judged": "whether a sweep can judge them",
}
DRAIN: Mapping[str, str] = {
    "deleted": "objects that were deleted, or were already gone",
    "refused": "objects that their storage did not delete; they are retried at growing intervals",
    "restored": "keys that a row still references; their objects are kept",
    "withheld": "objects that are kept because of a doubt; the next drain asks again",
    "reasons": "objects withheld, by reason",
    "left": "keys that are still due, because time ran out or others had locked them; the next drain continues",
    "purged": "keys that the ledger forgot, 7 days after their objects were deleted",
}
SWEEP: Mapping[str, str] = {
    "listed": "objects that the storages listed",
    "orphans": "objects in neither a row nor the ledger",
    "returned": "objects that were deleted and have come back",
    "unreferenced": "live keys that no row references; they are kept unless --unreferenced is given",
    "by_column": "unreferenced keys by file column",
    "undated": "objects of unknown age, which are left alone",
    "claimed": "keys that a drain will delete after the quarantine",
    "left": "suspects that were not claimed: in use, referenced after all, or not allowed to be claimed",
    "unfinished": "remains of interrupted uploads, which were deleted; a dry run only counts them",
    "pending": "keys and remains of uploads that a run would claim, note or delete; only in a dry run",
    "withheld": "storages in which nothing was claimed, and why; an empty name stands for all of them",
    "unreachable": "storages that did not answer and were skipped, and why",
    "is_complete": "whether all storages were listed to their end; if not, the next sweep with --max-seconds continues",
}
CHECK: Mapping[str, str] = {
    "files": "files that rows reference",
    "entries": "keys in the ledger",
    "objects": "objects in the storages",
    "counts": "findings by kind",
    "repaired": "findings that were repaired, or will be by the next drain",
    "is_complete": "whether all objects were looked at; if not, the next check with --max-seconds continues",
}
COLUMN: Mapping[str, str] = {
    "name": "the file column: table.column, with the schema if that is not the ledger's",
    "live": "live keys of the column",
    "problem": "why it cannot be read completely; empty if it can",
}
FINDINGS: Mapping[FindingKind, str] = {
    FindingKind.MISSING: "a row references an object that is not there",
    FindingKind.CORRUPT: "the object is not what its row says, or the row cannot be read",
    FindingKind.FOREIGN: "a row references an object that is not its own",
    FindingKind.ORPHAN: "the object is in neither a row nor the ledger",
    FindingKind.LEDGER: "the ledger and the rows disagree",
    FindingKind.PLACE: "the storage is not the one that the database knows",
    FindingKind.WITHHELD: "the database may be a copy or restored, so nothing is deleted",
    FindingKind.HIDDEN: "a recorded column cannot be read",
    FindingKind.TRIGGERS: "installed triggers are missing, or of an older release",
    FindingKind.UNREACHABLE: "a storage or an object in it cannot be reached",
    FindingKind.UNRECORDED: "a row from before the ledger, or one that the next drain will look up; not a fault",
}
WORDS: Mapping[type, Mapping[str, str]] = {
    StatusReport: STATUS,
    ColumnStatus: COLUMN_STATUS,
    DrainReport: DRAIN,
    SweepReport: SWEEP,
    CheckReport: CHECK,
    ColumnReport: COLUMN,
}


def spoken(name: str) -> str:
    """Return a field's name as tables have it."""
    return name.replace("_", " ")


def explained(words: Mapping[str, str]) -> str:
    """Return words with what they mean, a line each, as a block of a help text."""
    width = max(map(len, words))
    lines = [
        line
        for name, meaning in words.items()
        for line in wrap(
            meaning, WIDTH, initial_indent=f"{spoken(name):<{width}}  ", subsequent_indent=" " * (width + 2)
        )
    ]
    return "\b\n" + "\n".join(lines)
