"""Facts wherever SQLAlchemy takes an expression: statements, aliases, relationships, mappings."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    insert,
    lambda_stmt,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import aliased, selectinload, with_loader_criteria

from filecolumn import FactColumn, FileObject, NotSupportedError, PendingContentError, StoredObject
from filecolumn.backends.base import StorageBackend
from filecolumn.orm.facts_sql import fact
from tests.orm.facts_oracle import write_rows
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.fixtures import on_servers
from tests.scenarios.models import Document, Folder, Item
from tests.scenarios.more_models import Sized, create_tables
from tests.servers.databases import SERVERS, own_database

FILE: Any = Document.file
PAGES: Any = Document.pages
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30


def text(content: bytes, name: str = "a.txt", **metadata: Any) -> FileObject:
    return FileObject(name, content=content, content_type="text/plain", metadata=metadata)


async def fill(driver: Driver) -> None:
    """Add documents: 1 has a text of one byte, 2 of four, 3 a picture, 4 no file; their pages grow."""
    files = [text(b"1", owner="ann", width=10), text(b"four", "b.txt", owner="bob"), None, None]
    files[2] = FileObject("c.png", content=PNG, content_type="image/png", metadata={"size": {"width": 640}})
    async with driver.session() as session:
        for number, file in enumerate(files, 1):
            pages = [text(b"x" * size, f"{size}.txt") for size in range(1, number)]
            session.add(Document(id=number, title=f"{number}", file=file, pages=pages))
        await session.commit()


async def rows(driver: Driver, statement: Any) -> list[Any]:
    """Return what a session and, of a statement without ORM options, a connection read."""
    async with driver.session() as session:
        found = (await session.execute(statement)).all()
        return [tuple(row) if len(row) > 1 else row[0] for row in found]


async def ids(driver: Driver, *conditions: Any) -> list[int]:
    found = await rows(driver, select(Document.id).where(*conditions).order_by(Document.id))
    connected = await connected_rows(driver, select(Document.id).where(*conditions).order_by(Document.id))
    assert found == connected
    return found


async def connected_rows(driver: Driver, statement: Any) -> list[Any]:
    async with driver.connect() as connection:
        return await connection.run(lambda c: list(c.execute(statement).scalars()))


async def test_facts_that_a_flush_wrote_are_found(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    async with driver.session() as session:
        file = (await session.one(Document, 2)).file
        assert file is not None
        known = {
            FILE.filename: file.filename,
            FILE.path: file.path,
            FILE.backend: file.backend_key,
            FILE.content_type: file.content_type,
            FILE.checksum: file.checksum,
            FILE.etag: file.etag,
            FILE.version_id: file.version_id,
            FILE.size: file.size,
            FILE.last_modified: file.last_modified,
            FILE.metadata: dict(file.metadata),
        }
    for column, value in known.items():
        assert await rows(driver, select(column).where(Document.id == 2)) == [value], column
        if not isinstance(value, dict | None):
            assert 2 in await ids(driver, column == value)
    modified = FILE.last_modified.as_datetime()
    (found,) = await rows(driver, select(modified).where(Document.id == 2))
    assert abs(found - file.modified_at) <= timedelta(microseconds=1)
    for moment in (found, file.modified_at):
        assert 2 in await ids(driver, modified == moment)
    assert await ids(driver, FILE.metadata["owner"] == "ann") == [1]
    assert await ids(driver, FILE.metadata["width"].as_integer() > 5) == [1]
    assert await ids(driver, FILE.metadata["size"]["width"].as_integer() == 640) == [3]
    assert await ids(driver, ~FILE.metadata["owner"].exists()) == [3, 4]


async def test_facts_are_grouped_ordered_and_counted(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    per_type = (
        select(FILE.content_type, func.count(), func.sum(FILE.size))
        .group_by(FILE.content_type)
        .having(func.count(FILE.size) > 0)
        .order_by(FILE.content_type.desc())
    )
    assert await rows(driver, per_type) == [("text/plain", 2, 5), ("image/png", 1, len(PNG))]
    assert await rows(
        driver, select(FILE.size).where(FILE.size > 0).distinct().order_by(FILE.size.desc()).limit(2)
    ) == [
        len(PNG),
        4,
    ]
    ranked = select(func.row_number().over(partition_by=FILE.content_type, order_by=FILE.size)).where(
        FILE.size > 0
    )
    assert sorted(await rows(driver, ranked)) == [1, 1, 2]
    labelled = case((FILE.size > 3, "large"), else_="small").label("kind")
    assert await rows(driver, select(labelled).order_by(Document.id)) == ["small", "large", "large", "small"]
    assert await rows(driver, select(func.upper(FILE.filename) + literal("!")).where(Document.id == 1)) == [
        "A.TXT!"
    ]


async def test_metadata_under_any_name_is_grouped(driver: Driver, storage: StorageBackend) -> None:
    names = ("a b", "ü", "kind")
    async with driver.session() as session:
        for number, value in enumerate(("x", "y", "x"), 1):
            session.add(Document(id=number, file=text(b"1", **dict.fromkeys(names, value))))
        await session.commit()
    for name in names:
        metadata = FILE.metadata[name]
        statement = select(FILE.metadata[name], func.count()).group_by(metadata).order_by(FILE.metadata[name])
        assert await rows(driver, statement) == [("x", 2), ("y", 1)], name


async def test_facts_of_aliases_subqueries_and_unions(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    larger = aliased(Document)
    joined = (
        select(Document.id, larger.id)
        .join(larger, larger.file.size > FILE.size)
        .order_by(Document.id, larger.id)
    )
    assert await rows(driver, joined) == [(1, 2), (1, 3), (2, 3)]
    sub = select(Document.id, Document.file).where(FILE.size < 10).subquery()
    assert sorted(await rows(driver, select(sub.c.file.size))) == [1, 4]
    union = union_all(
        select(Document.file).where(Document.id == 1), select(Document.file).where(Document.id == 2)
    )
    assert sorted(await rows(driver, select(union.subquery().c.file.size))) == [1, 4]
    cte = select(Document.file).cte()
    assert await rows(driver, select(func.sum(cte.c.file.size))) == [5 + len(PNG)]
    of_cte = aliased(Document, select(Document).where(FILE.size > 3).cte())
    assert await rows(driver, select(of_cte.id).where(of_cte.file.size < 10)) == [2]
    lateral = (
        select(func.max(larger.file.size))
        .where(larger.file.content_type == FILE.content_type)
        .scalar_subquery()
    )
    assert await ids(driver, FILE.size == lateral) == [2, 3]
    table = Document.__table__
    assert await connected_rows(driver, select(table.c.id).where(fact(table.c.file, "size") == 4)) == [2]
    assert (
        await connected_rows(driver, select(table.alias().c.file.size).where(text_of("1 = 1")).limit(1)) != []
    )


def text_of(condition: str) -> Any:
    return literal(condition) == condition


async def test_facts_of_relationships(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        session.add(Folder(id=1, items=[Item(id=1, file=text(b"1")), Item(id=2, file=text(b"four"))]))
        session.add(Folder(id=2, items=[Item(id=3, file=text(b"1"))]))
        await session.commit()
    item: Any = Item.file
    assert await rows(driver, select(Folder.id).where(Folder.items.any(item.size > 3))) == [1]
    assert await rows(driver, select(Folder.id).where(~Folder.items.any(item.size > 3))) == [2]
    statement = (
        select(Folder.id, func.sum(item.size)).join(Folder.items).group_by(Folder.id).order_by(Folder.id)
    )
    assert await rows(driver, statement) == [(1, 5), (2, 1)]
    async with driver.session() as session:
        criteria = with_loader_criteria(Item, lambda cls: cls.file.size > 3)
        loaded = select(Folder).options(selectinload(Folder.items), criteria).order_by(Folder.id)
        folders = await session.run(lambda s: s.scalars(loaded).all())
        assert [[each.id for each in folder.items] for folder in folders] == [[2], []]
    async with driver.session() as session:
        small = select(Folder).options(selectinload(Folder.items.and_(item.size < 3))).where(Folder.id == 1)
        (folder,) = await session.run(lambda s: s.scalars(small).all())
        assert [each.id for each in folder.items] == [1]


async def test_a_list_is_asked_for_its_files(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    assert await ids(driver, PAGES.some(lambda file: file.size > 1)) == [3, 4]
    assert await ids(driver, PAGES.every(lambda file: file.size < 3)) == [1, 2, 3]
    assert await ids(driver, PAGES.count() == 2) == [3]
    assert await ids(driver, PAGES.some(lambda file: file.filename == "3.txt")) == [4]
    assert await ids(driver, PAGES.some(lambda file: file.size < FILE.size)) == [2, 3]
    selected = select(PAGES.count(), PAGES.some(lambda file: file.size > 1)).where(Document.id == 4)
    assert await rows(driver, selected) == [(3, True)]
    other = aliased(Document)
    assert await rows(driver, select(other.id).where(other.pages.some(lambda file: file.size > 2))) == [4]
    async with driver.session() as session:
        page = (await session.one(Document, 3)).pages[0]
    assert await ids(driver, PAGES.some(lambda file: file == page)) == [3]


async def test_bulk_statements_choose_rows_by_facts(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    async with driver.session() as session:
        loaded = await session.one(Document, 1)
        await session.execute(update(Document).where(FILE.size == 1).values(title=FILE.filename))
        await session.execute(
            update(Document).where(FILE.content_type == "image/png").values(file=text(b"new"))
        )
        await session.execute(delete(Document).where(PAGES.some(lambda file: file.size == 3)))
        await session.execute(delete(Document).where(FILE.size == 4))
        await session.commit()
        await session.refresh(loaded)
        assert loaded.title == "a.txt"
    assert await ids(driver) == [1, 3]
    assert sorted(contents()) == sorted([b"1", b"new", b"x", b"xx"])


async def test_a_deletion_by_a_fact_that_is_rolled_back_loses_nothing(
    driver: Driver, storage: StorageBackend
) -> None:
    await fill(driver)
    before = sorted(contents())
    async with driver.session() as session:
        await session.one(Document, 1)
        await session.execute(delete(Document).where(FILE.size > 0))
        await session.rollback()
    assert await ids(driver) == [1, 2, 3, 4]
    assert sorted(contents()) == before


async def test_statements_return_facts(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        if driver.dialect in {"mysql", "mariadb"}:
            pytest.skip("MariaDB has no RETURNING for UPDATE")
        values = {"id": 1, "file": text(b"four")}
        returned = await session.execute(insert(Document).values(**values).returning(FILE.size))
        assert returned.scalars().all() == [4]
        changed = update(Document).where(FILE.size == 4).values(title="new").returning(FILE.filename)
        assert (await session.execute(changed)).scalars().all() == ["a.txt"]
        await session.commit()


async def test_facts_are_attributes_of_a_model(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    async with driver.session() as session:
        session.add(Sized(id=1, file=text(b"four")), Sized(id=2, file=text(b"1")), Sized(id=3))
        await session.commit()
    async with driver.session() as session:
        found = (await session.execute(select(Sized).order_by(Sized.id))).scalars().all()
        assert [(each.size, each.is_large) for each in found] == [(4, True), (1, False), (None, False)]
        large = select(Sized.id).where(Sized.is_large, Sized.size < 10)
        assert (await session.execute(large)).scalars().all() == [1]
        await session.run(lambda s: s.query(Sized).filter(Sized.size == 1).delete())
        await session.commit()


async def test_files_are_compared_by_their_place(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    async with driver.session() as session:
        one, two = (await session.one(Document, 1)).file, (await session.one(Document, 2)).file
        pages = (await session.one(Document, 4)).pages
        one_page = (await session.one(Document, 2)).pages
    for condition, expected in (
        (one == FILE, [1]),
        (one == FILE, [1]),
        (one != FILE, [2, 3]),
        (FILE.in_([one, two]), [1, 2]),
        (FILE.not_in([one]), [2, 3]),
        (FILE.in_([]), []),
        (FILE.is_distinct_from(one), [2, 3, 4]),
        (FILE.is_not_distinct_from(one), [1]),
        (FILE.is_(None), [4]),
        (FILE == None, [4]),  # noqa: E711
        (FILE.is_not(None), [1, 2, 3]),
        (pages == PAGES, [4]),
        (list(one_page) == PAGES, [2]),
        (PAGES == [], [1]),
        (pages != PAGES, [1, 2, 3]),
    ):
        assert await ids(driver, condition) == expected, str(condition)


async def test_a_changed_file_is_compared_by_its_place_too(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    async with driver.session() as session:
        document = await session.one(Document, 1)
        file = document.file
        assert file is not None
        file.update_metadata({"owner": "carl"})
        assert (await session.execute(select(Document.id).where(file == FILE))).scalars().all() == [1]


def test_content_that_is_not_stored_is_not_compared() -> None:
    for condition in (
        lambda: text(b"never") == FILE,
        lambda: FILE.in_([text(b"never")]),
        lambda: [text(b"")] == PAGES,
    ):
        with pytest.raises(PendingContentError, match="not stored"):
            condition()


async def test_what_json_has_for_an_index_is_json(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    assert await rows(driver, select(FILE["size"]).where(Document.id == 2)) == [4]
    assert await rows(driver, select(FILE["metadata"]).where(Document.id == 2)) == [{"owner": "bob"}]
    assert await ids(driver, FILE["size"].as_integer() == 4) == [2]
    assert await rows(driver, select(PAGES[0]["size"]).where(Document.id == 2)) == [1]


REFUSED: dict[str, Any] = {
    "startswith": lambda column: column.startswith("a"),
    "contains": lambda column: column.contains("a"),
    "like": lambda column: column.like("a"),
    "icontains": lambda column: column.icontains("a"),
    "regexp_match": lambda column: column.regexp_match("a"),
    "gt": lambda column: column > 10,
    "between": lambda column: column.between(1, 2),
    "concat": lambda column: column + "a",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_for_facts_says_so_on_a_file(name: str) -> None:
    with pytest.raises(
        NotSupportedError, match=r"Document\.file\.(filename|size)|documents\.file\.(filename|size)"
    ):
        REFUSED[name](FILE)
    with pytest.raises(NotSupportedError, match=r"pages\.some\(lambda file: "):
        REFUSED[name](PAGES)


WRONG: dict[str, Any] = {
    "size": (lambda: FILE.size > "5", "a number"),
    "size in": (lambda: FILE.size.in_([1, "5"]), "a number"),
    "filename": (lambda: FILE.filename == 5, "text"),
    "metadata value": (lambda: FILE.metadata["n"] == 3, r"as_integer\(\)"),
    "metadata": (lambda: FILE.metadata == {"a": 1}, r'metadata\["name"\]'),
    "last_modified": (lambda: FILE.last_modified > datetime(2026, 1, 1, tzinfo=UTC), r"as_datetime\(\)"),
    "as_datetime": (lambda: FILE.last_modified.as_datetime() > date(2026, 1, 1), "datetime with a time zone"),
    "file": (lambda: FILE == "a.pdf", r"file\.filename"),
    "pages": (lambda: PAGES == "a.pdf", r"\.some\("),
    "some": (lambda: PAGES.some(FILE.size > 1), "lambda file"),
    "every": (lambda: PAGES.every(True), "lambda file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_type_is_refused_and_says_what_to_write(name: str) -> None:
    compare, message = WRONG[name]
    with pytest.raises(TypeError, match=message):
        compare()


def test_times_are_not_counted_with() -> None:
    modified = FILE.last_modified.as_datetime()
    with pytest.raises(NotSupportedError, match="seconds"):
        _ = modified - modified


async def test_numbers_that_no_integer_of_the_database_holds_are_compared(
    driver: Driver, storage: StorageBackend
) -> None:
    await fill(driver)
    assert await ids(driver, FILE.size < 2**70) == [1, 2, 3]
    assert await ids(driver, FILE.size > -(10**400)) == [1, 2, 3]
    assert await ids(driver, FILE.size > 1.5) == [2, 3]
    assert await ids(driver, FILE.size.in_([1, 4.0, 10**30])) == [1, 2]
    assert await ids(driver, FILE.size.between(0.5, 4)) == [1, 2]
    assert await ids(driver, FILE.size + 1 == 5) == [2]


async def test_texts_are_compared_with_expressions_as_they_are(
    driver: Driver, storage: StorageBackend
) -> None:
    async with driver.session() as session:
        for number, name in enumerate(("Ab%c.txt", "ab%c.txt", "abxc.txt"), 1):
            session.add(Document(id=number, title="ab%", file=text(b"1", name)))
        await session.commit()
    assert await ids(driver, FILE.filename.startswith(Document.title)) == [2]
    assert await ids(driver, FILE.filename.startswith(func.lower("AB%"))) == [2]
    assert await ids(driver, FILE.filename.contains(Document.title)) == [2]
    assert await ids(driver, FILE.filename.endswith(literal("%c.txt"))) == [1, 2]
    assert await ids(driver, FILE.filename.endswith(literal(""))) == [1, 2, 3]
    assert await ids(driver, FILE.filename.startswith("ab%", escape="/")) == [2, 3]
    assert await ids(driver, ~FILE.filename.startswith("ab/%", escape="/")) == [1, 3]
    assert await ids(driver, FILE.filename.startswith("ab%", autoescape=True)) == [2]
    assert await ids(driver, FILE.filename.icontains("B%", autoescape=True)) == [1, 2]


async def test_the_columns_of_a_result_have_the_names_of_facts(
    driver: Driver, storage: StorageBackend
) -> None:
    await fill(driver)
    statement = select(FILE.size, FILE.path, FILE.metadata["owner"], PAGES.count()).where(Document.id == 1)
    async with driver.session() as session:
        row = (await session.execute(statement)).one()
        assert row._fields == ("size", "path", "owner", "count")


def caused(error: BaseException) -> str:
    """Return the message of the first of a chain of errors: SQLAlchemy tells of each place where it has looked."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def test_a_fact_of_the_wrong_kind_of_column_says_what_to_write() -> None:
    with pytest.raises(AttributeError) as raised:
        _ = PAGES.size
    assert ".some(lambda file: file.size" in caused(raised.value)
    with pytest.raises(AttributeError) as raised:
        FILE.some(lambda file: file.size > 1)
    assert "holds one file" in caused(raised.value)
    assert not hasattr(PAGES, "size")
    with pytest.raises(AttributeError):
        _ = FILE.weight


