"""One grant gives one file, and what it does not give leaves nothing but the upload."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, insert, text, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import (
    ContentTypeRejectedError,
    FileObject,
    FileObjectList,
    FileTooLargeError,
    InvalidGrantError,
    ObjectNotFoundError,
    PendingContentError,
    StoredObject,
    storages,
)
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import file_state
from filecolumn.files.grants import UploadGrant, receipt
from filecolumn.signing import Claims, TokenSigner, UrlSigner
from tests.samples import PNG
from tests.scenarios.drivers import Driver, DriverSession, contents, stored
from tests.scenarios.fixtures import ON_SQLITE, make_storage, on_servers
from tests.scenarios.models import Document, Media, Strict, Video
from tests.scenarios.more_models import Archived, Gated, Keyed
from tests.scenarios.tables import tables

__all__ = ("tables",)

BODY = b"uploaded by a client"
TOKENS = TokenSigner("only for these tests, and 32 bytes")
pytestmark = pytest.mark.usefixtures("signer", "tables")


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "signer", UrlSigner(TOKENS, "/files"))


def claims_of(token: str) -> Claims:
    return TOKENS.verify(token, "grant", now=time.time())


def put_again(grant: UploadGrant, body: bytes = BODY) -> None:
    claims = claims_of(grant.token)
    storages.get(claims.backend).put(claims.key, [body], mode="overwrite")


def granted(body: bytes = BODY, name: str = "a.txt", backend: str = "docs", **options: object) -> UploadGrant:
    """Return the grant of what a client has uploaded already."""
    grant = FileObject(name, backend=backend).grant_upload(**options)  # type: ignore[arg-type]
    put_again(grant, body)
    return grant


def receipt_of(grant: UploadGrant) -> str:
    """Return what the plugin's route answers with: the server has counted the content."""
    claims = claims_of(grant.token)
    counted = FileObject("a.txt", backend="docs", content=storages.get("docs").get_bytes(claims.key)).save()
    facts: FileFacts = file_state(counted).facts
    counted.delete()
    return TOKENS.sign(receipt(claims, facts))


@pytest.fixture(params=["straight", "received"])
def kind(request: pytest.FixtureRequest) -> Callable[[UploadGrant], str]:
    """Say which token a client sends back: that of the grant, or the route's receipt."""
    return receipt_of if request.param == "received" else lambda grant: grant.token


def incoming() -> list[str]:
    return [key for key in stored() if key.startswith("incoming/")]


Second = Callable[[FileObject, str], tuple[Document, ...]]

WITHIN_A_FLUSH: dict[str, Second] = {
    "two rows": lambda file, token: (Document(file=file), Document(file=FileObject.from_grant(token))),
    "two columns": lambda file, token: (Document(file=file, scan=FileObject.from_grant(token)),),
    "two items": lambda file, token: (Document(pages=[file, FileObject.from_grant(token)]),),
    "a file and an item": lambda file, token: (Document(file=file, pages=[FileObject.from_grant(token)]),),
    "one object in two rows": lambda file, _: (Document(file=file), Document(file=file)),
    "one object in a list twice": lambda file, _: (Document(pages=[file, file]),),
    "a deep copy": lambda file, _: (Document(file=file, scan=copy.deepcopy(file)),),
    "a pickle": lambda file, _: (Document(file=file, scan=pickle.loads(pickle.dumps(file))),),
    "a stored copy": lambda file, _: (Document(file=file, scan=file.copy()),),
}


@pytest.mark.parametrize("way", WITHIN_A_FLUSH)
async def test_a_grant_gives_no_second_file_within_a_flush(
    driver: Driver, storage: StorageBackend, way: str
) -> None:
    token = granted().token
    file = FileObject.from_grant(token)
    rows = WITHIN_A_FLUSH[way](file, token)
    before = stored()
    async with driver.session() as session:
        session.add(*rows)
        with pytest.raises(InvalidGrantError):
            await session.flush()
        assert stored() == before, "it is refused before anything is copied"
        for row in rows:
            session.sync.expunge(row)
        session.add(Document(id=1, file=file))
        await session.commit()
        assert await driver.content((await session.one(Document, 1)).file) == BODY
    assert incoming() == []


