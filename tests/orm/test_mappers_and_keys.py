"""Which mapper and which key: tables that several classes map, or that none tells the rows of by a primary key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    String,
    Table,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session, aliased, mapped_column, registry

from filecolumn import NotSupportedError, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from filecolumn.maintenance import (
    FindingKind,
    RowReference,
    check,
    drain,
    install_triggers,
    remove_triggers,
    status,
    sweep,
)
from filecolumn.orm.attributes import mapper_of
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.each_database import driver
from tests.scenarios.fixtures import ON_SQLITE
from tests.scenarios.mapped_tables import (
    Article,
    Base,
    Binder,
    Car,
    Contract,
    Coupon,
    Filed,
    Folder,
    Loose,
    Paper,
    Report,
    Scan,
    Sheet,
    SheetAlias,
    SheetQuery,
    SlimContract,
    SlimReport,
    Twice,
    Vehicle,
    create_tables,
    plain,
    reports,
)
from tests.scenarios.records import file, run

Call = Callable[[Session], object]

__all__ = ("driver",)


def take(model: type[object], key: object) -> Call:
    """Return what deletes one instance."""
    return lambda s: s.delete(s.get_one(model, key))


# Several mappers on one table


@pytest.fixture
async def three(driver: Driver, storage: StorageBackend) -> None:
    """Reports 1 to 3, each with a file and a page."""
    await create_tables(driver)
    async with driver.session() as session:
        session.add(
            *(Report(id=n, file=file(b"file %d" % n), pages=[file(b"page %d" % n)]) for n in (1, 2, 3))
        )
        await session.commit()


DELETES: dict[str, Call] = {
    "slim instance": take(SlimReport, 2),
    "scan instance": take(Scan, 2),
    "slim": lambda s: s.execute(delete(SlimReport).where(SlimReport.number == 2)),
    "scan": lambda s: s.execute(delete(Scan).where(Scan.picture.is_not(None), Scan.id == 2)),
    "query": lambda s: s.query(SlimReport).filter_by(number=2).delete(),
    "table": lambda s: s.execute(delete(reports).where(reports.c.id == 2)),
    "full": lambda s: s.execute(delete(Report).where(Report.id == 2)),
}


@pytest.mark.parametrize("name", DELETES)
async def test_a_row_is_deleted_with_its_files_by_any_mapper(driver: Driver, three: None, name: str) -> None:
    await run(driver, DELETES[name])
    assert contents() == [b"file 1", b"file 3", b"page 1", b"page 3"]


async def test_a_delete_by_a_slim_mapper_that_is_undone_takes_nothing(driver: Driver, three: None) -> None:
    before = stored()
    async with driver.session() as session:
        await session.run(DELETES["slim instance"])
        await session.flush()
        await session.rollback()
    assert stored() == before


async def test_an_orphan_of_a_slim_mapper_is_deleted_with_its_files(driver: Driver, three: None) -> None:
    async with driver.session() as session:
        session.add(Binder(id=1, reports=[await session.one(SlimReport, 2)]))
        await session.commit()
    async with driver.session() as session:
        binder = await session.one(Binder, 1)
        await session.refresh(binder, ["reports"])
        binder.reports.clear()
        await session.commit()
    assert contents() == [b"file 1", b"file 3", b"page 1", b"page 3"]


async def test_a_row_deleted_by_two_mappers_in_one_flush_gives_its_files_up_once(
    driver: Driver, three: None
) -> None:
    async with driver.session() as session:
        report = await session.one(Report, 2)
        report.file = file(b"never")
        await session.run(DELETES["slim instance"])
        await session.commit()
        assert (await driver.drain(Base)).refused == 0
    assert contents() == [b"file 1", b"file 3", b"page 1", b"page 3"]


UPDATES: dict[str, Call] = {
    "by column": lambda s: s.execute(
        update(SlimReport).where(SlimReport.number == 2).values({reports.c.file: file(b"new")})
    ),
    "by name": lambda s: s.execute(
        update(SlimReport).where(SlimReport.number == 2).values(file=file(b"new")),
        execution_options={"synchronize_session": False},
    ),
    "scan": lambda s: s.execute(update(Scan).where(Scan.id == 2).values(picture=file(b"new"))),
    "scan by key": lambda s: s.execute(update(Scan), [{"id": 2, "picture": file(b"new")}]),
    "table": lambda s: s.execute(update(reports).where(reports.c.id == 2).values(file=file(b"new"))),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_an_update_by_any_mapper_replaces_the_file(driver: Driver, three: None, name: str) -> None:
    await run(driver, UPDATES[name])
    assert contents() == [b"file 1", b"file 3", b"new", b"page 1", b"page 2", b"page 3"]
    async with driver.session() as session:
        assert await driver.content((await session.one(Scan, 2)).picture) == b"new"


async def test_an_update_by_a_mapper_leaves_alone_what_it_does_not_map(driver: Driver, three: None) -> None:
    before = stored()
    await run(driver, lambda s: s.execute(update(SlimReport), [{"number": 2, "title": "t"}]))
    # the ORM passes over names that the class does not have
    await run(driver, lambda s: s.execute(update(SlimReport), [{"number": 2, "file": file(b"never")}]))
    await run(driver, lambda s: s.execute(insert(SlimReport), [{"number": 9, "file": file(b"never")}]))
    assert stored() == before


async def test_an_insert_by_a_slim_mapper_stores_the_file_of_its_table(driver: Driver, three: None) -> None:
    await run(driver, lambda s: s.execute(insert(SlimReport).values(id=9, file=file(b"new"))))
    await run(driver, lambda s: s.execute(insert(Scan), [{"id": 8, "picture": file(b"scan")}]))
    async with driver.session() as session:
        assert await driver.content((await session.one(Report, 9)).file) == b"new"
        assert await driver.content((await session.one(Report, 8)).file) == b"scan"


def test_which_mapper_speaks_for_a_table_is_not_by_chance() -> None:
    for number in range(30):
        mapping = registry()
        table = Table(
            f"spoken_{number}",
            mapping.metadata,
            Column("id", Integer, primary_key=True),
            Column("file", StoredObject("docs")),
        )
        slim, full, other = (type(name, (), {}) for name in ("Slim", "Full", "Other"))
        for class_, excluded in ((slim, ["file"]), (full, []), (other, [])):
            mapping.map_imperatively(class_, table, exclude_properties=excluded)
        speaker = mapper_of(table)
        assert speaker is not None
        assert speaker.class_ is full


# Hierarchies


@pytest.mark.parametrize("name", ["session", "statement", "by name"])
async def test_a_base_that_maps_no_file_deletes_those_of_its_table(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.add_all([Car(id=1, photo=file(b"one")), Car(id=2, photo=file(b"two"))]))
    # a row that was a car
    await run(driver, lambda s: s.execute(text("UPDATE vehicles SET kind = 'vehicle' WHERE id = 1")))
    calls: dict[str, Call] = {
        "session": take(Vehicle, 1),
        "statement": lambda s: s.execute(delete(Vehicle).where(Vehicle.id == 1)),
        "by name": lambda s: s.execute(
            update(Vehicle).where(Vehicle.id == 1).values(photo=None),
            execution_options={"synchronize_session": False},
        ),
    }
    await run(driver, calls[name])
    assert contents() == [b"two"]


async def test_a_subclass_whose_key_has_another_name(driver: Driver, storage: StorageBackend) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.add_all([Contract(id=n, file=file(b"%d" % n)) for n in (1, 2, 3, 4)]))
    async with driver.session() as session:
        (await session.one(Paper, 1)).file = file(b"new")
        await session.delete(await session.one(Paper, 2))
        await session.commit()
    assert contents() == [b"3", b"4", b"new"]
    values = {"id": 3, "contract_id": 3, "file": file(b"by key")}
    await run(driver, lambda s: s.execute(update(Contract), [values]))
    assert contents() == [b"4", b"by key", b"new"]
    await run(driver, lambda s: s.execute(delete(Contract).where(Contract.contract_id == 4)))
    assert contents() == [b"by key", b"new"]
    await run(driver, lambda s: s.execute(delete(Contract)))
    assert contents() == []


@pytest.mark.parametrize("name", ["session", "statement", "table"])
async def test_a_mapper_of_a_subclass_s_table_deletes_its_files(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.add_all([Contract(id=n, file=file(b"%d" % n)) for n in (1, 2)]))
    table = Contract.__table__
    assert isinstance(table, Table)
    calls: dict[str, Call] = {
        "session": take(SlimContract, 1),
        "statement": lambda s: s.execute(delete(SlimContract).where(SlimContract.contract_id == 1)),
        "table": lambda s: s.execute(delete(table).where(table.c.contract_id == 1)),
    }
    await run(driver, calls[name])
    assert contents() == [b"2"]


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
async def test_a_mapper_that_is_made_later_deletes_files_too(driver: Driver, three: None) -> None:
    class Late:
        pass

    later = registry(metadata=Base.metadata)
    try:
        later.map_imperatively(Late, reports, include_properties=["id"])
        await run(driver, take(Late, 2))
    finally:
        later.dispose()
    assert contents() == [b"file 1", b"file 3", b"page 1", b"page 3"]


async def test_a_column_under_two_names_is_written_and_deleted_once(
    driver: Driver, storage: StorageBackend
) -> None:
    await create_tables(driver)
    async with driver.session() as session:
        session.add(Twice(id=1, file=file(b"one")))
        await session.commit()
        found = await session.one(Twice, 1)
        found.file = file(b"two")
        await session.commit()
        assert contents() == [b"two"]
        await session.delete(found)
        await session.commit()
    assert contents() == []


# Keys


@pytest.fixture
async def loose(driver: Driver, storage: StorageBackend) -> None:
    """Rows a1, a2 and b1 of a table without any constraint."""
    await create_tables(driver)
    rows = [("a", 1), ("a", 2), ("b", 1)]
    await run(
        driver,
        lambda s: s.add_all(
            [
                Loose(place=p, number=n, file=file(f"{p}{n}".encode()), pages=[file(f"{p}{n} page".encode())])
                for p, n in rows
            ]
        ),
    )


def replaced(s: Session) -> None:
    s.get_one(Loose, ("a", 1)).file = file(b"new")


def moved(s: Session) -> None:
    s.get_one(Loose, ("a", 1)).number = 7


def moved_and_replaced(s: Session) -> None:
    found = s.get_one(Loose, ("a", 1))
    found.number, found.file = 7, file(b"new")


OF_A1 = (Loose.place == "a", Loose.number == 1)
OTHERS = [b"a1 page", b"a2", b"a2 page", b"b1", b"b1 page"]
WRITES: dict[str, tuple[Call, list[bytes]]] = {
    "replace": (replaced, [*OTHERS, b"new"]),
    "new key": (moved, [*OTHERS, b"a1"]),
    "new key and file": (moved_and_replaced, [*OTHERS, b"new"]),
    "delete": (take(Loose, ("a", 1)), OTHERS[1:]),
    "update": (lambda s: s.execute(update(Loose).where(*OF_A1).values(file=file(b"new"))), [*OTHERS, b"new"]),
    "update to none": (
        lambda s: s.execute(update(Loose).values(file=None)),
        [b"a1 page", b"a2 page", b"b1 page"],
    ),
    "update by key": (
        lambda s: s.execute(update(Loose), [{"place": "a", "number": 1, "file": file(b"new")}]),
        [*OTHERS, b"new"],
    ),
    "delete rows": (lambda s: s.execute(delete(Loose).where(*OF_A1)), OTHERS[1:]),
    "delete from table": (lambda s: s.execute(delete(plain).where(plain.c.room == "a")), [b"b1", b"b1 page"]),
    "insert": (
        lambda s: s.execute(insert(Loose), [{"place": "c", "number": 1, "file": file(b"new")}]),
        [*OTHERS, b"a1", b"new"],
    ),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_table_without_a_primary_key_is_written_by_the_key_of_its_mapper(
    driver: Driver, loose: None, name: str
) -> None:
    call, left = WRITES[name]
    await run(driver, call)
    assert contents() == sorted(left)


async def test_a_table_without_a_primary_key_is_maintained(driver: Driver, loose: None) -> None:
    def maintain(engine: Engine) -> None:
        assert check(engine, Base, grace=-5, verify=True).findings == []
        install_triggers(engine, Base)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM without_key WHERE room = 'a' AND shelf_no = 1"))
        assert drain(engine, Base).deleted == 2
        sweep(engine, Base, grace=0, force=True)
        assert check(engine, Base, grace=-5, verify=True).findings == []
        assert status(engine, Base).due == 0
        storages.get("docs").delete([key for key, body in stored().items() if body == b"b1"])
        (finding,) = check(engine, Base, grace=-5).findings
        assert finding.kind is FindingKind.MISSING
        assert finding.row == RowReference("without_key", "file", ("b", 1))
        remove_triggers(engine, Base)

    async with driver.session() as session:
        await session.run(lambda _: maintain(driver.sync_engine))
    assert contents() == [b"a2", b"a2 page", b"b1 page"]


@pytest.mark.parametrize("name", ["replace", "merge", "update"])
async def test_a_table_without_a_primary_key_takes_upserts(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await create_tables(driver)
    await run(driver, lambda s: s.add_all([Coupon(code=c, file=file(c.encode())) for c in "ab"]))
    values = {"code": "a", "title": "t", "file": file(b"new")}
    if name == "merge":
        await run(driver, lambda s: s.merge(Coupon(**values)))
    elif driver.dialect in {"mysql", "mariadb"}:
        made = mysql.insert(Coupon).values(values)
        await run(driver, lambda s: s.execute(made.on_duplicate_key_update(file=made.inserted.file)))
    elif name == "replace" and driver.dialect == "sqlite":
        await run(driver, lambda s: s.execute(insert(Coupon).prefix_with("OR REPLACE").values(values)))
    else:
        kind = sqlite if driver.dialect == "sqlite" else postgresql
        upsert = kind.insert(Coupon).values(values)
        by_code = upsert.on_conflict_do_update(index_elements=["code"], set_={"file": upsert.excluded.file})
        await run(driver, lambda s: s.execute(by_code))
    assert contents() == [b"b", b"new"]


@pytest.mark.parametrize("name", ["session", "statement", "by key", "delete"])
async def test_a_mapper_with_another_key_than_its_table(
    driver: Driver, storage: StorageBackend, name: str
) -> None:
    await create_tables(driver)
    await run(
        driver, lambda s: s.add_all([Article(id=n, slug=f"s{n}", file=file(b"%d" % n)) for n in (1, 2)])
    )

    def assign(s: Session) -> None:
        s.get_one(Article, "s1").file = file(b"new")

    calls: dict[str, Call] = {
        "session": assign,
        "statement": lambda s: s.execute(update(Article).where(Article.id == 1).values(file=file(b"new"))),
        "by key": lambda s: s.execute(update(Article), [{"id": 1, "slug": "s1", "file": file(b"new")}]),
        "delete": lambda s: s.execute(delete(Article).where(Article.slug == "s1")),
    }
    await run(driver, calls[name])
    assert contents() == [b"2"] + [b"new"] * (name != "delete")


VIEW = (
    "CREATE VIEW shown AS SELECT id, title, file FROM reports",
    "CREATE TRIGGER shown_update INSTEAD OF UPDATE ON shown BEGIN UPDATE reports SET file = NEW.file WHERE id = 2; END",
    "CREATE TRIGGER shown_delete INSTEAD OF DELETE ON shown BEGIN DELETE FROM reports WHERE id = OLD.id; END",
)


class Views(DeclarativeBase):
    """Base of a class that is mapped to a view; the tables' own metadata does not make it."""