def test_a_fact_by_a_wrong_name_or_of_another_column_is_refused() -> None:
    with pytest.raises(LookupError, match="filename, path, backend"):
        fact(FILE, "weight")
    with pytest.raises(TypeError, match="not a file column"):
        fact(Document.title, "size")
    with pytest.raises(ValueError, match="index of a JSON array"):
        FILE.metadata["a"][-1]
    for name in ("a\x00", "\ud800"):
        with pytest.raises(ValueError, match="not a name in JSON"):
            FILE.metadata[name]


def test_statements_with_facts_are_pickled_and_their_sql_is_cached() -> None:
    table = Table(
        "documents",
        MetaData(),
        Column("file", StoredObject(ledger=False)),
        Column("pages", StoredObject(multiple=True, ledger=False)),
    )
    file, pages = table.c.file, table.c.pages
    statement = select(file.size).where(
        file.metadata["a"].as_integer() > 3, pages.some(lambda page: page.size > 1)
    )
    again = pickle.loads(pickle.dumps(statement))
    assert str(again) == str(statement)

    def key(name: str, bound: int) -> Any:
        found = select(Document.id).where(FILE.metadata[name].as_integer() > bound, FILE.size > bound)
        return found._generate_cache_key()

    assert key("a", 1) == key("a", 2)
    assert key("a", 1) != key("b", 1)
    assert key("a b", 1) == key("a b", 2)
    sizes = (select(FILE.metadata["a"].as_integer()), select(FILE.metadata["a"].as_float()))
    assert sizes[0]._generate_cache_key() != sizes[1]._generate_cache_key()


