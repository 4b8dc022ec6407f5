"""`default=`, `insert_default=` and `onupdate=` of a column make files that the flush stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import ForeignKey, create_engine, insert, select, update
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from filecolumn import FileObject, NotSupportedError, PendingContentError, StoredObject
from filecolumn.orm.defaults import RowContext
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.more_models import Made, Remade
from tests.scenarios.records import file, run
from tests.scenarios.tables import tables

__all__ = ("tables",)

pytestmark = pytest.mark.usefixtures("tables", "storage")

DEFAULTS = [b"one", b"plain", b"shared", b"two"]


async def test_a_new_row_gets_the_files_that_its_columns_make(driver: Driver) -> None:
    await run(driver, lambda s: s.add_all([Made(id=1, title="first"), Made(id=2, title="second")]))
    assert contents() == sorted([*DEFAULTS, *DEFAULTS, b"first", b"second"])
    async with driver.session() as session:
        for number, title in ((1, b"first"), (2, b"second")):
            made = await session.one(Made, number)
            assert await driver.content(made.plain) == b"plain"
            assert await driver.content(made.titled) == title
            assert await driver.content(made.shared) == b"shared"
            assert [await driver.content(each) for each in made.several] == [b"one", b"two"]
            assert list(made.empty) == []
        await session.delete(await session.one(Made, 1))
        await session.commit()
    assert contents() == sorted([*DEFAULTS, b"second"])


async def test_what_a_new_row_has_is_kept(driver: Driver) -> None:
    made = Made(id=1, plain=file(b"a"), titled=file(b"b"), shared=file(b"c"), several=[])
    await run(driver, lambda s: s.add(made))
    assert contents() == [b"a", b"b", b"c"]


async def test_a_row_that_is_rolled_back_leaves_none_of_its_defaults(driver: Driver) -> None:
    async with driver.session() as session:
        session.add(made := Made(id=1, title="first"))
        await session.run(Session.flush)
        assert len(contents()) == 5
        await session.rollback()
        assert contents() == []
        session.add(made)
        await session.commit()
    assert contents() == sorted([*DEFAULTS, b"first"])


async def last(driver: Driver) -> bytes | None:
    async with driver.session() as session:
        row = await session.one(Remade, 1)
        return None if row.last is None else await driver.content(row.last)


async def test_an_update_of_the_row_makes_a_new_file_and_gives_up_the_old_one(driver: Driver) -> None:
    await run(driver, lambda s: s.add(Remade(id=1)))
    assert await last(driver) is None

    for note in ("first", "second"):
        async with driver.session() as session:
            (await session.one(Remade, 1)).note = note
            await session.commit()
        assert await last(driver) == note.encode()
        assert contents() == sorted([*DEFAULTS, b"", note.encode()])


async def test_no_file_is_made_where_the_row_of_its_table_is_not_updated(driver: Driver) -> None:
    await run(driver, lambda s: s.add(Remade(id=1, note="first")))
    async with driver.session() as session:
        row = await session.one(Remade, 1)
        row.note = "first"
        # of the other table
        row.title = "changed"
        await session.commit()
    assert await last(driver) is None


async def test_what_is_assigned_in_an_update_is_kept(driver: Driver) -> None:
    await run(driver, lambda s: s.add(Remade(id=1)))
    async with driver.session() as session:
        row = await session.one(Remade, 1)
        row.note, row.last = "first", file(b"assigned")
        await session.commit()
    assert await last(driver) == b"assigned"
    assert contents() == sorted([*DEFAULTS, b"", b"assigned"])


async def test_a_statement_is_refused_with_what_to_do(driver: Driver) -> None:
    with pytest.raises((PendingContentError, StatementError), match="default= and onupdate="):
        await run(driver, lambda s: s.execute(insert(Made.__table__).values(id=1)))
    async with driver.session() as session:
        assert await session.run(lambda s: s.scalars(select(Made.id)).all()) == []
    assert contents() == []


async def test_a_function_may_ask_for_the_values_that_the_row_has_so_far(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks_for(key: str) -> None:
        monkeypatch.setattr(
            Made.__table__.c.titled.default,
            "arg",
            lambda context: FileObject("a", content=repr(context.get_current_parameters()[key]).encode()),
        )

    asks_for("title")
    await run(driver, lambda s: s.add(Made(id=1)))
    assert b"''" in contents()
    asks_for("undefined")
    with pytest.raises(KeyError, match="'undefined' has no value before the row is written"):
        await run(driver, lambda s: s.add(Made(id=2)))
    monkeypatch.setattr(Made.__table__.c.titled.default, "arg", lambda context: context.connection)
    with pytest.raises(AttributeError, match="use current_parameters, not 'connection'"):
        await run(driver, lambda s: s.add(Made(id=3)))
    assert len(contents()) == 5


def once() -> Iterator[bytes]:
    yield b"once"


@pytest.mark.parametrize(
    "given",
    [
        lambda: FileObject("a", content=once()),
        lambda: FileObject("a", content=b"a", to_filename="key"),
        lambda: FileObject("a", content=b"a", backend="docs").save(),
    ],
    ids=["read once", "one key", "saved"],
)
async def test_one_file_that_cannot_be_that_of_each_row_is_refused(
    driver: Driver, given: Callable[[], FileObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Made.__table__.c.shared.default, "arg", given())
    before = contents()
    with pytest.raises(NotSupportedError, match=r"use a function: default=lambda"):
        await run(driver, lambda s: s.add(Made(id=1)))
    assert contents() == before


async def test_a_list_that_was_only_read_gets_what_its_column_makes(driver: Driver) -> None:
    made, given, emptied = Made(id=1), Made(id=2, several=[]), Made(id=3)
    assert [*made.several, *given.several, *emptied.several] == []
    emptied.several.clear()
    await run(driver, lambda s: s.add_all([made, given, emptied]))
    assert contents() == sorted([*DEFAULTS, *[b"plain", b"shared"] * 2, b"", b"", b""])


async def test_an_empty_list_that_was_given_is_kept_after_a_rollback(driver: Driver) -> None:
    async with driver.session() as session:
        session.add(given := Made(id=1, several=[]))
        await session.flush()
        await session.rollback()
        session.add(given)
        await session.commit()
    assert contents() == sorted([b"plain", b"shared", b""])


ASKED: list[type[object]] = []


def nothing(context: object) -> None:
    ASKED.append(type(context))


class Base(DeclarativeBase): ...


class Album(Base):
    """Its row and that of its cover point to each other."""

    __tablename__ = "albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    cover_id: Mapped[int | None] = mapped_column(ForeignKey("covers.id", use_alter=True, name="cover"))
    cover: Mapped[Cover | None] = relationship(foreign_keys=cover_id, post_update=True)
    last: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs"), onupdate=lambda: FileObject("last", content=b"made")
    )
    sleeve: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs"), default=nothing)


class Cover(Base):
    __tablename__ = "covers"

    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("albums.id"))
    album: Mapped[Album] = relationship(foreign_keys=album_id)


def test_a_flush_asks_once_for_a_file_that_is_not_made(storage: object) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    ASKED.clear()
    with Session(engine) as session:
        session.add_all([Album(), Album()])
        session.commit()
    # SQLAlchemy asks again, with a context of its own
    assert ASKED.count(RowContext) == 2
    assert len(ASKED) == 4
    engine.dispose()


def test_an_update_past_the_flushs_own_says_what_helps(storage: object) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        album = Album()
        album.cover = Cover(album=album)
        session.add(album)
        with pytest.raises(
            (PendingContentError, StatementError),
            match="no onupdate= in a class with a relationship of post_update=True",
        ):
            session.commit()
    change = update(Album).values(cover_id=None)
    with Session(engine) as session:
        session.execute(insert(Album).values(id=1))
        with pytest.raises(
            (PendingContentError, StatementError), match="give a statement the file as a value"
        ):
            session.execute(change)
        session.rollback()
        session.execute(insert(Album).values(id=1))
        session.execute(change.values(last=file(b"given")))
        session.commit()
    assert contents() == [b"given"]
    engine.dispose()
