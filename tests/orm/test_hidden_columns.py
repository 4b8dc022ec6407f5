"""A `StoredObject` inside another type is refused: no flush and no sweep would see its files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ARRAY, JSON, Column, Integer, MetaData, Table, TypeDecorator
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from filecolumn import FileObject, NotSupportedError, StoredObject


class Wrapped(TypeDecorator[Any]):
    impl = StoredObject
    cache_ok = True


class WrappedTwice(TypeDecorator[Any]):
    impl = Wrapped
    cache_ok = True


class Subclass(StoredObject):
    cache_ok = True


Make = Callable[[StoredObject], TypeEngine[Any]]

HIDDEN: dict[str, tuple[Make, str]] = {
    "wrapped": (lambda _: Wrapped("docs"), "subclass StoredObject"),
    "wrapped-without-ledger": (lambda _: Wrapped("docs", ledger=False), "subclass StoredObject"),
    "wrapped-twice": (lambda _: WrappedTwice("docs"), "subclass StoredObject"),
    "array": (ARRAY, "multiple=True"),
    "postgresql-array": (postgresql.ARRAY, "multiple=True"),
    "a-variant": (lambda kind: JSON().with_variant(kind, "sqlite"), "for some databases only"),
    "array-as-variant": (lambda kind: JSON().with_variant(ARRAY(kind), "sqlite"), "for some databases only"),
    "with-variants": (lambda kind: kind.with_variant(JSON(), "sqlite"), "for some databases only"),
}


@pytest.mark.parametrize("ledger", [True, False])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_column_that_hides_files_is_refused_in_a_table(name: str, ledger: bool) -> None:
    make, advice = HIDDEN[name]
    with pytest.raises(NotSupportedError, match=advice):
        Table("hidden", MetaData(), Column("file", make(StoredObject("docs", ledger=ledger))))


@pytest.mark.parametrize("ledger", [True, False])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_column_that_hides_files_is_refused_in_a_model(name: str, ledger: bool) -> None:
    make, advice = HIDDEN[name]

    class OwnBase(DeclarativeBase):
        pass

    with pytest.raises(NotSupportedError, match=advice):

        class Hidden(OwnBase):
            __tablename__ = "hidden"
            id: Mapped[int] = mapped_column(primary_key=True)
            file: Mapped[Any] = mapped_column(make(StoredObject("docs", ledger=ledger)))


@pytest.mark.parametrize("name", HIDDEN)
def test_a_type_for_an_annotation_that_hides_files_is_refused(name: str) -> None:
    make, advice = HIDDEN[name]

    class OwnBase(DeclarativeBase):
        type_annotation_map = {FileObject: make(StoredObject("docs"))}

    with pytest.raises(NotSupportedError, match=advice):

        class Hidden(OwnBase):
            __tablename__ = "hidden"
            id: Mapped[int] = mapped_column(primary_key=True)
            file: Mapped[FileObject]


def test_a_subclass_is_a_column_of_files_also_in_a_copy_of_its_table() -> None:
    table = Table("seen", MetaData(), Column("id", Integer), Column("file", Subclass("docs")))
    copied = table.to_metadata(MetaData())
    assert [type(each.c.file.type) for each in (table, copied)] == [Subclass, Subclass]