def test_a_statement_is_readable() -> None:
    assert "documents.file.size > " in str(select(Document.id).where(FILE.size > 3))


def test_no_name_becomes_sql() -> None:
    hostile = "x' OR 1=1 --"
    statement = select(Document.id).where(FILE.metadata[hostile] == "a")
    assert hostile not in str(statement)


EACH_DRIVER = ["sync-file", "async-file", *on_servers(["psycopg", "asyncpg", "pymysql", "asyncmy"])]


@pytest.mark.parametrize("driver", EACH_DRIVER, indirect=True)
async def test_each_driver_binds_names_and_values(driver: Driver, storage: StorageBackend) -> None:
    names = ("a b", "é", "😀", "\x7f", "%s", ":x", "?", "$1")
    async with driver.session() as session:
        session.add(Document(id=1, file=text(b"four", **dict.fromkeys(names, "x"))))
        session.add(Document(id=2, file=text(b"1", **dict.fromkeys(names, 2))))
        await session.commit()
    for name in names:
        value = FILE.metadata[name]
        assert await ids(driver, value == "x") == [1], name
        assert await ids(driver, value.as_integer() == 2) == [2], name
        assert await ids(driver, value.is_(None)) == [2], name
        assert await rows(driver, select(value).order_by(value.is_(None), value)) == ["x", None], name
    now = datetime.now(UTC)
    recent = FILE.last_modified.as_datetime()
    assert await ids(driver, recent.between(now + timedelta(1), now - timedelta(1), symmetric=True)) == [1, 2]
    assert await ids(driver, recent.in_([now + timedelta(days=1)])) == []
    (found,) = await rows(driver, select(func.coalesce(recent, now)).where(Document.id == 1))
    assert abs(found - now) < timedelta(hours=1)