class Shown(Views):
    """Reports, as a view has them."""

    __table__ = Table(
        "shown",
        Views.metadata,
        Column("id", Integer),
        Column("title", String(20)),
        Column("file", StoredObject("docs")),
    )
    # SQLite counts no row that a trigger writes
    __mapper_args__ = {"primary_key": [__table__.c.id], "confirm_deleted_rows": False}


SHOWN: dict[str, tuple[Call, list[bytes]]] = {
    "update": (
        lambda s: s.execute(update(Shown).where(Shown.id == 2).values(file=file(b"new"))),
        [b"file 1", b"file 3", b"new"],
    ),
    "delete": (lambda s: s.execute(delete(Shown).where(Shown.id == 2)), [b"file 1", b"file 3"]),
    "delete from table": (lambda s: s.execute(delete(Shown.__table__)), []),
    "delete instance": (take(Shown, 2), [b"file 1", b"file 3"]),
}


@pytest.mark.parametrize("driver", ON_SQLITE, indirect=True)
@pytest.mark.parametrize("name", SHOWN)
async def test_a_view_is_written_by_the_key_of_its_mapper(driver: Driver, three: None, name: str) -> None:
    call, left = SHOWN[name]
    await run(driver, lambda s: [s.execute(text(each)) for each in VIEW])
    await run(driver, call)
    assert (await driver.drain(Base, Views)).refused == 0
    pages = [each for each in contents() if each.startswith(b"page")]
    assert [each for each in contents() if each not in pages] == left
    async with driver.session() as session:
        found = await session.run(lambda s: s.scalars(select(Report)).all())
        assert sorted([await driver.content(each.file) for each in found]) == left


