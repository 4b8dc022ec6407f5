"""filecolumn, with its ledger; maintenance is its sweep and its drain, without their waiting times."""

from __future__ import annotations

from sqlalchemy import select

from benchmarks.behaviour.base import OfSQLAlchemy
from benchmarks.contenders.ours import Ours
from benchmarks.models import table_of
from filecolumn import FileObject
from filecolumn.maintenance import drain, sweep


class Filecolumn(OfSQLAlchemy):
    name = "filecolumn"
    package = "filecolumn"
    contender = Ours
    is_async = True

    def named(self, content: bytes, name: str) -> object:
        return FileObject(name, content=content)

    def read(self, file: FileObject) -> bytes:
        return file.get_content()

    def maintain(self) -> bool:
        # a sweep leaves what is newer than the newest entry of the ledger: the application goes on first
        with self.transaction():
            self.add(b"later")
        with self.transaction():
            self.session.delete(
                self.session.scalars(select(self.record).order_by(self.record.id.desc())).first()
            )
        engine, metadata = self.mapped.engine, table_of(self.record).metadata
        # the first notes keys without a row, the second claims what was noted: here all there are, so it is forced
        for _ in range(2):
            sweep(engine, metadata, grace=0, quarantine=0, unreferenced=True, force=True)
        drain(engine, metadata)
        return True