def above(limit: int) -> Any:
    return with_loader_criteria(Document, lambda cls: cls.file.size > limit)


@pytest.mark.parametrize("driver", EACH_DRIVER, indirect=True)
async def test_variables_of_lambdas_are_compared_with(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)

    def larger(limit: int, prefix: str, since: datetime) -> Any:
        statement = lambda_stmt(lambda: select(Document.id).where(FILE.size > limit))
        statement += lambda each: each.where(FILE.filename.startswith(prefix))
        statement += lambda each: each.where(FILE.last_modified.as_datetime() > since)
        statement += lambda each: each.order_by(Document.id)
        return statement

    before = datetime(2026, 1, 1, tzinfo=UTC)
    for limit, prefix, expected in (
        (1, "b", [2]),
        (0, "a", [1]),
        (0, "b", [2]),
        (10, "c", [3]),
        (100, "c", []),
    ):
        assert await rows(driver, larger(limit, prefix, before)) == expected
    for limit, expected in ((3, [2, 3]), (10, [3])):
        assert await rows(driver, select(Document.id).options(above(limit)).order_by(Document.id)) == expected


@pytest.mark.parametrize(
    "driver", ["sync-file", *on_servers(["psycopg", "asyncpg", "pymysql"])], indirect=True
)
async def test_numbers_of_any_size_are_compared_with(driver: Driver, storage: StorageBackend) -> None:
    await fill(driver)
    assert await ids(driver, FILE.last_modified < 2**70) == [1, 2, 3]
    assert await ids(driver, FILE.metadata["width"].as_float() < 10**400) == [1]
    assert await ids(driver, FILE.metadata["width"].as_float().in_([2**70, 10])) == [1]
    assert await ids(driver, PAGES.count() < 2**70) == [1, 2, 3, 4]
    assert await ids(driver, FILE.size < float("inf")) == [1, 2, 3]
    assert await ids(driver, FILE.size.in_(size for size in (2**70, 4))) == [2]