async def append(session: DriverSession, file: FileObject) -> None:
    row = await session.one(Document, 1)
    row.pages.append(file)
    await session.flush()


async def add(session: DriverSession, file: FileObject) -> None:
    session.add(Document(id=2, file=file))
    await session.flush()


async def insert_row(session: DriverSession, file: FileObject) -> None:
    await session.execute(insert(Document).values(id=2, file=file, pages=[]))


async def insert_rows(session: DriverSession, file: FileObject) -> None:
    rows = [{"id": 2, "file": file, "pages": []}, {"id": 3, "file": None, "pages": []}]
    await session.run(lambda s: s.execute(insert(Document), rows))


async def update_row(session: DriverSession, file: FileObject) -> None:
    await session.execute(update(Document).where(Document.id == 1).values(scan=file))


async def insert_two(session: DriverSession, file: FileObject) -> None:
    rows = [{"id": number, "file": copy.copy(file), "pages": []} for number in (2, 3)]
    await session.run(lambda s: s.execute(insert(Document), rows))


USES = [append, add, insert_row, insert_rows, insert_two, update_row]


@pytest.mark.parametrize("use", USES)
async def test_a_grant_gives_no_second_file_within_a_transaction(
    driver: Driver, storage: StorageBackend, use: Callable[..., object]
) -> None:
    grant = granted()
    other_token = receipt_of(grant)
    async with driver.session() as session:
        session.add(Document(id=1, file=FileObject.from_grant(grant.token)))
        await session.flush()
        before = stored()
        second = FileObject.from_grant(other_token)
        with pytest.raises(InvalidGrantError):
            await use(session, second)
        assert stored() == before
        session.sync.expunge_all()
        await session.commit()
        assert await driver.content((await session.one(Document, 1)).file) == BODY
    assert contents() == [BODY]
    assert incoming() == []


@pytest.mark.parametrize("use", [add, insert_row, insert_rows])
async def test_a_grant_is_used_by_a_commit_for_all_that_come_later(
    driver: Driver, storage: StorageBackend, use: Callable[..., object], kind: Callable[[UploadGrant], str]
) -> None:
    grant = granted()
    token = kind(grant)
    async with driver.session() as session:
        await use(session, FileObject.from_grant(token))
        await session.commit()
    assert contents() == [BODY]
    with pytest.raises(ObjectNotFoundError):
        FileObject.from_grant(token)
    # as the storage's own URL allows until it ends
    put_again(grant)
    before = stored()
    async with driver.session() as session:
        session.add(Document(file=FileObject.from_grant(token)))
        with pytest.raises(InvalidGrantError) as caught:
            await session.flush()
    assert stored() == before
    assert claims_of(token).key not in str(caught.value)


async def test_a_savepoint_that_is_rolled_back_frees_the_grant(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str]
) -> None:
    file = FileObject.from_grant(kind(granted()))
    async with driver.session() as session:
        session.add(Document(id=1))
        await session.flush()
        with pytest.raises(ZeroDivisionError):
            async with session.begin_nested():
                session.add(Document(id=2, file=file))
                await session.flush()
                raise ZeroDivisionError
        assert stored().keys() == set(incoming())
        session.add(Document(id=3, file=file))
        await session.commit()
    async with driver.session() as session:
        assert await driver.content((await session.one(Document, 3)).file) == BODY
    assert contents() == [BODY]


async def test_a_savepoint_that_is_released_has_used_the_grant(
    driver: Driver, storage: StorageBackend
) -> None:
    token = granted().token
    async with driver.session() as session:
        async with session.begin_nested():
            session.add(Document(id=1, file=FileObject.from_grant(token)))
            await session.flush()
        session.add(again := Document(id=2, file=FileObject.from_grant(token)))
        with pytest.raises(InvalidGrantError):
            await session.flush()
        session.sync.expunge(again)
        await session.commit()
    assert contents() == [BODY]


