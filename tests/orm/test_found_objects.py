"""`from_key`: an object that lies in a storage already becomes one row's, and nobody loses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from filecolumn import (
    BackendMismatchError,
    ContentRejectedError,
    CorruptFileMetadataError,
    FileObject,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    OwnedFileError,
    StaleUploadError,
    StoredObject,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.ledger.table import State
from filecolumn.maintenance import sweep
from tests.ledger.test_table import TABLE, states
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.models import Base, Document
from tests.scenarios.more_models import Gated
from tests.scenarios.records import agree, file, held, held_pages, run
from tests.scenarios.tables import tables

__all__ = ("tables",)

KEY = "legacy/2019/Report.pdf"
BODY = b"%PDF-1.4 legacy"


@pytest.fixture
def legacy(storage: StorageBackend) -> StorageBackend:
    """A storage with an object that lay there before."""
    storage.put(KEY, [BODY])
    return storage


async def found(driver: Driver, key: str = KEY, **options: Any) -> FileObject:
    """Call `from_key` with the calls of the driver's kind."""
    if driver.is_async:
        return await FileObject.from_key_async(key, **options)
    return FileObject.from_key(key, **options)


async def attach(driver: Driver, number: int, key: str = KEY) -> None:
    async with driver.session() as session:
        session.add(Document(id=number, file=await found(driver, key)))
        await session.commit()


async def insert_unrecorded(driver: Driver, number: int) -> None:
    """Insert a row of advanced-alchemy's that names the object."""
    row = json.dumps({"filename": KEY, "backend": "docs"})
    statement = text("INSERT INTO documents (id, title, file, pages) VALUES (:id, '', :file, '[]')")
    await run(driver, lambda session: session.execute(statement, {"id": number, "file": row}))


async def remove(driver: Driver, number: int) -> None:
    await run(driver, lambda session: session.delete(session.get_one(Document, number)))


# What is there, and what is not


async def test_facts_come_from_the_storage(driver: Driver, legacy: StorageBackend) -> None:
    report = await found(driver)
    stat = legacy.stat(KEY)
    assert (report.filename, report.path, report.backend_key) == ("Report.pdf", KEY, "docs")
    assert (report.size, report.etag, report.checksum) == (len(BODY), stat.etag, None)
    assert (report.content_type, report.is_saved) == ("application/pdf", True)
    assert await driver.content(report) == BODY


async def test_it_is_hashed_if_that_is_wanted(driver: Driver, legacy: StorageBackend) -> None:
    report = await found(driver, checksum=True, filename="../Yearly report.pdf")
    assert report.filename == "Yearly report.pdf"
    assert report.checksum is not None
    report.verify()


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("legacy/missing.pdf", ObjectNotFoundError),
        ("../secret", InvalidKeyError),
        (".filecolumn/place", InvalidKeyError),
        ("", InvalidKeyError),
    ],
)
async def test_what_cannot_be_found_is_an_error(
    driver: Driver, legacy: StorageBackend, key: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await found(driver, key)


# Attached to one row


async def test_it_is_attached_where_it_is(driver: Driver, legacy: StorageBackend) -> None:
    await attach(driver, 1)
    await agree(driver, {1: BODY})
    assert stored() == {KEY: BODY}
    async with driver.session() as session:
        entry = (await session.execute(select(TABLE.c.state, TABLE.c.checked, TABLE.c.key))).one()
    assert tuple(entry) == (State.LIVE, False, KEY)


async def test_statements_and_lists_attach_it_too(driver: Driver, legacy: StorageBackend) -> None:
    legacy.put("legacy/2.txt", [b"two"])
    async with driver.session() as session:
        await session.run(
            lambda s: s.execute(insert(Document), [{"id": 1, "file": FileObject.from_key(KEY)}])
        )
        document = await session.one(Document, 1)
        document.pages.append(await found(driver, "legacy/2.txt"))
        await session.commit()
    assert await held(driver) == {1: BODY}
    assert await held_pages(driver) == [b"two"]
    assert stored() == {KEY: BODY, "legacy/2.txt": b"two"}


async def test_a_second_row_is_refused(driver: Driver, legacy: StorageBackend) -> None:
    await attach(driver, 1)
    with pytest.raises(ObjectExistsError, match="is a row's already"):
        await attach(driver, 2)
    await agree(driver, {1: BODY})


async def test_a_second_row_of_the_same_transaction_is_refused(
    driver: Driver, legacy: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=await found(driver)))
        await session.flush()
        session.add(Document(id=2, file=await found(driver)))
        with pytest.raises(ObjectExistsError, match="is a row's already"):
            await session.flush()
    assert stored() == {KEY: BODY}
    assert await held(driver) == {}