def test_what_compares_with_nothing_is_refused() -> None:
    for search in (
        FILE.filename.startswith,
        FILE.filename.endswith,
        FILE.filename.contains,
        FILE.filename.like,
    ):
        with pytest.raises(TypeError, match="leave the condition out"):
            search(None)
    nan = float("nan")
    for condition in (lambda: FILE.size > nan, lambda: FILE.last_modified == nan):
        with pytest.raises(ValueError, match="NaN"):
            condition()
    with pytest.raises(TypeError, match="give a bool"):
        _ = FILE.metadata["a"].as_boolean() == 1
    with pytest.raises(TypeError, match="a number"):
        _ = PAGES.count() == "1"
    with pytest.raises(TypeError, match="text"):
        FILE.metadata["owner"].in_(number for number in (0, 1))


def test_paths_in_metadata_are_bounded() -> None:
    for step in (None, (1, 2), slice(0, 1), True):
        with pytest.raises(TypeError, match="neither the name"):
            FILE.metadata["a"][step]
    with pytest.raises(ValueError, match="index"):
        FILE.metadata["a"][2**32]
    deep = FILE.metadata
    for _ in range(8):
        deep = deep["ü"]
    for dialect in (sqlite.dialect(), postgresql.dialect(), mysql.dialect(is_mariadb=True)):
        assert len(str(select(deep.as_integer()).compile(dialect=dialect))) < 200_000
    with pytest.raises(ValueError, match="8 levels"):
        deep["a"]
    with pytest.raises(TypeError, match="not iterable"):
        list(FILE.metadata)