async def test_to_assign_a_file_again_or_elsewhere_is_no_second_use(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str]
) -> None:
    file = FileObject.from_grant(kind(granted()))
    async with driver.session() as session:
        row = Document(id=1, file=file)
        row.file = copy.copy(file)
        row.file = file
        session.add(row)
        row.scan, row.file = row.file, None
        row.file, row.scan = row.scan, None
        await session.flush()
        assert row.file is file
        row.file = file
        await session.flush()
        row.scan, row.file = file, None
        await session.flush()
        row.pages, row.scan = FileObjectList([file]), None
        await session.commit()
        assert await driver.content(row.pages[0]) == BODY
    assert contents() == [BODY]


@pytest.mark.parametrize("end", ["rollback", "close", "error"])
async def test_a_transaction_without_commit_leaves_the_upload_and_the_file_can_be_used_again(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str], end: str
) -> None:
    file = FileObject.from_grant(kind(granted()))
    before = stored()
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        if end == "error":
            session.add(Strict(id=1))
            with pytest.raises(IntegrityError):
                await session.flush()
        else:
            await session.flush()
            assert len(stored()) == 2
        await (session.close() if end == "close" else session.rollback())
        assert stored() == before
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        await session.commit()
        assert await driver.content((await session.one(Document, 1)).file) == BODY
    assert contents() == [BODY]
    assert incoming() == []


async def test_a_refused_upload_leaves_no_copy_however_often_it_is_tried(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str]
) -> None:
    token = kind(granted(b"no picture", "a.bin"))
    before = stored()
    file = FileObject.from_grant(token)
    for _ in range(3):
        async with driver.session() as session:
            session.add(Gated(id=1, picture=file))
            with pytest.raises(ContentTypeRejectedError):
                await session.flush()
            assert stored() == before
            await session.rollback()
    assert stored() == before
    async with driver.session() as session:
        session.add(Gated(id=1, anything=file))
        await session.commit()
    assert contents() == [b"no picture"]


async def test_a_columns_type_and_size_hold_for_a_grant(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str]
) -> None:
    good = FileObject.from_grant(kind(granted(PNG, "a")))
    large = FileObject.from_grant(kind(granted(bytes(10_001), "b")))
    before = stored()
    async with driver.session() as session:
        session.add(row := Gated(id=1, picture=good, small=large))
        with pytest.raises(FileTooLargeError):
            await session.flush()
        assert stored() == before, "its size is known before anything is copied"
        row.small = None
        await session.commit()
        assert good.content_type == "image/png"
        assert good.checksum is not None
        assert await driver.content(good) == PNG


async def test_a_chosen_key_and_another_storage_get_a_copy_too(
    driver: Driver, storage: StorageBackend, tmp_path, kind: Callable[[UploadGrant], str]
) -> None:
    storages.register_backend(make_storage("obstore-local", tmp_path, "archive"))
    first, second = (FileObject.from_grant(kind(granted())) for _ in range(2))
    async with driver.session() as session:
        session.add(Keyed(id=1, key="chosen", file=first), Archived(id=1, file=second))
        await session.flush()
        await session.rollback()
        assert contents() == [BODY, BODY]
        assert contents("archive") == []
        session.add(Keyed(id=1, key="chosen", file=first), Archived(id=1, file=second))
        await session.commit()
    assert stored() == {"chosen": BODY}
    assert contents("archive") == [BODY]


async def test_content_that_is_changed_after_its_receipt_is_no_file(
    driver: Driver, storage: StorageBackend
) -> None:
    grant = granted()
    file = FileObject.from_grant(receipt_of(grant))
    put_again(grant, BODY[::-1])
    async with driver.session() as session:
        for row in (Document(file=file), Keyed(key="chosen", file=file)):
            session.add(row)
            with pytest.raises(InvalidGrantError):
                await session.flush()
            session.sync.expunge(row)
    assert contents() == [BODY[::-1]]


