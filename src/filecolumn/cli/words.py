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
    "forgettable": "gone keys that the next drain forgets",
    "oldest_due_seconds": "seconds for which the oldest key has been due",
    "retried": "doomed keys that their storage refused to delete at least once",
    "most_attempts": "most refusals of one key",
    "stuck": "doomed keys that their storage refused 20 times or more, which takes about 17 hours",
    "restored": "doomed keys that a row referred to after all, so that they live again",
    "by_storage": "keys by storage, then by state",
    "by_column": "live keys by the file column that took them; under an empty name those of no known column",
    "quarantined": "keys that a sweep found without a row; they are deleted after the quarantine",
    "withheld": "doomed keys that stay because something is in doubt, by the reason",
    "places": "storages in which less may be removed or concluded, and why",
    "hidden": "file columns that cannot be read completely, and why; until then nothing that needs a look is deleted",
    "missing_triggers": "file columns whose triggers were installed, and are not all there",
}
COLUMN_STATUS: Mapping[str, str] = {
    "live": "keys",
    "live_bytes": "bytes of all of them",
    "unreferenced": "keys that a sweep found no row for",
    "unreferenced_bytes": "bytes of those",
    "unreferenced_since": "when the oldest of those was noted, in seconds since 1970",
    "is_judged": "whether a sweep can judge them",
}
DRAIN: Mapping[str, str] = {
    "deleted": "objects that were deleted, or found to be deleted",
    "refused": "objects that their storage did not delete; they are tried again at growing intervals",
    "restored": "keys that a row refers to after all; their objects stay",
    "withheld": "objects that stay because something is in doubt; the next drain asks again",
    "reasons": "objects withheld, by the reason",
    "purged": "keys that the ledger has forgotten, 7 days after their objects were deleted",
}
SWEEP: Mapping[str, str] = {
    "listed": "objects that the storages listed",
    "orphans": "objects that no row and no ledger knew",
    "returned": "objects that were deleted and are there again",
    "unreferenced": "live keys that no row refers to; they stay, unless --unreferenced asks for them",
    "by_column": "unreferenced keys by the file column that took them",
    "undated": "objects of unknown age, which are left alone",
    "claimed": "keys that a drain now deletes after the quarantine",
    "left": "suspects that were left alone: in use, referred to after all, or not to be claimed",
    "unfinished": "remains of interrupted uploads, which were deleted; a dry run only counts them",
    "pending": "keys and remains of uploads that a run would claim, note or delete; only in a dry run",
    "withheld": "storages about which nothing was concluded, and why; under an empty name all of them",
    "unreachable": "storages that did not answer and were left out, and why",
}
CHECK: Mapping[str, str] = {
    "files": "files that rows refer to",
    "entries": "keys in the ledger",
    "objects": "objects in the storages",
    "counts": "findings by kind",
    "repaired": "findings that were put right, or will be by the next drain",
}
COLUMN: Mapping[str, str] = {
    "name": "the file column: table.column, with the schema if that is not the ledger's",
    "live": "live keys that it took",
    "problem": "why it cannot be read completely; empty if it can",
}
FINDINGS: Mapping[FindingKind, str] = {
    FindingKind.MISSING: "a row refers to an object that is not there",
    FindingKind.CORRUPT: "the object is not what its row says, or the row cannot be read",
    FindingKind.FOREIGN: "a row refers to what is not its own",
    FindingKind.ORPHAN: "no row and no ledger knows the object",
    FindingKind.LEDGER: "the ledger says otherwise than the rows",
    FindingKind.PLACE: "the storage is not the one that the database knows",
    FindingKind.WITHHELD: "the database may be a copy or a restored one, so nothing is removed",
    FindingKind.HIDDEN: "a recorded column cannot be read",
    FindingKind.TRIGGERS: "triggers that were installed are gone",
    FindingKind.UNREACHABLE: "a storage, or an object in it, cannot be reached, so nothing is known of it",
    FindingKind.UNRECORDED: "a row from before the ledger, or one that the next drain looks up; no fault",
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
