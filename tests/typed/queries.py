"""Stores and queries: what type checkers know of their results."""

from __future__ import annotations

from typing import Any, assert_type

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.query import AsyncFileQuery, AsyncFileStore, FileQuery, FileStore, LookupManager


class Base(DeclarativeBase):
    pass


class Report(Base):
    __tablename__ = "typed_reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[FileObject | None] = mapped_column(StoredObject("files", ledger=False))


class Card:
    def __init__(self, store: object, key: int, data: dict[str, Any]) -> None:
        self.store, self.key, self.data = store, key, data

    @classmethod
    def from_storage(cls, store: object, key: int, data: dict[str, Any]) -> Card:
        return cls(store, key, data)


def work(session: Session) -> None:
    store = FileStore(session, Report)
    assert_type(store, FileStore[Report])
    query = store.find(title="a").where_not(file__size__gt=1).order_by("title")
    assert_type(query, FileQuery[Report])
    assert_type(query.first(), Report | None)
    assert_type(query[0:2], list[Report])
    assert_type(query.statement(), Select[Any])
    assert_type(store.find(dict).all(), list[tuple[Any, dict[str, Any]]])
    assert_type(store.find(Card).all(), list[Card])
    assert_type(store.get_or_create(title="a"), tuple[Report, bool])
    assert_type(store.get_many([1]), list[Report])
    assert_type(store.get(1, Card), Card)
    for report in query:
        assert_type(report, Report)
    for any_report in FileStore(session, Report.file, fields={"size": int}).find(size=1):
        any_report.title = ""


async def work_async(session: AsyncSession) -> None:
    store = AsyncFileStore(session, Report)
    query = store.find(**store.parse({"title": "a"}))
    assert_type(query, AsyncFileQuery[Report])
    assert_type(await query.all(), list[Report])
    assert_type(await query.get(0), Report)
    assert_type(await store.get(1), Report)
    assert_type(await store.get_or_create(Card, title="a"), tuple[Card, bool])
    async for report in query:
        assert_type(report, Report)


lookups: LookupManager = LookupManager.standard()


@lookups.register("longer")
def longer(field: Any, value: int) -> Any:
    return field > value