# Joins and queries


@pytest.fixture
async def filed(driver: Driver, storage: StorageBackend) -> None:
    """A folder with a cover, and a sheet in it."""
    await create_tables(driver)
    await run(driver, lambda s: s.add(Folder(id=1, cover=file(b"cover"))))
    await run(driver, lambda s: s.add(Sheet(id=2, folder_id=1, file=file(b"sheet"))))


async def test_a_class_of_a_join_writes_the_files_of_both_tables(driver: Driver, filed: None) -> None:
    await run(driver, lambda s: s.add(Filed(id=3, sheet_id=4, cover=file(b"cover 3"), file=file(b"sheet 4"))))

    def assign(s: Session) -> None:
        found = s.get_one(Filed, (3, 4))
        found.cover, found.file = file(b"new cover"), file(b"new sheet")

    await run(driver, assign)
    assert contents() == [b"cover", b"new cover", b"new sheet", b"sheet"]
    await run(driver, take(Filed, (3, 4)))
    assert contents() == [b"cover", b"sheet"]


async def test_a_class_of_a_join_is_updated_by_its_keys(driver: Driver, filed: None) -> None:
    values = {"id": 1, "sheet_id": 2, "cover": file(b"new cover"), "text": "t"}
    await run(driver, lambda s: s.execute(update(Filed), [values]))
    assert contents() == [b"new cover", b"sheet"]
    async with driver.session() as session:
        assert await driver.content((await session.one(Folder, 1)).cover) == b"new cover"