@pytest.mark.parametrize("kind", ["sqlite", *on_servers(SERVERS)])
def test_texts_are_compared_by_code_point_beside_any_other_text(kind: str, tmp_path: Path) -> None:
    """A column that ignores case, or has another collation, decides nothing; with a generated column neither."""
    collations = {"sqlite": "NOCASE", "postgresql": "en-x-icu", "mariadb": "utf8mb4_general_ci"}
    metadata = MetaData()
    tables = [
        Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column("title", String(50, collation=collations[kind])),
            Column("file", StoredObject(ledger=False)),
            Column("pages", StoredObject(multiple=True, ledger=False)),
        )
        for name in ("plain", "generated")
    ]
    if kind != "mariadb":
        # there no index would be used for a column with a collation, so it has none
        FactColumn("filename_fact", tables[1].c.file.filename)
    with own_database(kind, tmp_path, metadata) as engine:
        for table in tables:
            write_rows(engine, table.name, [({"filename": name}, None) for name in ("A.txt", "a.txt")])
        with engine.begin() as connection:
            for table in tables:
                connection.execute(update(table).values(title="a.txt"))
                compare_texts(connection, table)


def compare_texts(connection: Connection, table: Table) -> None:
    name, title = table.c.file.filename, table.c.title
    for condition in (name == title, title == name):
        assert connection.execute(select(table.c.id).where(condition)).scalars().all() == [2], str(condition)
