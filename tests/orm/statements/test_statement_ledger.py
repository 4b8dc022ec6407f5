"""What statements write into the ledger, and what it forbids them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from filecolumn import FileObject, ObjectExistsError, StaleUploadError
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State
from tests.ledger.test_table import claim, states
from tests.orm.statements.test_statement_inserts import row, upsert
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.models import Document
from tests.scenarios.records import agree, file, insert_files


async def live(driver: Driver) -> set[str]:
    """Return the keys that the ledger believes to be rows'."""
    return {key for key, state in (await states(driver)).items() if state is State.LIVE}


async def go_on(driver: Driver, session: DriverSession) -> None:
    """Commit what came before an error, where the database lets a transaction go on."""
    await (session.rollback() if driver.dialect == "postgresql" else session.commit())


@pytest.mark.usefixtures("recorded_at_once")
async def test_statements_keep_the_ledger_in_agreement(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        rows = [{"id": number, "file": file(b"%d" % number), "pages": [file(b"p")]} for number in (1, 2, 3)]
        await session.run(lambda s: s.execute(insert(Document), rows))
        await session.commit()
        assert await live(driver) == set(stored())
        before = set(stored())
        await session.run(lambda s: s.execute(update(Document), [{"id": 1, "file": file(b"new")}]))
        await session.execute(update(Document).values(pages=[]))
        await session.execute(delete(Document).where(Document.id == 2))
        await session.commit()
    assert await live(driver) == set(stored())
    assert contents() == [b"3", b"new"]
    left = await states(driver)
    assert {left[key] for key in before - set(stored())} == {State.GONE}


async def test_statements_undone_leave_the_ledger_as_it_was(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    before = await states(driver)
    async with driver.session() as session:
        await session.run(lambda s: s.execute(update(Document), [{"id": 1, "file": file(b"new")}]))
        await session.execute(delete(Document).where(Document.id == 2))
        await session.rollback()
    assert await states(driver) == before
    await agree(driver, {1: b"one", 2: b"two"})


async def test_a_statement_that_fails_leaves_no_entry(driver: Driver, storage: StorageBackend) -> None:
    if driver.dialect == "postgresql":
        pytest.skip("PostgreSQL ends the transaction of a statement that fails")
    await insert_files(driver, b"one", b"two")
    before = await states(driver)
    staged = await driver.save(file(b"staged"))
    async with driver.session() as session:
        for new in (file(b"new"), staged):
            with pytest.raises(IntegrityError):
                await session.execute(update(Document).where(Document.id == 1).values(id=2, file=new))
        await session.commit()
    assert await states(driver) == before
    async with driver.session() as session:
        await session.execute(update(Document).where(Document.id == 1).values(file=staged))
        await session.commit()
    await agree(driver, {1: b"staged", 2: b"two"})


async def test_an_upsert_keeps_the_ledger_in_agreement(driver: Driver, storage: StorageBackend) -> None:
    await insert_files(driver, b"one", b"two")
    rows = [row(1, b"new"), row(3, b"three")]
    async with driver.session() as session:
        await session.execute(upsert(driver, Document, rows, ["id"], "title"))
        await session.commit()
    assert await live(driver) == set(stored())
    await agree(driver, {1: b"one", 2: b"two", 3: b"three"})
    async with driver.session() as session:
        await session.execute(upsert(driver, Document, [row(1, b"new")], ["id"], "file"))
        await session.commit()
    assert await live(driver) == set(stored())
    await agree(driver, {1: b"new", 2: b"two", 3: b"three"})


@pytest.mark.parametrize("statement", [insert(Document).values(id=1, title="", pages=[]), update(Document)])
async def test_a_file_that_a_sweep_has_claimed_reaches_no_row_by_a_statement(
    driver: Driver, storage: StorageBackend, statement: Any
) -> None:
    if isinstance(statement, type(update(Document))):
        await insert_files(driver, b"one")
    staged = await driver.save(file(b"staged"))
    assert staged.path is not None
    await claim(driver, staged.path)
    async with driver.session() as session:
        with pytest.raises(StaleUploadError, match="sweep"):
            await session.execute(statement.values(file=staged))
        await go_on(driver, session)
    assert staged.path not in await live(driver)
    async with driver.session() as session:
        document = await session.get(Document, 1)
        assert document is None or await driver.content(document.file) == b"one"


async def test_a_key_that_was_used_reaches_no_row_by_a_statement(
    driver: Driver, storage: StorageBackend
) -> None:
    def chosen(body: bytes) -> FileObject:
        return FileObject("a", content=body, to_filename="chosen.txt")

    async with driver.session() as session:
        await session.execute(insert(Document).values(row(1, b"") | {"file": chosen(b"one")}))
        await session.commit()
        await session.execute(delete(Document))
        await session.commit()
        assert contents() == []
        with pytest.raises(ObjectExistsError, match=r"chosen\.txt"):
            await session.execute(insert(Document).values(row(1, b"") | {"file": chosen(b"two")}))
        await go_on(driver, session)
    await agree(driver, {})
