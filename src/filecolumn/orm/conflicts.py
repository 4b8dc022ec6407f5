"""Whether a row's files are still those that the session saw."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import LoaderCallableStatus
from sqlalchemy.orm.state import InstanceState

from filecolumn.errors import ConcurrentFileChangeError, CorruptFileMetadataError
from filecolumn.file import FileObject
from filecolumn.lists import FileObjectList
from filecolumn.orm.attributes import FileAttribute, RowOwner, files_in
from filecolumn.orm.rows import HeldRow

__all__ = ("check_unchanged", "seen_files")


def check_unchanged(state: InstanceState[object], attribute: FileAttribute, row: HeldRow | None) -> None:
    """Raise ConcurrentFileChangeError if another transaction has changed the attribute or deleted the row."""
    if state.key is None:
        return
    try:
        files = seen_files(state, attribute.key)
        seen = None if files is None else [file._row_facts() for file in files]
        now = None if row is None else [file._known() for file in files_in(row[attribute.key])]
    except CorruptFileMetadataError:
        # what nobody can read cannot be compared; nothing will be deleted for it either
        return
    if seen is None or (not seen and now is None) or seen == now:
        return
    name = f"{state.class_.__name__}.{attribute.key}"
    what = "deleted the row" if now is None else "changed its files"
    raise ConcurrentFileChangeError(
        f"another transaction {what} first, so {name} is not written; roll back, load the row again and retry"
    )


def seen_files(state: InstanceState[object], key: str) -> Sequence[FileObject] | None:
    """Return the files that the session believes the row to hold; None if it never read it."""
    value: object = state.committed_state.get(key, state.dict.get(key, LoaderCallableStatus.NO_VALUE))
    if isinstance(value, LoaderCallableStatus):
        # changed in place, or set while it was not loaded: only a value that came from the row knows
        value = state.dict.get(key)
        if value is None or (isinstance(value, FileObject) and not _is_from(value, state, key)):
            return None
    match value:
        case FileObjectList():
            return value._row_files()
        case FileObject():
            return [value]
        case None:
            return []
        case _:
            return None


def _is_from(file: FileObject, state: InstanceState[object], key: str) -> bool:
    owner = file._owner
    return isinstance(owner, RowOwner) and owner.is_for(state, key)
