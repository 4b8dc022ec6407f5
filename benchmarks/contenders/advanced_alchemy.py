"""advanced-alchemy's `FileObject`, with what it saves in the background awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any
from uuid import uuid4

from advanced_alchemy.config import SQLAlchemyAsyncConfig, SQLAlchemySyncConfig
from advanced_alchemy.types import file_object
from advanced_alchemy.types.file_object.backends.obstore import ObstoreBackend
from obstore.store import LocalStore, S3Store
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped
from benchmarks.contenders.floor import row


class AdvancedAlchemy(Mapped):
    name = "advanced-alchemy"
    can = frozenset({"sync", "async", "lists", "rows", "facts", "s3"})
    durable = "-; stores after COMMIT"
    deletes = "replaced, deleted"

    def prepare(self) -> None:
        store = (
            S3Store("bucket", **self.place.s3) if self.place.s3 else LocalStore(self.place.folder, mkdir=True)
        )
        file_object.storages.register_backend(ObstoreBackend(self.place.key, store))

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return file_object.StoredObject(backend=self.place.key, multiple=multiple)

    def file(self) -> object:
        # the file name is its key
        return file_object.FileObject(
            backend=self.place.key, filename=f"{uuid4().hex}.bin", content=self.content
        )

    def append(self, key: int) -> None:
        with self.session() as session:
            shelf = session.get_one(self.shelf, key)
            # what is appended to the list itself is not stored: 1.12 looks for it by another name
            shelf.file = [*shelf.file, self.file()]
            session.commit()

    def session(self) -> Session:
        return self._make()

    @cached_property
    def _make(self) -> Callable[[], Session]:
        """Return its session maker, with the listeners that store files."""
        return SQLAlchemySyncConfig(
            engine_instance=self.engine, enable_touch_updated_timestamp_listener=False
        ).create_session_maker()

    def async_session(self) -> AsyncSession:
        return self._make_async()

    @cached_property
    def _make_async(self) -> Callable[[], AsyncSession]:
        return SQLAlchemyAsyncConfig(
            engine_instance=self.async_engine, enable_touch_updated_timestamp_listener=False
        ).create_session_maker()

    async def settle(self) -> None:
        mine = asyncio.current_task()
        if left := [task for task in asyncio.all_tasks() if task is not mine and _is_its_own(task)]:
            await asyncio.gather(*left)

    def raw(self, files: int) -> str:
        return row(files).replace('"none"', f'"{self.place.key}"')

    @staticmethod
    def all_facts(file: Any) -> object:
        return (
            file.filename,
            file.path,
            file.backend,
            file.content_type,
            file.size,
            file.checksum,
            file.etag,
            file.version_id,
            file.last_modified,
            file.metadata,
        )


def _is_its_own(task: asyncio.Task[Any]) -> bool:
    """Whether a task does advanced-alchemy's work, and is not another session of the benchmark."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "advanced_alchemy" in code.co_filename
