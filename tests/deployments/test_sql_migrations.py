"""Data migrations by SQL: files that were copied or moved past every session are not lost with their first row."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Column, String, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, maintenance, storages
from filecolumn.errors import OwnedFileError
from tests.deployments.releases import WiderDoc
from tests.deployments.site import (
    ANY_DATABASE,
    SERVERS,
    Base,
    Doc,
    Site,
    bound_json,
    held_json,
    json_type,
    put,
    read,
    remove,
    replace,
    sql,
)

PROTECTIONS = ("copy_files", "triggers", "drains")


class Moved(DeclarativeBase):
    """The release after the migration."""


class MovedDoc(Moved):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


class Attachment(Moved):
    __tablename__ = "attachment"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))
    thumb: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


def protect(site: Site, how: str) -> Callable[[str, str], None]:
    """Protect what SQL copies, and return what is to be called after it."""
    engine = site.database("app", Moved)
    if how == "triggers":
        maintenance.install_triggers(engine, Moved)
    storages.inline_removal = how != "drains"

    def copied(source: str, target: str) -> None:
        if how == "copy_files":
            maintenance.copy_files(engine, Moved, source=source, target=target)

    return copied


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("how", PROTECTIONS)
def test_rows_copied_to_another_table_keep_their_files_when_the_first_are_deleted(
    site: Site, how: str
) -> None:
    copied = protect(site, how)
    engine = site.database("app", Moved)
    put(engine, 1, model=MovedDoc)
    sql(engine, "INSERT INTO attachment (id, file) SELECT id, file FROM doc")
    copied("doc.file", "attachment.file")
    remove(engine, 1, model=MovedDoc)
    site.nightly(engine, Moved)
    assert site.intact(engine, "attachment") == 1


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("how", PROTECTIONS)
def test_rows_copied_by_sql_keep_their_files_under_a_storage_s_second_name(site: Site, how: str) -> None:
    copied = protect(site, how)
    engine = site.database("app", Moved)
    put(engine, 1, model=MovedDoc)
    storages.clear_backends()
    site.register("documents")
    storages.alias("docs", to="documents")
    with Session(engine) as session:
        session.add(MovedDoc(id=2, file=FileObject("a.txt", content=b"a", backend="documents")))
        session.commit()
    sql(engine, "INSERT INTO attachment (id, file) SELECT id, file FROM doc")
    copied("doc.file", "attachment.file")
    remove(engine, 1, 2, model=MovedDoc)
    site.nightly(engine, Moved)
    assert site.intact(engine, "attachment") == 2


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("how", PROTECTIONS)
def test_a_column_that_was_filled_by_sql_keeps_its_files_when_the_first_is_cleared(
    site: Site, how: str
) -> None:
    copied = protect(site, how)
    engine = site.database("app", Moved)
    put(engine, 1, model=Attachment)
    sql(engine, "UPDATE attachment SET thumb = file")
    copied("attachment.file", "attachment.thumb")
    replace(engine, 1, None, model=Attachment)
    site.nightly(engine, Moved)
    assert site.intact(engine) == 1


@pytest.mark.parametrize("how", PROTECTIONS)
def test_rows_duplicated_in_their_own_table_keep_their_files(site: Site, how: str) -> None:
    copied = protect(site, how)
    engine = site.database("app", Moved)
    put(engine, 1, model=MovedDoc)
    sql(engine, "INSERT INTO doc (id, file) SELECT id + 1, file FROM doc")
    copied("doc.file", "doc.file")
    remove(engine, 1, model=MovedDoc)
    assert read(engine, 2, model=MovedDoc) == b"content 1"
    remove(engine, 2, model=MovedDoc)
    site.nightly(engine, Moved)
    assert site.objects() == set()


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_a_new_column_filled_by_sql_is_seen_by_the_release_that_clears_the_old_one(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        f"ALTER TABLE doc ADD COLUMN attachment {json_type(engine)}",
        "UPDATE doc SET attachment = file",
    )
    replace(engine, 1, None, model=WiderDoc)
    assert site.intact(engine) == 1


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_an_older_release_keeps_what_sql_has_moved_to_a_column_that_it_does_not_have(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        f"ALTER TABLE doc ADD COLUMN attachment {json_type(engine)}",
        "UPDATE doc SET attachment = file",
        "UPDATE doc SET file = NULL",
    )
    site.nightly(engine, Base)
    assert site.intact(engine) == 1


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_another_column_of_the_same_row_keeps_its_file(site: Site) -> None:
    engine = site.database("app", Moved)
    put(engine, 1, model=Attachment)
    sql(engine, "UPDATE attachment SET thumb = file")
    replace(engine, 1, model=Attachment)
    assert site.intact(engine) == 2


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("shape", ["string", "list", "string in a list", "twice"])
def test_json_of_any_shape_keeps_its_files(site: Site, shape: str) -> None:
    engine = site.database()
    put(engine, 1)
    held = held_json(engine, 1)
    value = {
        "string": json.dumps(held),
        "list": f"[{held}]",
        "string in a list": json.dumps([None, held]),
        "twice": json.dumps(json.dumps(held)),
    }[shape]
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE doc SET file = {bound_json(engine)}"), {"value": value})
    site.nightly(engine, Base, unreferenced=True)
    maintenance.check(engine, Base, repair=True, grace=0)
    site.nightly(engine, Base, unreferenced=True)
    assert len(site.objects()) == 1


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_a_row_deleted_and_inserted_again_in_one_transaction_keeps_its_file(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    held = held_json(engine, 1)
    with Session(engine) as session:
        session.delete(session.get_one(Doc, 1))
        session.flush()
        session.execute(text(f"INSERT INTO doc (id, file) VALUES (2, {bound_json(engine)})"), {"value": held})
        session.commit()
    assert site.intact(engine) == 1


def test_core_refuses_the_file_of_another_row(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    with Session(engine) as session:
        file = session.get_one(Doc, 1).file
        assert file is not None
        assert file.filename
    with pytest.raises(OwnedFileError), engine.begin() as connection:
        connection.execute(insert(Doc).values(id=2, file=file))
    remove(engine, 1)
    site.intact(engine)


@pytest.mark.parametrize("how", ["mappings", "objects"])
def test_bulk_methods_refuse_the_file_of_another_row(site: Site, how: str) -> None:
    engine = site.database()
    put(engine, 1)
    with Session(engine) as session:
        file = session.get_one(Doc, 1).file
        with pytest.raises(OwnedFileError):
            if how == "mappings":
                session.bulk_insert_mappings(Doc, [{"id": 2, "file": file}])
            else:
                session.bulk_save_objects([Doc(id=3, file=file)])
        session.rollback()
    remove(engine, 1)
    site.intact(engine)


def test_a_copy_of_changed_content_is_refused(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    (key,) = site.objects()
    (site.folder() / key).write_bytes(b"content X")
    with Session(engine) as session, pytest.raises(Exception) as caught:
        session.add(Doc(id=2, file=session.get_one(Doc, 1).file))
        session.commit()
    assert type(caught.value).__module__.startswith("filecolumn")
    assert site.objects() == {key}


def test_a_table_rebuilt_by_alembic_keeps_its_files_and_says_that_triggers_are_missing(site: Site) -> None:
    migration, operations = (
        pytest.importorskip("alembic.migration"),
        pytest.importorskip("alembic.operations"),
    )
    engine = site.database()
    maintenance.install_triggers(engine, Base)
    put(engine, 1, 2)
    with engine.begin() as connection:
        context = migration.MigrationContext.configure(connection)
        with operations.Operations(context).batch_alter_table("doc", recreate="always") as batch:
            batch.add_column(Column("note", String))
    site.nightly(engine, Base)
    assert site.intact(engine) == 2
    assert maintenance.status(engine, Base).missing_triggers


@pytest.mark.parametrize("host", SERVERS[:1], indirect=True)
def test_a_detached_partition_keeps_its_files(site: Site) -> None:
    class Part(DeclarativeBase):
        pass

    class Dated(Part):
        __tablename__ = "dated"
        __table_args__ = {"postgresql_partition_by": "RANGE (id)"}
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    engine = site.database("app", Part)
    sql(
        engine,
        "CREATE TABLE dated_1 PARTITION OF dated FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE dated_2 PARTITION OF dated FOR VALUES FROM (10) TO (20)",
    )
    put(engine, 1, 11, model=Dated)
    sql(engine, "ALTER TABLE dated DETACH PARTITION dated_1")
    site.nightly(engine, Part)
    sql(engine, "ALTER TABLE dated ATTACH PARTITION dated_1 FOR VALUES FROM (0) TO (10)")
    assert site.intact(engine, "dated_1", "dated_2") == 2


def test_data_that_is_still_being_loaded_keeps_its_files(site: Site) -> None:
    engine = site.database()
    put(engine, *range(1, 12))
    sql(engine, "ALTER TABLE doc RENAME TO loaded")
    Base.metadata.create_all(engine)
    site.nightly(engine, Base, unreferenced=True)
    sql(engine, "INSERT INTO doc SELECT * FROM loaded")
    assert site.intact(engine) == 11