@pytest.mark.parametrize("model", [SheetAlias, SheetQuery])
async def test_a_class_of_a_query_reads_files(driver: Driver, filed: None, model: Any) -> None:
    async with driver.session() as session:
        assert await driver.content((await session.one(model, 2)).file) == b"sheet"


def assign_through(model: Any) -> Call:
    def assign(s: Session) -> None:
        s.scalars(select(model)).one().file = file(b"never")

    return assign


REFUSED: dict[str, Call] = {
    "alias, assigned": assign_through(SheetAlias),
    "query, assigned": assign_through(SheetQuery),
    "alias, deleted": take(SheetAlias, 2),
    "query, deleted": take(SheetQuery, 2),
    "alias, update": lambda s: s.execute(update(SheetAlias).values(file=file(b"never"))),
    "alias, delete": lambda s: s.execute(delete(SheetAlias)),
    "join, update": lambda s: s.execute(update(Filed).values(file=file(b"never"))),
    "join, delete": lambda s: s.execute(delete(Filed)),
    "aliased, update": lambda s: s.execute(update(aliased(Sheet)).values(file=file(b"never"))),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_no_table_of_its_own_has_is_refused(driver: Driver, filed: None, name: str) -> None:
    before = stored()
    with pytest.raises(NotSupportedError, match=r"through a class that is mapped|name the table itself"):
        await run(driver, REFUSED[name])
    assert stored() == before


async def test_other_columns_are_updated_through_an_alias(driver: Driver, filed: None) -> None:
    await run(driver, lambda s: s.execute(update(aliased(Sheet, name="other")).values(text="t")))
    async with driver.session() as session:
        assert (await session.one(Sheet, 2)).text == "t"


@pytest.mark.filterwarnings("ignore:Implicitly combining")
async def test_two_columns_under_one_name_are_refused(driver: Driver, storage: StorageBackend) -> None:
    class Local(DeclarativeBase):
        pass

    class Above(Local):
        __tablename__ = "above"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "above"}
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(20))
        file = mapped_column(StoredObject("docs"))

    class Below(Above):
        __tablename__ = "below"
        __mapper_args__ = {"polymorphic_identity": "below"}
        id = mapped_column(ForeignKey("above.id"), primary_key=True)
        file = mapped_column(StoredObject("docs"))

    with pytest.raises(NotSupportedError, match=r"below\.file and above\.file"):
        await run(driver, lambda s: (s.add(Below(id=1, file=file(b"never"))), s.flush()))
    assert stored() == {}
