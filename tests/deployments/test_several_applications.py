"""Applications with databases of their own over one folder, or over folders inside each other."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, maintenance, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.errors import FileColumnError, MaintenanceRefusedError, NotSupportedError
from tests.deployments.site import Base, Doc, Site, put, remove, sql
from tests.deployments.test_wrong_storages import Picture, Pictures


def test_two_databases_over_one_folder_keep_each_other_s_files(site: Site) -> None:
    engines = [site.database(name) for name in ("one", "two")]
    for engine in engines:
        put(engine, 1)
    for engine in engines * 2:
        site.new_process()
        site.nightly(engine, Base, unreferenced=True, force=True)
    assert [site.intact(engine) for engine in engines] == [1, 1]


@pytest.mark.parametrize("removes", [True, False])
def test_a_folder_inside_another_s_keeps_its_files(site: Site, removes: bool) -> None:
    outer, inner = site.database("outer"), site.database("inner", Pictures)
    site.new_process("pictures", "docs/pictures")
    put(inner, 1, 2, model=Picture)
    if removes:
        remove(inner, 2, model=Picture)
    site.new_process()
    put(outer, 1, 2)
    remove(outer, 2)
    site.nightly(outer, Base, unreferenced=True, force=True)
    maintenance.adopt(outer, Base, sole=True)
    site.nightly(outer, Base, unreferenced=True, force=True)
    assert site.intact(inner, folder="docs/pictures") == (1 if removes else 2)


def test_an_application_without_a_ledger_removes_nothing_where_one_is_registered(site: Site) -> None:
    class Plain(DeclarativeBase):
        pass

    class PlainDoc(Plain):
        __tablename__ = "doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs", ledger=False))

    engine, other = site.database(), site.host.engine("other")
    Plain.metadata.create_all(other)
    put(engine, 1, 2)
    site.intact(engine)
    with suppress(FileColumnError):
        maintenance.sweep(other, Plain, force=True)
    assert site.intact(engine) == 2


def test_one_base_over_two_databases_keeps_the_files_of_both(site: Site) -> None:
    class Both(DeclarativeBase):
        pass

    class User(Both):
        __tablename__ = "user_file"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    class Medium(Both):
        __tablename__ = "medium"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    ledger = [Both.metadata.tables[name] for name in ("filecolumn_ledger", "filecolumn_meta")]
    users, media = site.host.engine("users"), site.host.engine("media")
    Both.metadata.create_all(users, tables=[User.__table__, *ledger])  # type: ignore[list-item]
    Both.metadata.create_all(media, tables=[Medium.__table__, *ledger])  # type: ignore[list-item]
    put(users, 1, model=User)
    put(media, 1, model=Medium)
    for engine in (users, media):
        site.nightly(engine, Both, unreferenced=True, force=True)
    assert [site.intact(users), site.intact(media)] == [1, 1]


def test_nobody_is_said_to_be_alone_while_another_was_seen(site: Site) -> None:
    engines = [site.database(name) for name in ("one", "two")]
    for engine in engines:
        put(engine, 1)
    for engine in engines:
        with pytest.raises(MaintenanceRefusedError, match="other database"):
            maintenance.adopt(engine, Base, sole=True)


def test_nobody_is_said_to_be_alone_after_starting_anew_in_another_s_folder(site: Site) -> None:
    neighbour, engine = site.database("neighbour"), site.database()
    put(neighbour, 1, 2)
    site.new_process(folder="mine")
    put(engine, 1)
    site.new_process()
    maintenance.adopt(engine, Base, new_place=True)
    with suppress(MaintenanceRefusedError):
        maintenance.adopt(engine, Base, sole=True)
    put(engine, 2)
    site.nightly(engine, Base, force=True)
    assert site.intact(neighbour) == 2


def test_a_chosen_key_is_refused_where_another_application_could_overwrite_it(site: Site) -> None:
    class Lax(ObstoreBackend):
        """Overwrites, whatever it is asked for."""

        def put(self, key, chunks, **options):  # type: ignore[no-untyped-def]
            return super().put(key, chunks, **{**options, "mode": "overwrite"})

    storages.clear_backends()
    lax = storages.register_backend(Lax("docs", "memory://"))
    lax.put("k/logo.png", [b"of another application"])
    engine = site.database()
    with Session(engine) as session:
        session.add(Doc(id=1, file=FileObject("a", content=b"ours", to_filename="k/logo.png")))
        with pytest.raises(NotSupportedError, match=r"k/logo\.png"):
            session.commit()
    assert lax.get_bytes("k/logo.png") == b"of another application"


def test_rows_of_two_bases_in_one_database_are_kept_by_the_run_of_each(site: Site) -> None:
    engine = site.database()
    site.register("pictures", "pictures")
    Pictures.metadata.create_all(engine)
    put(engine, 1)
    put(engine, 1, model=Picture)
    for base in (Base, Pictures):
        site.nightly(engine, base, unreferenced=True)
        site.nightly(engine, base, folder="pictures", unreferenced=True)
    sql(engine, "UPDATE filecolumn_ledger SET due_at = 1 WHERE state = 2")
    assert site.intact(engine, "doc") == site.intact(engine, "picture", folder="pictures") == 1