async def test_a_statement_that_fails_frees_the_grant(driver: Driver, storage: StorageBackend) -> None:
    file = FileObject.from_grant(granted().token)
    async with driver.session() as session:
        session.add(Document(id=1))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                await session.execute(insert(Document).values(id=1, file=file, pages=[]))
        if driver.dialect == "sqlite":
            # whose transaction goes on without a savepoint
            with pytest.raises(IntegrityError):
                await session.execute(insert(Document).values(id=1, file=file, pages=[]))
            await session.execute(upsert(Document).values(id=1, file=file, pages=[]).on_conflict_do_nothing())
        await session.commit()
    assert len(incoming()) == len(stored()) == 1, "no row has it"
    async with driver.session() as session:
        session.add(Document(id=2, file=file))
        await session.commit()
    assert contents() == [BODY]
    assert incoming() == []


async def test_a_file_that_was_saved_or_copied_before_the_flush_uses_the_grant_too(
    driver: Driver, storage: StorageBackend, kind: Callable[[UploadGrant], str]
) -> None:
    token = kind(granted())
    file = await driver.save(FileObject.from_grant(token))
    copied = file.copy()
    assert (file.checksum, file.size) == (copied.checksum, len(BODY))
    assert incoming()
    async with driver.session() as session:
        session.add(Document(id=1, file=copied))
        await session.flush()
        await session.rollback()
        session.add(Document(id=1, file=copied))
        await session.flush()
        session.add(again := Document(id=2, file=file))
        with pytest.raises(InvalidGrantError):
            await session.flush()
        session.sync.expunge(again)
        await session.commit()
        assert await driver.content((await session.one(Document, 1)).file) == BODY
    assert incoming() == []


async def test_other_content_in_the_place_of_a_granted_file_uses_no_grant(
    driver: Driver, storage: StorageBackend
) -> None:
    file = FileObject.from_grant(granted().token)
    file.save(b"other")
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        await session.commit()
    assert contents() == [b"other"]
    file = FileObject.from_grant(granted().token)
    await driver.delete(file)
    assert contents() == [b"other"]


