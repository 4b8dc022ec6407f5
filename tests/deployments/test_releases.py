"""Releases of one application beside each other: what the older one does not know, it does not delete."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, maintenance, storages
from filecolumn.errors import ObjectNotFoundError
from tests.deployments.releases import Many, ManyDoc, Renamed, Wider, WiderDoc, WiderPhoto
from tests.deployments.site import (
    ANY_DATABASE,
    Base,
    Doc,
    Site,
    json_type,
    put,
    read,
    remove,
    replace,
    sql,
)


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("unreferenced", [False, True])
def test_a_release_that_expects_lists_keeps_the_files_of_rows_that_hold_one(
    site: Site, unreferenced: bool
) -> None:
    class New(DeclarativeBase):
        pass

    class NewDoc(New):
        __tablename__ = "doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObjectList] = mapped_column(StoredObject("docs", multiple=True))

    engine = site.database()
    put(engine, 1, 2)
    site.nightly(engine, New, unreferenced=unreferenced)
    assert site.intact(engine) == 2


@pytest.mark.parametrize("unreferenced", [False, True])
def test_an_older_release_keeps_the_files_of_a_model_that_it_does_not_have(
    site: Site, unreferenced: bool
) -> None:
    engine = site.database()
    Wider.metadata.tables["photo"].create(engine)
    site.register("again")
    put(engine, 1)
    put(engine, 1, model=WiderPhoto)
    site.nightly(engine, Base, unreferenced=unreferenced)
    assert site.intact(engine) == 2


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_an_older_release_keeps_the_files_of_a_table_that_was_renamed(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    sql(engine, "ALTER TABLE doc RENAME TO document")
    site.nightly(engine, Base, unreferenced=True, force=True)
    assert site.intact(engine, "document") == 2


def test_what_is_doomed_waits_until_the_renaming_is_said(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    storages.inline_removal = False
    remove(engine, 1)
    sql(engine, "ALTER TABLE doc RENAME TO document")
    assert maintenance.drain(engine, Base).withheld == 1
    maintenance.rename_file_column(engine, Renamed, old="doc.file", new="document.file")
    site.nightly(engine, Renamed)
    assert site.intact(engine, "document") == len(site.objects()) == 1


@pytest.mark.parametrize("how", ["inline", "older drain"])
def test_a_storage_that_has_two_names_keeps_what_is_stored_under_the_newer(site: Site, how: str) -> None:
    storages.clear_backends()
    site.register("documents")
    storages.alias("docs", to="documents")
    engine = site.database("app", Many)
    with Session(engine) as session:
        session.add(ManyDoc(id=1, file=[FileObject("a.txt", content=b"a")]))
        session.commit()
    site.new_process()
    if how == "inline":
        put(engine, 2)
        remove(engine, 2)
    site.nightly(engine, Base, unreferenced=True)
    assert site.intact(engine) == 1


def test_repair_does_not_take_what_a_sweep_refuses(site: Site) -> None:
    engine = site.database("app", Wider)
    Base.metadata.create_all(engine)
    site.register("again")
    put(engine, *range(1, 121), model=WiderPhoto)
    site.nightly(engine, Base, unreferenced=True)
    maintenance.check(engine, Base, repair=True, grace=0)
    site.nightly(engine, Base)
    assert site.intact(engine) == 120


def test_the_limit_of_one_column_does_not_grow_with_the_files_of_another(site: Site) -> None:
    engine = site.database("app", Wider)
    site.register("again")
    put(engine, *range(1, 201), model=WiderDoc)
    put(engine, *range(1, 13), model=WiderPhoto)
    sql(engine, "CREATE TABLE aside AS SELECT * FROM photo WHERE id > 1", "DELETE FROM photo WHERE id > 1")
    site.nightly(engine, Wider, unreferenced=True)
    sql(engine, "INSERT INTO photo SELECT * FROM aside")
    assert site.intact(engine) == 212


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
def test_states_that_a_newer_release_wrote_are_left_alone(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2, 3)
    sql(engine, "UPDATE filecolumn_ledger SET state = 4")
    raised: list[str] = []
    for act, row in ((replace, 1), (remove, 2)):
        try:
            act(engine, row)
        except Exception as error:
            raised.append(type(error).__module__)
    assert all(each.startswith("filecolumn") for each in raised)
    site.nightly(engine, Base, unreferenced=True)
    maintenance.status(engine, Base)
    site.intact(engine)


def test_two_bases_may_map_one_table_and_one_of_them_a_view(site: Site) -> None:
    class Other(DeclarativeBase):
        pass

    class OtherDoc(Other):
        __tablename__ = "doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    class Active(Other):
        __tablename__ = "active"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    engine = site.database()
    put(engine, 1)
    assert maintenance.check(engine, Base, Other).is_clean
    sql(engine, "CREATE VIEW active AS SELECT * FROM doc")
    assert maintenance.check(engine, Base, Other).is_clean
    site.nightly(engine, Base, Other, unreferenced=True)
    assert site.intact(engine) == 1


def test_an_added_column_is_read_by_the_release_before_it(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(engine, f"ALTER TABLE doc ADD COLUMN attachment {json_type(engine)}")
    with Session(engine) as session:
        session.get_one(WiderDoc, 1).attachment = FileObject("a.txt", content=b"attached")
        session.commit()
    site.nightly(engine, Base, unreferenced=True)
    assert site.intact(engine) == 2


def test_a_default_of_a_module_is_copied_for_each_row_as_long_as_its_first_row_lives(site: Site) -> None:
    engine = site.database()
    default = FileObject("avatar.png", content=b"png")
    for row in (1, 2):
        with Session(engine) as session:
            session.add(Doc(id=row, file=default))
            session.commit()
    remove(engine, 1)
    assert read(engine, 2) == b"png"
    with Session(engine) as session, pytest.raises(ObjectNotFoundError, match="default_factory"):
        session.add(Doc(id=3, file=default))
        session.commit()
    assert site.intact(engine) == 1