async def test_a_second_row_of_the_same_flush_gets_a_copy(driver: Driver, legacy: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Document(id=1, file=await found(driver)), Document(id=2, file=await found(driver)))
        await session.commit()
    await agree(driver, {1: BODY, 2: BODY})


async def test_an_upload_of_this_transaction_is_refused(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=file(b"new")))
        await session.flush()
        assert document.file is not None
        assert document.file.path is not None
        session.add(Document(id=2, file=await found(driver, document.file.path)))
        with pytest.raises(ObjectExistsError):
            await session.flush()
        await session.rollback()
    await agree(driver, {})


async def test_a_key_that_a_sweep_has_given_up_is_refused(driver: Driver, legacy: StorageBackend) -> None:
    await run(driver, lambda s: s.execute(insert(TABLE).values(_doomed(KEY))))
    with pytest.raises(ObjectExistsError, match="given up by a sweep"):
        await attach(driver, 1)
    assert stored() == {KEY: BODY}


def _doomed(key: str) -> dict[str, object]:
    state = State.DOOMED.value
    return {"backend": "docs", "key": key, "state": state, "checked": True, "created_at": 1, "attempts": 0}


async def test_it_is_held_to_the_column(
    driver: Driver, legacy: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages.register_backend("memory://", key="elsewhere").put(KEY, [BODY])
    async with driver.session() as session:
        session.add(Document(id=1, file=await found(driver, backend="elsewhere")))
        with pytest.raises(BackendMismatchError):
            await session.flush()
        await session.rollback()
        late = await found(driver, backend="docs")
        monkeypatch.setattr("filecolumn.orm.slots.MAX_ATTACH_AGE", -1.0)
        session.add(Document(id=1, file=late))
        with pytest.raises(StaleUploadError, match=r"call from_key\(\) again"):
            await session.flush()
        await session.rollback()
    assert await held(driver) == {}


# It stays where it is until no row has it


async def test_after_a_rollback_it_stays_and_can_be_attached(driver: Driver, legacy: StorageBackend) -> None:
    report = await found(driver)
    async with driver.session() as session:
        session.add(Document(id=1, file=report))
        await session.flush()
        await session.rollback()
        assert stored() == {KEY: BODY}
        session.add(Document(id=2))
        await session.flush()
        with pytest.raises(KeyError):
            async with session.begin_nested():
                (await session.one(Document, 2)).file = report
                await session.flush()
                raise KeyError
        session.add(Document(id=3, file=report))
        await session.commit()
    assert await held(driver) == {2: None, 3: BODY}
    assert stored() == {KEY: BODY}


async def test_it_goes_with_its_row(driver: Driver, legacy: StorageBackend) -> None:
    await attach(driver, 1)
    await remove(driver, 1)
    assert stored() == {KEY: BODY}
    await driver.drain()
    await agree(driver, {})
    assert await states(driver) == {KEY: State.GONE}


async def test_it_stays_while_a_row_that_no_ledger_knows_has_it(
    driver: Driver, legacy: StorageBackend
) -> None:
    await insert_unrecorded(driver, 1)
    await attach(driver, 2)
    await remove(driver, 2)
    await driver.drain()
    await agree(driver, {1: BODY})


async def test_replaced_content_goes_and_the_row_keeps_the_new_one(
    driver: Driver, legacy: StorageBackend
) -> None:
    await attach(driver, 1)
    await run(driver, lambda session: setattr(session.get_one(Document, 1), "file", file(b"new")))
    await driver.drain()
    await agree(driver, {1: b"new"})


async def test_it_is_neither_deleted_nor_replaced_by_hand(driver: Driver, legacy: StorageBackend) -> None:
    report = await found(driver)
    with pytest.raises(OwnedFileError, match="from_key"):
        await driver.delete(report)
    with pytest.raises(OwnedFileError):
        report.save(b"new")
    assert await driver.save(report) is report
    assert stored() == {KEY: BODY}


async def test_sweeps_leave_what_lay_beside_it(driver: Driver, legacy: StorageBackend) -> None:
    legacy.put("legacy/other.pdf", [b"nobody's"])
    await attach(driver, 1)
    await remove(driver, 1)
    if not driver.is_async:
        assert sweep(driver.sync_engine, Base, grace=-5, quarantine=0).claimed == 0
    await driver.drain()
    assert stored() == {"legacy/other.pdf": b"nobody's"}


async def test_a_policy_reads_it_before_it_is_attached(
    driver: Driver, legacy: StorageBackend, tables: None
) -> None:
    legacy.put("legacy/photo.png", [b"%PDF-1.4 no picture"])
    async with driver.session() as session:
        session.add(Gated(id=1, picture=await found(driver, "legacy/photo.png")))
        with pytest.raises(ContentRejectedError):
            await session.flush()
        await session.rollback()
    assert stored()["legacy/photo.png"] == b"%PDF-1.4 no picture"


# Columns without a ledger


class Plain(DeclarativeBase):
    """Base of a model without a ledger."""


class Note(Plain):
    """A file of which no ledger knows."""

    __tablename__ = "plain_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


async def test_without_a_ledger_each_row_gets_a_copy(driver: Driver, legacy: StorageBackend) -> None:
    await run(driver, lambda session: Plain.metadata.drop_all(session.connection()))
    await run(driver, lambda session: Plain.metadata.create_all(session.connection()))
    for number in (1, 2):
        async with driver.session() as session:
            session.add(Note(id=number, file=await found(driver)))
            await session.commit()
    assert contents() == [BODY] * 3
    await run(driver, lambda session: session.delete(session.get_one(Note, 1)))
    assert contents() == [BODY] * 2
    assert legacy.get_bytes(KEY) == BODY


# from_dict


async def test_from_dict_is_the_inverse_of_to_dict(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=file(b"one")))
        await session.commit()
        assert document.file is not None
        row = document.file.to_dict()
    again = FileObject.from_dict(row)
    assert again == document.file
    assert again.to_dict() == row
    assert await driver.content(again) == b"one"
    with pytest.raises(OwnedFileError):
        await driver.delete(again)


