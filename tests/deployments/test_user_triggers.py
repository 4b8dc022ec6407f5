"""Triggers, rules and policies of the application: the database does something else than the flush says."""

from __future__ import annotations

import io
import warnings

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, maintenance, storages
from tests.deployments.site import ANY_DATABASE, SERVERS, Base, Doc, Site, put, read, remove, replace, sql

POSTGRESQL = SERVERS[:1]
SERVED = ("sqlite", *POSTGRESQL)


@pytest.mark.parametrize("host", POSTGRESQL, indirect=True)
def test_a_row_that_a_trigger_keeps_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        "ALTER TABLE doc ADD COLUMN gone boolean DEFAULT false",
        "CREATE FUNCTION soft() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN UPDATE doc SET gone = true WHERE id = OLD.id; RETURN NULL; END'",
        "CREATE TRIGGER soft BEFORE DELETE ON doc FOR EACH ROW EXECUTE FUNCTION soft()",
    )
    with warnings.catch_warnings():
        # SQLAlchemy counts the rows
        warnings.simplefilter("ignore")
        remove(engine, 1)
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"


def test_a_row_that_a_trigger_of_sqlite_keeps_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(engine, "CREATE TRIGGER soft BEFORE DELETE ON doc BEGIN SELECT RAISE(IGNORE); END")
    with warnings.catch_warnings():
        # SQLAlchemy counts the rows
        warnings.simplefilter("ignore")
        remove(engine, 1)
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"


@pytest.mark.parametrize("host", POSTGRESQL, indirect=True)
def test_a_value_that_a_trigger_keeps_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.file := OLD.file; RETURN NEW; END'",
        "CREATE TRIGGER keep BEFORE UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    replace(engine, 1)
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"


@pytest.mark.parametrize("host", SERVERS[1:], indirect=True)
def test_a_value_that_a_trigger_of_mariadb_keeps_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(engine, "CREATE TRIGGER keep BEFORE UPDATE ON doc FOR EACH ROW SET NEW.file = OLD.file")
    replace(engine, 1)
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"


def test_a_value_that_a_trigger_of_sqlite_puts_back_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        "CREATE TRIGGER keep AFTER UPDATE OF file ON doc WHEN NEW.file <> OLD.file "
        "BEGIN UPDATE doc SET file = OLD.file WHERE id = OLD.id; END",
    )
    replace(engine, 1)
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"


class Shelves(DeclarativeBase):
    pass


class Shelf(Shelves):
    """Its triggers are the application's."""

    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


class Loan(Shelves):
    __tablename__ = "loan"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))
    files: Mapped[FileObjectList] = mapped_column(StoredObject("docs", multiple=True), default=list)


def keep_shelves(engine: Engine) -> None:
    """Make a trigger that keeps what a shelf has, if it is to have nothing."""
    match engine.dialect.name:
        case "postgresql":
            sql(
                engine,
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN NEW.file := COALESCE(NEW.file, OLD.file); RETURN NEW; END'",
                "CREATE TRIGGER keep BEFORE UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION keep()",
            )
        case "sqlite":
            sql(
                engine,
                "CREATE TRIGGER keep AFTER UPDATE OF file ON shelf WHEN NEW.file IS NULL "
                "BEGIN UPDATE shelf SET file = OLD.file WHERE id = OLD.id; END",
            )
        case _:
            sql(
                engine,
                "CREATE TRIGGER keep BEFORE UPDATE ON shelf FOR EACH ROW "
                "SET NEW.file = COALESCE(NEW.file, OLD.file)",
            )


@pytest.mark.parametrize("target", ["new", "existing", "list"])
@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_a_row_that_a_trigger_keeps_as_it_was_keeps_the_file_that_another_row_got(
    site: Site, target: str
) -> None:
    engine = site.database(base=Shelves)
    put(engine, 1, model=Shelf)
    keep_shelves(engine)
    with Session(engine) as session:
        if target == "existing":
            session.add(Loan(id=1))
            session.commit()
        shelf = session.get_one(Shelf, 1)
        loan = session.get(Loan, 1) or Loan(id=1)
        session.add(loan)
        shelf.file, moved = None, shelf.file
        if target == "list":
            loan.files.append(moved)
        else:
            loan.file = moved
        session.commit()
    remove(engine, 1, model=Loan)
    site.nightly(engine, Shelves)
    assert site.intact(engine, "shelf") == 1


