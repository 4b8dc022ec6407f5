"""INSERT statements of a session, and those that may meet rows which are there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, with_loader_criteria

from filecolumn import InvalidKeyError, NotSupportedError, PendingContentError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Document, Video
from tests.scenarios.more_models import Animal, Dog, Keyed, Page, Puppy, Templated, create_tables
from tests.scenarios.records import agree, file, held_pages, insert_files, run

TABLE = Document.__table__
assert isinstance(TABLE, Table)
Call = Callable[[Session], object]


def row(number: int, body: bytes, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": "", "pages": [], "file": file(body), **more}


INSERTS: dict[str, Call] = {
    "values": lambda s: s.execute(insert(Document).values(row(2, b"new"))),
    "values-list": lambda s: s.execute(insert(Document).values([row(2, b"new")])),
    "values-tuples": lambda s: s.execute(TABLE.insert().values([(2, "", file(b"new"), [], None)])),
    "many": lambda s: s.execute(insert(Document), [{"id": 2, "file": file(b"new")}]),
    "one-set": lambda s: s.execute(insert(Document), {"id": 2, "file": file(b"new")}),
    "core": lambda s: s.execute(TABLE.insert().values(row(2, b"new"))),
    "core-many": lambda s: s.execute(TABLE.insert(), [row(2, b"new")]),
    "returning": lambda s: s.scalars(
        insert(Document).returning(Document), [{"id": 2, "file": file(b"new")}]
    ).all(),
    "from-statement": lambda s: s.scalars(
        select(Document).from_statement(insert(Document).values(row(2, b"new")).returning(Document))
    ).all(),
    "raw": lambda s: s.execute(
        insert(Document).values(row(2, b"new")), execution_options={"dml_strategy": "raw"}
    ),
}


@pytest.mark.parametrize("name", INSERTS)
async def test_an_insert_stores_its_files(driver: Driver, storage: StorageBackend, name: str) -> None:
    await insert_files(driver, b"one")
    await run(driver, INSERTS[name])
    await agree(driver, {1: b"one", 2: b"new"})


async def test_one_file_of_several_parameter_sets_is_stored_once_and_copied(
    driver: Driver, storage: StorageBackend
) -> None:
    shared = file(b"shared")
    rows = [{"id": number, "file": shared} for number in (1, 2, 3)]
    await run(driver, lambda s: s.execute(insert(Document), rows))
    await agree(driver, {1: b"shared", 2: b"shared", 3: b"shared"})
    assert all(given["file"] is shared for given in rows)
    assert len(stored()) == 3


async def test_lists_of_parameter_sets_are_stored(driver: Driver, storage: StorageBackend) -> None:
    shared = file(b"s")
    rows = [{"id": 1, "pages": [file(b"p"), shared]}, {"id": 2, "pages": [shared]}, {"id": 3, "pages": []}]
    await run(driver, lambda s: s.execute(insert(Document), rows))
    assert [await held_pages(driver, number) for number in (1, 2, 3)] == [[b"p", b"s"], [b"s"], []]
    assert contents() == [b"p", b"s", b"s"]


async def test_a_file_in_values_of_several_parameter_sets_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    statement = insert(Document).values(file=file(b"new"))
    async with driver.session() as session:
        with pytest.raises(NotSupportedError, match="2 rows"):
            await session.run(lambda s: s.execute(statement, [{"id": 1}, {"id": 2}]))
        assert contents() == []


async def test_an_insert_that_fails_leaves_no_content(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    new = file(b"new")
    async with driver.session() as session:
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.run(lambda s: s.execute(insert(Document), [{"id": 1, "file": new}]))
        await session.commit()
    assert new.has_pending_data
    await agree(driver, {1: b"one"})


async def test_an_insert_in_a_savepoint_that_is_undone_leaves_no_content(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        await session.run(lambda s: s.execute(insert(Document), [{"id": 1, "file": file(b"one")}]))
        savepoint = await session.run(lambda s: s.begin_nested())
        await session.run(lambda s: s.execute(insert(Document), [{"id": 2, "file": file(b"two")}]))
        await session.run(lambda _: savepoint.rollback())
        await session.commit()
    await agree(driver, {1: b"one"})


async def test_an_insert_of_joined_inheritance_stores_the_files_of_each_table(
    driver: Driver, storage: StorageBackend
) -> None:
    rows = [{"id": 1, "original": file(b"original"), "poster": file(b"poster")}]
    await run(driver, lambda s: s.execute(insert(Video), rows))
    assert contents() == [b"original", b"poster"]
    changes = [{"id": 1, "original": file(b"o2"), "poster": file(b"p2")}]
    await run(driver, lambda s: s.execute(update(Video), changes))
    assert contents() == [b"o2", b"p2"]


# Keys


async def test_a_template_is_filled_from_the_parameters(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    rows = [{"id": 7, "tenant": "acme", "file": file(b"new")}]
    await run(driver, lambda s: s.execute(insert(Templated), rows))
    [key] = stored()
    assert key.startswith("acme/7/")


async def test_a_template_of_an_update_is_filled_from_its_row(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.execute(insert(Templated).values(id=7, tenant="acme")))
    await run(
        driver, lambda s: s.execute(update(Templated).where(Templated.id == 7).values(file=file(b"one")))
    )
    [key] = stored()
    assert key.startswith("acme/7/")
    await run(
        driver, lambda s: s.execute(update(Templated), [{"id": 7, "tenant": "other", "file": file(b"two")}])
    )
    [key] = stored()
    assert key.startswith("other/7/")


async def test_a_template_that_wants_what_is_not_known_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    async with driver.session() as session:
        with pytest.raises(InvalidKeyError, match="tenant"):
            await session.run(lambda s: s.execute(insert(Templated), [{"id": 1, "file": file(b"new")}]))
        assert contents() == []


async def test_a_key_function_is_given_a_record_of_the_parameters(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.execute(insert(Keyed).values(id=1, key="chosen/key", file=file(b"new"))))
    assert stored() == {"chosen/key": b"new"}


# Inheritance in one table, and criteria that the session adds


async def test_a_statement_about_a_base_takes_the_files_of_its_subclasses(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    async with driver.session() as session:
        session.add(Dog(id=1, photo=file(b"dog")), Puppy(id=2, photo=file(b"puppy")), Animal(id=3))
        await session.commit()
    await run(driver, lambda s: s.execute(delete(Puppy)))
    assert contents() == [b"dog"]
    await run(driver, lambda s: s.execute(delete(Animal)))
    assert contents() == []


async def test_rows_that_loader_criteria_hide_keep_their_files(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one", b"two")
    hidden = with_loader_criteria(Document, Document.id != 1)
    await run(driver, lambda s: s.execute(delete(Document).options(hidden)))
    await agree(driver, {1: b"one"})


# INSERT that meets rows


def upsert(
    driver: Driver, model: type[Any] | Table, rows: list[dict[str, Any]], key: list[str], *names: str
) -> Any:
    """Return the dialect's INSERT that updates *names* on a conflict; without names it does nothing."""
    match driver.dialect:
        case "sqlite" | "postgresql" as name:
            make = sqlite.insert if name == "sqlite" else postgresql.insert
            statement = make(model).values(rows)
            if not names:
                return statement.on_conflict_do_nothing(index_elements=key)
            return statement.on_conflict_do_update(
                index_elements=key, set_={each: statement.excluded[each] for each in names}
            )
        case _:
            replacing = mysql.insert(model).values(rows)
            if not names:
                return replacing.prefix_with("IGNORE")
            return replacing.on_duplicate_key_update({each: replacing.inserted[each] for each in names})