async def test_a_grant_that_ended_in_the_meantime_is_good_for_some_hours(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = FileObject.from_grant(granted(expires_in=60).token)
    now = time.time
    async with driver.session() as session:
        monkeypatch.setattr(time, "time", lambda: now() + 7 * 3600)
        session.add(row := Document(id=1, file=file))
        with pytest.raises(InvalidGrantError):
            await session.flush()
        monkeypatch.setattr(time, "time", lambda: now() + 3600)
        await session.commit()
        assert await driver.content(row.file) == BODY


async def test_an_upload_that_was_swept_is_not_there(driver: Driver, storage: StorageBackend) -> None:
    grant = granted()
    file = FileObject.from_grant(grant.token)
    storages.get("docs").delete([claims_of(grant.token).key])
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        with pytest.raises(ObjectNotFoundError) as caught:
            await session.flush()
    assert "incoming" not in str(caught.value)
    assert contents() == []


async def test_no_row_can_name_the_upload_itself(driver: Driver, storage: StorageBackend) -> None:
    file = FileObject.from_grant(granted().token)
    statement = insert(Document.__table__).values(id=1, file=file, pages=[])  # type: ignore[arg-type]
    async with driver.connect() as connection:
        with pytest.raises(Exception) as caught:
            await connection.run(lambda c: c.execute(statement))
    assert isinstance(getattr(caught.value, "orig", caught.value), PendingContentError)


@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "still there"])
@pytest.mark.parametrize("driver", [*ON_SQLITE, *on_servers(["psycopg", "asyncmy"])], indirect=True)
async def test_of_two_transactions_at_once_one_has_the_file(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    """The other one commits when this one has asked the ledger, and is about to copy."""
    monkeypatch.setattr(storages, "inline_removal", is_removed)
    token = granted().token
    loser = Document(id=2, file=FileObject.from_grant(token))
    stat, stat_async = storage.stat, storage.stat_async
    waiting = [Document(id=1, file=FileObject.from_grant(token))]

    def look(key: str) -> Stat:
        if key.startswith("incoming/") and waiting:
            with Session(driver.sync_engine) as winner:
                winner.add(waiting.pop())
                winner.commit()
        return stat(key)

    async def look_async(key: str) -> Stat:
        if key.startswith("incoming/") and waiting:
            async with driver.session() as winner:
                winner.add(waiting.pop())
                await winner.commit()
        return await stat_async(key)

    monkeypatch.setattr(storage, "stat", look)
    monkeypatch.setattr(storage, "stat_async", look_async)
    async with driver.session() as session:
        session.add(loser)
        with pytest.raises(InvalidGrantError):
            await session.commit()
        await session.rollback()
    assert waiting == []
    assert [body for key, body in stored().items() if not key.startswith("incoming/")] == [BODY]
    async with driver.session() as session:
        assert await driver.content((await session.one(Document, 1)).file) == BODY
        assert (await session.execute(text("SELECT count(*) FROM documents"))).scalar_one() == 1


@pytest.mark.parametrize(
    "column", [Video.original, "Video.original", Media.original, "Media.original", "media.original"], ids=str
)
async def test_a_grant_is_for_a_column_of_a_class_and_its_subclasses(
    driver: Driver, storage: StorageBackend, column: object
) -> None:
    token = granted(column=column).token
    async with driver.session() as session:
        session.add(refused := Document(file=FileObject.from_grant(token)))
        with pytest.raises(InvalidGrantError):
            await session.flush()
        session.sync.expunge(refused)
        session.add(Video(id=1, original=FileObject.from_grant(token)))
        await session.commit()
    assert contents() == [BODY]


async def test_a_grant_for_a_subclass_is_for_no_row_of_its_base(
    driver: Driver, storage: StorageBackend
) -> None:
    token = granted(column=Video.original).token
    async with driver.session() as session:
        session.add(Media(id=1, kind="media", original=FileObject.from_grant(token)))
        with pytest.raises(InvalidGrantError):
            await session.flush()


def test_claims_of_a_receipt_name_the_place_of_the_grant(storage: StorageBackend) -> None:
    grant = granted()
    one, other = claims_of(grant.token), claims_of(receipt_of(grant))
    assert replace(other, size=-1, checksum="", content_type="") == one


class Base(DeclarativeBase): ...


class Unrecorded(Base):
    __tablename__ = "unrecorded"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="docs", ledger=False))


def test_a_grant_gives_one_file_within_a_transaction_without_a_ledger_too(storage: StorageBackend) -> None:
    token = granted().token
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Unrecorded(file=FileObject.from_grant(token)))
        session.flush()
        session.rollback()
        assert len(incoming()) == len(stored()) == 1
        session.add(Unrecorded(file=FileObject.from_grant(token)))
        session.flush()
        session.add(second := Unrecorded(file=FileObject.from_grant(token)))
        with pytest.raises(InvalidGrantError):
            session.flush()
        session.expunge(second)
        session.commit()
    engine.dispose()
    assert contents() == [BODY]
    with pytest.raises(ObjectNotFoundError):
        FileObject.from_grant(token)


@pytest.mark.parametrize("driver", ["async-file"], indirect=True)
@pytest.mark.parametrize("storage", ["obstore-memory"], indirect=True)
async def test_a_flush_that_is_cancelled_while_it_reads_the_copy_leaves_only_the_upload(
    driver: Driver, storage: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = FileObject.from_grant(granted().token)
    before, reading = stored(), asyncio.Event()

    async def silent(key: str, **_: object) -> AsyncIterator[bytes]:
        assert not key.startswith("incoming/")
        reading.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> None:
        async with driver.session() as session:
            session.add(Document(id=1, file=file))
            await session.commit()

    with monkeypatch.context() as patched:
        patched.setattr(storage, "get_async", silent)
        task = asyncio.create_task(work())
        await asyncio.wait_for(reading.wait(), 20)
        assert len(stored()) == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stored() == before
    async with driver.session() as session:
        session.add(Document(id=1, file=file))
        await session.commit()
    assert contents() == [BODY]
