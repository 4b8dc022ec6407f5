"""The least that a careful program does by itself: store, fsync file and folder, write a plain JSON row."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import uuid4

from obstore.store import LocalStore, ObjectStore, S3Store
from sqlalchemy import Column, Integer, String, Table, insert, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped, Place
from benchmarks.models import model, plain_json, table_of

FOLDER = "20260101/00"

Facts = dict[str, Any]


class FloorWithLedger(Mapped):
    """With SHA-256, and a note of each key in the same transaction: the least that keeps our promises."""

    name = "floor+L"
    can = frozenset({"sync", "async", "lists", "s3"})
    hashes = "SHA-256"
    durable = "file, folder"
    deletes = "replaced, deleted"
    ledger: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        metadata = table_of(model("notes_of", None)).metadata
        self.notes = Table(
            "notes",
            metadata,
            Column("key", String, primary_key=True),
            Column("state", Integer, nullable=False),
        )
        self.notes.create(self.engine)

    def prepare(self) -> None:
        self.store: ObjectStore = (
            S3Store("bucket", **self.place.s3) if self.place.s3 else LocalStore(self.place.folder, mkdir=True)
        )

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return plain_json()

    # --- objects

    def put(self) -> Facts:
        """Store the content under a new key in a dated folder."""
        key = f"{FOLDER}/{uuid4().hex}.bin"
        stored = self.store.put(key, self.content, mode="create", use_multipart=False)
        if not self.place.s3:
            _fsync(os.path.join(self.place.folder, key), os.O_RDONLY)
        facts: Facts = {
            "filename": "a.bin",
            "to_filename": key,
            "content_type": "application/octet-stream",
            "size": len(self.content),
            "etag": stored["e_tag"],
        }
        if self.ledger:
            facts["checksum"] = f"sha256:{hashlib.sha256(self.content).hexdigest()}"
        return facts

    def put_all(self, files: int) -> list[Facts]:
        """Store several; their folder is synchronized once."""
        facts = [self.put() for _ in range(files)]
        if not self.place.s3:
            _fsync(os.path.join(self.place.folder, FOLDER), os.O_RDONLY | os.O_DIRECTORY)
        return facts

    async def put_all_async(self, files: int) -> list[Facts]:
        """Store several as a plain program does, each in a visit to a thread."""
        return [(await asyncio.to_thread(self.put_all, 1))[0] for _ in range(files)]

    def remove(self, facts: Sequence[Facts]) -> None:
        """Delete objects."""
        self.store.delete([fact["to_filename"] for fact in facts])

    # --- rows

    def note(self, session: Session, facts: Sequence[Facts]) -> None:
        """Note that keys are taken."""
        if self.ledger:
            session.execute(insert(self.notes), [{"key": fact["to_filename"], "state": 1} for fact in facts])

    def cross_off(self, session: Session, facts: Sequence[Facts]) -> None:
        """Note that keys are free."""
        if self.ledger:
            keys = [fact["to_filename"] for fact in facts]
            session.execute(update(self.notes).where(self.notes.c.key.in_(keys)).values(state=2))

    def save(self, files: int) -> None:
        facts = self.put_all(files)
        with self.session() as session:
            session.add_all([self.record(title="a", file=fact) for fact in facts])
            self.note(session, facts)
            session.commit()

    def replace(self, key: int) -> None:
        with self.session() as session:
            record = session.get_one(self.record, key)
            old, (record.file,) = record.file, self.put_all(1)
            self.note(session, [record.file])
            self.cross_off(session, [old])
            session.commit()
        self.remove([old])

    def delete(self, keys: Sequence[int]) -> None:
        with self.session() as session:
            records = session.scalars(self.those(keys)).all()
            facts = [record.file for record in records]
            for record in records:
                session.delete(record)
            self.cross_off(session, facts)
            session.commit()
        self.remove(facts)

    # --- rows with a list of files

    def fill_list(self, files: int) -> int:
        facts = self.put_all(files)
        with self.session() as session:
            shelf = self.shelf(title="a", file=facts)
            session.add(shelf)
            self.note(session, facts)
            session.commit()
            return shelf.id

    def append(self, key: int) -> None:
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            facts = self.put_all(1)
            shelf.file = [*shelf.file, *facts]
            self.note(session, facts)
            session.commit()

    def clear_list(self, key: int) -> None:
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            facts, shelf.file = shelf.file, []
            self.cross_off(session, facts)
            session.commit()
        self.remove(facts)

    def delete_list(self, key: int) -> None:
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            facts = shelf.file
            session.delete(shelf)
            self.cross_off(session, facts)
            session.commit()
        self.remove(facts)

    # --- async twins

    async def save_async(self, files: int) -> None:
        facts = await self.put_all_async(files)
        async with self.async_session() as session:
            session.add_all([self.record(title="a", file=fact) for fact in facts])
            await self._in(session, self.note, facts)
            await session.commit()

    async def replace_async(self, key: int) -> None:
        async with self.async_session() as session:
            record = await session.get_one(self.record, key)
            old, (record.file,) = record.file, await self.put_all_async(1)
            await self._in(session, self.note, [record.file])
            await self._in(session, self.cross_off, [old])
            await session.commit()
        await asyncio.to_thread(self.remove, [old])

    async def delete_async(self, keys: Sequence[int]) -> None:
        async with self.async_session() as session:
            records = (await session.scalars(self.those(keys))).all()
            facts = [record.file for record in records]
            for record in records:
                await session.delete(record)
            await self._in(session, self.cross_off, facts)
            await session.commit()
        await asyncio.to_thread(self.remove, facts)

    async def _in(self, session: AsyncSession, work: Any, facts: Sequence[Facts]) -> None:
        if self.ledger:
            await session.run_sync(work, facts)


class Floor(FloorWithLedger):
    """Without hash and note: files can be lost or left over at a crash."""

    name = "floor"
    hashes = "-"
    ledger = False


def _fsync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def row(files: int = 0) -> str:
    """Return the text of a row of plain JSON with the facts that others have."""
    facts = {
        "filename": "20260101/00/01a20981ac127bf0be88e781d3a5d7c2.pdf",
        "content_type": "application/pdf",
        "size": 123456,
        "checksum": f"sha256:{'0' * 64}",
        "etag": "1a2b-3c4d-5e6f",
        "version_id": None,
        "last_modified": 1767225600.0,
        "metadata": {},
        "backend": "none",
    }
    return json.dumps([facts] * files if files else facts)