@pytest.mark.parametrize("model", [Document, TABLE])
async def test_an_upsert_removes_what_it_replaces(
    driver: Driver, storage: StorageBackend, model: Any
) -> None:
    await insert_files(driver, b"one", b"two")
    rows = [row(2, b"new two"), row(3, b"three")]
    await run(driver, lambda s: s.execute(upsert(driver, model, rows, ["id"], "file")))
    await agree(driver, {1: b"one", 2: b"new two", 3: b"three"})


async def test_an_upsert_that_leaves_the_file_alone_stores_none_for_rows_that_are_there(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one")
    rows = [row(1, b"unused"), row(2, b"two")]
    await run(driver, lambda s: s.execute(upsert(driver, Document, rows, ["id"], "title")))
    await agree(driver, {1: b"one", 2: b"two"})


async def test_an_insert_that_does_nothing_for_rows_that_are_there(
    driver: Driver, storage: StorageBackend
) -> None:
    await insert_files(driver, b"one", b"two")
    unused = file(b"unused")
    async with driver.session() as session:
        given = (await session.one(Document, 2)).file
        rows = [row(2, b"") | {"file": unused}, row(3, b"") | {"file": given}]
        await session.execute(upsert(driver, Document, rows, ["id"]))
        await session.commit()
    await agree(driver, {1: b"one", 2: b"two", 3: b"two"})
    assert unused.has_pending_data
    await run(driver, lambda s: s.execute(delete(Document).where(Document.id == 2)))
    await agree(driver, {1: b"one", 3: b"two"})


async def test_an_upsert_may_give_a_row_its_own_file(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    before = stored()
    async with driver.session() as session:
        given = (await session.one(Document, 1)).file
        await session.execute(upsert(driver, Document, [row(1, b"") | {"file": given}], ["id"], "file"))
        await session.commit()
    assert stored() == before


async def test_an_upsert_by_another_unique_key(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    async with driver.session() as session:
        session.add(Page(id=1, slug="a", file=file(b"old"), scan=file(b"scan")))
        await session.commit()
    rows = [
        {"site": "main", "slug": "a", "file": file(b"new")},
        {"site": "main", "slug": "b", "file": file(b"b")},
    ]
    await run(driver, lambda s: s.execute(upsert(driver, Page, rows, ["site", "slug"], "file")))
    assert contents() == [b"b", b"new", b"scan"]


async def test_an_upsert_undone_leaves_the_old(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        await session.execute(upsert(driver, Document, [row(1, b"new"), row(2, b"two")], ["id"], "file"))
        await session.rollback()
    await agree(driver, {1: b"one"})


def on_conflict(driver: Driver, set_: dict[str, Any], key: str = "id") -> Any:
    values = row(1, b"new")
    if driver.dialect in {"mariadb", "mysql"}:
        return mysql.insert(Document).values(values).on_duplicate_key_update(**set_)
    make = sqlite.insert if driver.dialect == "sqlite" else postgresql.insert
    return make(Document).values(values).on_conflict_do_update(index_elements=[key], set_=set_)


@pytest.mark.parametrize(
    "set_",
    [
        {"file": Document.scan},
        {"file": select(Document.file).limit(1).scalar_subquery()},
        {"id": 5},
    ],
)
async def test_an_upsert_that_cannot_be_exact_is_refused(
    driver: Driver, storage: StorageBackend, set_: dict[str, Any]
) -> None:
    await insert_files(driver, b"one")
    async with driver.session() as session:
        with pytest.raises(NotSupportedError):
            await session.execute(on_conflict(driver, set_))
        assert contents() == [b"one"]


async def test_an_upsert_of_a_key_that_the_database_computes_is_refused(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    rows = [{"id": 1, "site": "main", "slug": func.lower("A"), "file": file(b"new")}]
    async with driver.session() as session:
        with pytest.raises(NotSupportedError, match="does not tell"):
            await session.execute(upsert(driver, Page, rows, ["site", "slug"], "file"))
        assert contents() == []


# What passes no hook


async def test_a_file_that_is_not_stored_is_refused_on_a_connection(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        with pytest.raises(PendingContentError, match="not stored"):
            await session.run(lambda s: s.connection().execute(TABLE.insert().values(row(2, b"new"))))
        await session.rollback()
    await agree(driver, {})