async def test_what_a_dict_describes_is_copied_to_another_row(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        session.add(document := Document(id=1, file=file(b"one")))
        await session.commit()
        assert document.file is not None
        row = document.file.to_dict()
        session.add(Document(id=2, file=FileObject.from_dict(row)))
        await session.commit()
        document.file = FileObject.from_dict(row)
        await session.commit()
    await agree(driver, {1: b"one", 2: b"one"})


async def test_a_dict_cannot_reach_into_another_storage(driver: Driver, storage: StorageBackend) -> None:
    secrets = storages.register_backend("memory://", key="secrets")
    secrets.put("key.pem", [b"secret"])
    row = {"filename": "key.pem", "to_filename": "key.pem", "backend": "secrets", "v": 1}
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject.from_dict(row)))
        with pytest.raises(BackendMismatchError, match="secrets"):
            await session.flush()
    assert await held(driver) == {}


@pytest.mark.parametrize(
    "row", [{"size": 3}, [1], '{"filename": "a"}', FileObject("report.pdf", content=b"mine").to_dict()]
)
def test_a_dict_that_describes_no_file_is_refused(row: Any) -> None:
    with pytest.raises(CorruptFileMetadataError):
        FileObject.from_dict(row)


def test_a_file_from_a_dict_does_not_share_it() -> None:
    row: dict[str, Any] = {"filename": "a", "to_filename": "a", "metadata": {"tags": []}}
    made = FileObject.from_dict(row)
    row["metadata"]["tags"].append("later")
    assert made.metadata == {"tags": []}