def test_an_object_that_a_trigger_refuses_stays_where_it_lay(site: Site) -> None:
    engine = site.database()
    storages.get("docs").put("legacy.txt", [b"legacy"])
    put(engine, 1)
    sql(
        engine,
        "CREATE TRIGGER keep AFTER UPDATE OF file ON doc WHEN NEW.file <> OLD.file "
        "BEGIN UPDATE doc SET file = OLD.file WHERE id = OLD.id; END",
    )
    with Session(engine) as session:
        session.get_one(Doc, 1).file = FileObject.from_key("legacy.txt")
        session.commit()
    site.nightly(engine, Base)
    assert read(engine, 1) == b"content 1"
    assert storages.get("docs").get_bytes("legacy.txt") == b"legacy"


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_what_a_trigger_writes_into_an_archive_is_kept(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    insert = "INSERT INTO archive (id, file) VALUES (OLD.id, OLD.file)"
    match engine.dialect.name:
        case "postgresql":
            sql(
                engine,
                "CREATE TABLE archive (id integer, file jsonb)",
                f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {insert}; RETURN OLD; END'",
                "CREATE TRIGGER keep BEFORE DELETE ON doc FOR EACH ROW EXECUTE FUNCTION keep()",
            )
        case "sqlite":
            sql(
                engine,
                "CREATE TABLE archive (id integer, file JSON)",
                f"CREATE TRIGGER keep BEFORE DELETE ON doc BEGIN {insert}; END",
            )
        case _:
            sql(
                engine,
                "CREATE TABLE archive (id integer, file JSON)",
                f"CREATE TRIGGER keep BEFORE DELETE ON doc FOR EACH ROW {insert}",
            )
    maintenance.copy_files(engine, Base, source="doc.file", target="archive.file")
    remove(engine, 1)
    site.nightly(engine, Base)
    assert site.intact(engine, "archive") == 1


def test_new_content_that_a_trigger_gives_to_another_row_is_kept(site: Site) -> None:
    """The row keeps what it had: nothing is known of where the new file went."""
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        "CREATE TABLE proposal (id integer, file JSON)",
        "CREATE TRIGGER propose AFTER UPDATE OF file ON doc WHEN NEW.file <> OLD.file BEGIN "
        "INSERT INTO proposal (id, file) VALUES (NEW.id, NEW.file); "
        "UPDATE doc SET file = OLD.file WHERE id = OLD.id; END",
    )
    maintenance.copy_files(engine, Base, source="doc.file", target="proposal.file")
    replace(engine, 1)
    site.nightly(engine, Base)
    assert site.intact(engine, "doc", "proposal") == 2


@pytest.mark.parametrize("host", POSTGRESQL, indirect=True)
def test_triggers_from_offline_sql_let_a_table_be_truncated(site: Site) -> None:
    migration, operations = (
        pytest.importorskip("alembic.migration"),
        pytest.importorskip("alembic.operations"),
    )
    # it registers the operations
    pytest.importorskip("filecolumn.alembic.operations")

    engine = site.database()
    put(engine, 1)
    written = io.StringIO()
    context = migration.MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    operations.Operations(context).create_file_triggers("doc", ["file"], backend="docs")
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(written.getvalue())
        cursor.execute("TRUNCATE doc")
    site.nightly(engine, Base)
    assert site.objects() == set()


class Views(DeclarativeBase):
    pass


class Shown(Views):
    """What a release maps that sees a table through a view only."""

    __tablename__ = "shown"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


@pytest.mark.parametrize("host", SERVED, indirect=True)
def test_a_row_that_a_view_hides_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    is_sqlite = engine.dialect.name == "sqlite"
    keep = (
        "CREATE TRIGGER soft INSTEAD OF DELETE ON shown BEGIN UPDATE doc SET gone = 1 WHERE id = OLD.id; END"
        if is_sqlite
        else "CREATE RULE soft AS ON DELETE TO shown DO INSTEAD UPDATE doc SET gone = 1 WHERE id = OLD.id"
    )
    sql(
        engine,
        "ALTER TABLE doc ADD COLUMN gone integer DEFAULT 0",
        "CREATE VIEW more AS SELECT * FROM doc WHERE gone = 0",
        "CREATE VIEW shown AS SELECT id, file FROM more",
        keep,
    )
    with warnings.catch_warnings():
        # SQLAlchemy counts the rows
        warnings.simplefilter("ignore")
        remove(engine, 1, model=Shown)
    sql(engine, "DELETE FROM filecolumn_meta WHERE substr(name, 1, 7) = 'column:'")
    site.nightly(engine, Views, unreferenced=True)
    assert site.intact(engine) == 2
    # what is in no row goes, as with a table
    sql(
        engine,
        "UPDATE doc SET file = NULL WHERE id = 1",
        "UPDATE filecolumn_ledger SET state = 2, due_at = 1",
    )
    site.nightly(engine, Views)
    assert len(site.objects()) == 1
