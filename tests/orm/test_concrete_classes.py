"""A storage for each class of a concrete hierarchy, and what unions of columns of several storages return."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    CompoundSelect,
    Integer,
    Select,
    String,
    Table,
    case,
    func,
    outerjoin,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.declarative import AbstractConcreteBase
from sqlalchemy.orm import DeclarativeBase, aliased, mapped_column, polymorphic_union, registry

from filecolumn import BackendMismatchError, FileObject, FileObjectList, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.each_database import driver
from tests.scenarios.fixtures import ON_SERVERS, ON_SQLITE
from tests.scenarios.mapped_tables import Bundle, Cold, Item, Twofold, create_tables
from tests.scenarios.records import file, put_raw

__all__ = ("driver",)


@pytest.fixture
async def items(driver: Driver, storage: StorageBackend) -> None:
    """An item in "docs", and in "archive" a cold one and a bundle of two files."""
    storages.register_backend("memory://", key="archive")
    await create_tables(driver)
    async with driver.session() as session:
        session.add(Item(id=1, file=file(b"item")), Cold(id=2, file=file(b"cold")), Item(id=4))
        session.add(Bundle(id=3, file=[file(b"one"), file(b"two")]))
        session.add(Twofold(id=1, title="near", near=file(b"near"), far=file(b"far")))
        session.add(Twofold(id=2, title="far", far=file(b"other")))
        await session.commit()


async def read(driver: Driver, values: Sequence[Any]) -> list[Any]:
    """Return the contents of what a column returned."""
    return [
        [await driver.content(each) for each in value]
        if isinstance(value, FileObjectList)
        else value and await driver.content(value)
        for value in values
    ]


async def found(driver: Driver) -> dict[int, Any]:
    """Return the contents of all items, loaded through the base."""
    async with driver.session() as session:
        loaded = await session.run(lambda s: s.scalars(select(Item)).all())
        return dict(
            zip([each.id for each in loaded], await read(driver, [each.file for each in loaded]), strict=True)
        )


# Concrete hierarchies


async def test_what_the_base_loads_is_of_the_storage_of_its_class(driver: Driver, items: None) -> None:
    assert await found(driver) == {1: b"item", 2: b"cold", 3: [b"one", b"two"], 4: None}
    async with driver.session() as session:
        loaded = await session.run(lambda s: s.scalars(select(Item).order_by(Item.id)).all())
        assert [type(each.file) for each in loaded] == [FileObject, FileObject, FileObjectList, type(None)]
        await session.run(lambda s: s.expire_all())
        for each in loaded:
            await session.refresh(each)
        assert await read(driver, [each.file for each in loaded]) == [
            b"item",
            b"cold",
            [b"one", b"two"],
            None,
        ]
    async with driver.session() as session:
        populated = select(Item).order_by(Item.id).execution_options(populate_existing=True)
        again = await session.run(lambda s: s.scalars(populated).all())
        assert await read(driver, [each.file for each in again]) == [b"item", b"cold", [b"one", b"two"], None]


async def test_what_the_base_loads_is_replaced_in_its_own_storage(driver: Driver, items: None) -> None:
    async with driver.session() as session:
        for each in await session.run(lambda s: s.scalars(select(Item)).all()):
            match each:
                case Bundle():
                    each.file.append(file(b"three"))
                case _:
                    each.file = file(f"new {each.id}".encode())
        await session.commit()
    assert await found(driver) == {1: b"new 1", 2: b"new 2", 3: [b"one", b"two", b"three"], 4: b"new 4"}
    assert contents() == [b"near", b"new 1", b"new 4"]
    assert contents("archive") == [b"far", b"new 2", b"one", b"other", b"three", b"two"]


async def test_what_the_base_loads_is_changed_in_place(driver: Driver, items: None) -> None:
    async with driver.session() as session:
        for each in await session.run(lambda s: s.scalars(select(Item).where(Item.id < 4)).all()):
            first = each.file[0] if isinstance(each, Bundle) else each.file
            first.update_metadata({"seen": each.id})
        await session.commit()
    async with driver.session() as session:
        assert (await session.one(Cold, 2)).file.metadata == {"seen": 2}
        assert (await session.one(Bundle, 3)).file[0].metadata == {"seen": 3}


async def test_what_the_base_loads_is_deleted_with_its_files(driver: Driver, items: None) -> None:
    async with driver.session() as session:
        for each in await session.run(lambda s: s.scalars(select(Item)).all()):
            await session.delete(each)
        await session.commit()
    assert contents() == [b"near"]
    assert contents("archive") == [b"far", b"other"]


async def test_statements_about_the_tables_of_a_hierarchy_store_in_the_storage_of_each(
    driver: Driver, items: None
) -> None:
    # SQLAlchemy makes no statement about a class that is loaded from a union
    tables = {kind: kind.__table__ for kind in (Item, Cold, Bundle)}
    async with driver.session() as session:
        await session.execute(tables[Item].update().where(tables[Item].c.id == 1).values(file=file(b"new")))
        await session.execute(tables[Cold].insert().values(id=8, file=file(b"eight")))
        await session.execute(tables[Bundle].delete())
        await session.commit()
    assert contents() == [b"near", b"new"]
    assert contents("archive") == [b"cold", b"eight", b"far", b"other"]
    assert await found(driver) == {1: b"new", 2: b"cold", 4: None, 8: b"eight"}


async def test_a_class_takes_one_file_or_a_list_as_its_own_column_says(driver: Driver, items: None) -> None:
    assert isinstance(Bundle().file, FileObjectList)
    assert Cold().file is None
    with pytest.raises(TypeError, match="a list of FileObject"):
        Bundle(file=file(b"never"))
    with pytest.raises(TypeError, match="a FileObject or None"):
        Cold(file=[file(b"never")])


class Local(DeclarativeBase):
    """Base of what only these tests have."""


class Medium(AbstractConcreteBase, Local):
    """A base without a table."""

    strict_attrs = True
    title = mapped_column(String(20))


class Tape(Medium):
    __tablename__ = "tapes"
    __mapper_args__ = {"polymorphic_identity": "tape", "concrete": True}
    id = mapped_column(Integer, primary_key=True)
    file = mapped_column(StoredObject("docs"))


class Reel(Medium):
    __tablename__ = "reels"
    __mapper_args__ = {"polymorphic_identity": "reel", "concrete": True}
    id = mapped_column(Integer, primary_key=True)
    file = mapped_column(StoredObject("archive"))


by_hand = registry(metadata=Local.metadata)
cassettes, copies = (
    Table(
        name,
        Local.metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("file", StoredObject(backend)),
    )
    for name, backend in (("cassettes", "archive"), ("copies", "docs"))
)
BY_HAND = polymorphic_union({"cassette": cassettes, "copy": copies}, "type", "by_hand")


class Cassette:
    """A base whose union is written by hand."""

    file: FileObject | None


class CopiedCassette(Cassette):
    """Its copies are in another storage."""


by_hand.map_imperatively(
    Cassette,
    cassettes,
    with_polymorphic=("*", BY_HAND),
    polymorphic_on=BY_HAND.c.type,
    polymorphic_identity="cassette",
)
by_hand.map_imperatively(
    CopiedCassette,
    copies,
    inherits=Cassette.__mapper__,  # type: ignore[attr-defined]
    concrete=True,
    polymorphic_identity="copy",
)


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
@pytest.mark.parametrize(
    "classes", [(Medium, Tape, Reel), (Cassette, CopiedCassette, Cassette)], ids=["abstract", "by hand"]
)
async def test_a_union_of_any_making_loads_each_class_from_its_storage(
    driver: Driver, storage: StorageBackend, classes: Sequence[Any]
) -> None:
    storages.register_backend("memory://", key="archive")
    base, near, far = classes
    Local.registry.configure()
    async with driver.session() as session:
        await session.run(lambda s: Local.metadata.create_all(s.connection()))
        for made, body in ((near(), b"near"), (far(), b"far")):
            made.id, made.file = 1, file(body)
            session.add(made)
        await session.commit()
    assert (contents(), contents("archive")) == ([b"near"], [b"far"])
    async with driver.session() as session:
        for each in await session.run(lambda s: s.scalars(select(base)).all()):
            expected = b"near" if type(each) is near else b"far"
            assert await driver.content(each.file) == expected
            await session.delete(each)
        await session.commit()
    assert (contents(), contents("archive")) == ([], [])


# Unions and expressions

near, far = Twofold.near, Twofold.far
BOTH = select(near).union_all(select(far))
ITEMS, COLD = Item.__table__, Cold.__table__
PAIRS = union_all(select(ITEMS.c.id, ITEMS.c.file), select(COLD.c.id, COLD.c.file))
FIRST = select(Twofold.id, Twofold.near, Twofold.far).cte("first")


def queries() -> Iterator[tuple[str, Select[Any] | CompoundSelect[Any], list[Any]]]:
    files = [b"near", None, b"far", b"other"]
    yield "union", BOTH, files
    yield "union, turned", select(far).union_all(select(near)), [b"far", b"other", b"near", None]
    yield "union of instances' columns", union_all(select(near), select(Cold.file)), [b"near", None, b"cold"]
    yield "subquery", select(BOTH.subquery().c.near), files
    yield "subquery of tables", select(PAIRS.subquery().c.file), [b"item", None, b"cold"]
    yield "cte", select(BOTH.cte("both").c.near), files
    yield (
        "union of ctes",
        select(FIRST.c.near).union_all(select(FIRST.c.far)),
        files,
    )
    yield "aliased", select(aliased(Item, PAIRS.subquery()).file), [b"item", None, b"cold"]
    yield "alias of a union", select(BOTH.subquery().alias().c.near), files
    yield "case", select(case((Twofold.title == "near", near), else_=far)), [b"near", b"other"]
    yield "coalesce", select(func.coalesce(near, far)), [b"near", b"other"]
    yield "coalesce, turned", select(func.coalesce(far, near)), [b"far", b"other"]
    yield (
        "in a union",
        select(func.coalesce(near, far)).union_all(select(far)),
        [b"near", b"other", b"far", b"other"],
    )
    yield (
        "scalar subquery",
        select(select(BOTH.subquery().c.near).where(text("near IS NOT NULL")).limit(1).scalar_subquery()),
        [b"near"],
    )
    yield (
        "outer join",
        select(func.coalesce(COLD.c.file, near)).select_from(
            outerjoin(Twofold, COLD, COLD.c.id == Twofold.id)
        ),
        [b"near", b"cold"],
    )
    yield "one and lists", select(Cold.file).union_all(select(Bundle.file)), [b"cold", [b"one", b"two"]]
    yield "lists and one", select(Bundle.file).union_all(select(near)), [[b"one", b"two"], b"near", None]


QUERIES = {name: (query, expected) for name, query, expected in queries()}


def as_set(values: Sequence[Any]) -> list[Any]:
    # a union has no order
    return sorted(values, key=repr)


@pytest.mark.parametrize("name", QUERIES)
async def test_a_file_of_a_union_reads_its_own_content(driver: Driver, items: None, name: str) -> None:
    query, expected = QUERIES[name]
    async with driver.session() as session:
        values = await session.run(lambda s: s.scalars(query).all())
        assert as_set(await read(driver, values)) == as_set(expected)
    async with driver.connect() as connection:
        values = await connection.run(lambda c: c.execute(query).scalars().all())
        assert as_set(await read(driver, values)) == as_set(expected)


async def test_a_query_unions_with_another(driver: Driver, items: None) -> None:
    async with driver.session() as session:
        rows = await session.run(lambda s: s.query(near).union_all(s.query(far)).all())
    assert as_set(await read(driver, [value for (value,) in rows])) == as_set(
        [b"near", None, b"far", b"other"]
    )


@pytest.mark.server
@pytest.mark.parametrize("driver", ON_SERVERS, indirect=True)
async def test_a_union_in_a_union_reads_each_content(driver: Driver, items: None) -> None:
    inner = union_all(select(far), select(Cold.file).limit(1)).order_by(text("1")).limit(5)
    query = union_all(select(near).limit(5), inner)
    async with driver.connect() as connection:
        values = await connection.run(lambda c: c.execute(query).scalars().all())
    assert as_set(await read(driver, values)) == as_set([b"near", None, b"far", b"other", b"cold"])


@pytest.mark.parametrize(
    "query",
    [BOTH, select(BOTH.subquery().c.near), select(func.coalesce(near, far))],
    ids=["union", "subquery", "coalesce"],
)
async def test_a_storage_that_no_column_of_a_union_names_is_refused(
    driver: Driver, items: None, query: Any
) -> None:
    storages.register_backend("memory://", key="secret")
    row = {"filename": "a", "to_filename": "a", "backend": "secret"}
    await put_raw(driver, json.dumps(row), "twofold", "near")
    async with driver.session() as session:
        values = await session.run(lambda s: s.scalars(query).all())
        stray = [value for value in values if value is not None and value.backend_key == "secret"]
        assert len(stray) == 1
        with pytest.raises(BackendMismatchError, match="'secret'"):
            await driver.content(stray[0])


async def test_a_row_of_a_union_that_names_no_storage_is_not_guessed_at(driver: Driver, items: None) -> None:
    await put_raw(driver, json.dumps({"filename": "a", "to_filename": "a"}), "twofold", "near")
    async with driver.session() as session:
        values = await session.run(lambda s: s.scalars(BOTH).all())
        (stray,) = [value for value in values if value is not None and value.backend_key is None]
        with pytest.raises(BackendMismatchError, match="names no storage"):
            await driver.content(stray)
