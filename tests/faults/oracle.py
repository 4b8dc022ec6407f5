"""What rows, ledger and folder say of each other, found out without the library's own check."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from filecolumn import FileObject
from filecolumn.maintenance import drain
from filecolumn.naming import RESERVED_FOLDER
from filecolumn.testing import assert_consistent
from tests.faults.due import make_due, sweep_all_now
from tests.scenarios.models import Base, Document, Item

SKEW = 10.0
"""Seconds that a file's time may be ahead of the database's."""


@dataclass
class Finding:
    """What is wrong, by the kind of fault."""

    missing: list[str] = field(default_factory=list)
    """Rows refer to them, and they are not there."""
    corrupt: list[str] = field(default_factory=list)
    """They are not what the row says."""
    shared: list[str] = field(default_factory=list)
    """Two rows refer to them."""
    orphans: list[str] = field(default_factory=list)
    """No row refers to them."""
    unrecorded: list[str] = field(default_factory=list)
    """Rows refer to them, and the ledger does not say so."""

    @property
    def nothing_is_lost(self) -> bool:
        return not (self.missing or self.corrupt or self.shared or self.unrecorded)


def put_right(engine: Engine, *, is_sole: bool = True) -> None:
    """Do what an operator would after a failure: take up what was left, sweep, and check.

    Where others store too, a check finds what nobody may remove.
    """
    for _ in range(2):
        make_due(engine)
        drain(engine, Base)
        sweep_all_now(engine, Base, grace=-SKEW)
    drain(engine, Base)
    if is_sole:
        assert_consistent(engine, Base, allow=())


def look(engine: Engine, folder: Path) -> Finding:
    """Compare everything with everything; nobody else may be at work."""
    finding = Finding()
    objects = {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and RESERVED_FOLDER not in path.parts
    }
    seen: set[str] = set()
    ledger = Base.metadata.tables["filecolumn_ledger"]
    with Session(engine) as session:
        live = set(session.scalars(select(ledger.c.key).where(ledger.c.state == 1)))
        for file in _files(session):
            key = file.path or ""
            if key in seen:
                finding.shared.append(key)
            if key not in live:
                finding.unrecorded.append(key)
            seen.add(key)
            if key not in objects:
                finding.missing.append(key)
            elif f"sha256:{hashlib.sha256(objects[key].read_bytes()).hexdigest()}" != file.checksum:
                finding.corrupt.append(key)
    finding.orphans.extend(objects.keys() - seen)
    return finding


def _files(session: Session) -> Iterator[FileObject]:
    for document in session.query(Document):
        yield from (file for file in (document.file, *document.pages) if file is not None)
    for item in session.query(Item):
        if item.file is not None:
            yield item.file
