"""Another folder under the right name, one folder under two names, and what is no fault at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from filecolumn import FileObject, StoredObject, maintenance, storages
from filecolumn.backends.base import Stat
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.errors import BackendMismatchError, StorageError
from filecolumn.maintenance import FindingKind
from tests.deployments.hosts import age
from tests.deployments.site import Base, Doc, Site, put, read, remove, replace, works


class Pictures(DeclarativeBase):
    """Models with a storage of their own."""


class Picture(Pictures):
    __tablename__ = "picture"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject | None] = mapped_column(StoredObject("pictures"))


class Insensitive(ObstoreBackend):
    """Keeps the case that a name was made with and finds it in any, as folders of macOS, Windows and SMB do."""

    def __init__(self, folder: Path) -> None:
        super().__init__("docs", f"file://{folder}/", fsync=False)
        self._folder = folder

    def _found(self, key: str) -> Any:
        parts: list[str] = []
        for part in key.split("/"):
            where = self._folder.joinpath(*parts)
            there = os.listdir(where) if where.is_dir() else []
            parts.append(next((name for name in there if name.casefold() == part.casefold()), part))
        return type(key)("/".join(parts))

    def put(self, key: str, chunks: Any, **options: Any) -> Stat:
        return changed(super().put(self._found(key), chunks, **options), key=key)

    def get(self, key: str, **options: Any) -> Iterator[bytes]:
        return super().get(self._found(key), **options)

    def stat(self, key: str) -> Stat:
        return changed(super().stat(self._found(key)), key=key)

    def delete(self, keys: Any) -> None:
        super().delete([self._found(key) for key in keys])


class NoListing(ObstoreBackend):
    """Refuses LIST, as a policy without ListBucket does."""

    def list(self, prefix: str = "", **_: Any) -> Iterator[Stat]:
        raise StorageError("LIST is denied")


class NoMarks(ObstoreBackend):
    """Refuses what is not an object of a row, as a narrow policy does."""

    def put(self, key: str, chunks: Any, **options: Any) -> Stat:
        if key.startswith(".filecolumn"):
            raise StorageError("PUT is denied")
        return super().put(key, chunks, **options)


def test_an_empty_folder_under_the_right_name_loses_nothing_and_is_called_what_it_is(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2, 3)
    site.new_process(folder="empty")
    remove(engine, 3)
    with pytest.raises(BackendMismatchError, match="not the storage that this database knows"):
        put(engine, 4)
    report = maintenance.check(engine, Base)
    assert [finding.kind for finding in report.findings] == [FindingKind.PLACE]
    site.nightly(engine, Base, folder="empty", unreferenced=True, force=True)
    site.new_process()
    assert site.intact(engine) == 2
    site.nightly(engine, Base)
    assert len(site.objects()) == site.intact(engine) == 2


def test_rows_cleared_over_an_empty_folder_are_still_in_the_right_one(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2, 3)
    site.new_process(folder="empty")
    for row in (1, 2, 3):
        replace(engine, row, None)
    assert len(site.objects()) == 3


def test_a_wrong_variable_does_not_remove_the_production_s_object_of_the_same_key(site: Site) -> None:
    class Articles(DeclarativeBase):
        pass

    class Article(Articles):
        __tablename__ = "article"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(
            StoredObject("docs", key_template=lambda row, file: f"articles/{row.id}/{file.filename}")
        )

    production, staging = site.database("app", Articles), site.database("staging", Articles)
    put(production, 1, model=Article)
    site.new_process(folder="staging")
    put(staging, 1, model=Article)
    site.new_process()
    remove(staging, 1, model=Article)
    site.nightly(staging, Articles, unreferenced=True, force=True)
    assert site.intact(production) == 1


def test_a_database_in_memory_takes_nothing_from_a_real_folder(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    shell = create_engine("sqlite://")
    Base.metadata.create_all(shell)
    site.nightly(shell, Base, unreferenced=True, force=True)
    assert site.intact(engine) == 2
    shell.dispose()


def test_one_location_text_for_two_places_is_not_taken_for_one(site: Site) -> None:
    dirfs, local = (
        pytest.importorskip("fsspec.implementations.dirfs"),
        pytest.importorskip("fsspec.implementations.local"),
    )
    storages.clear_backends()
    for key in ("docs", "pictures"):
        (site.root / key / "files").mkdir(parents=True)
        fs = dirfs.DirFileSystem(path=str(site.root / key), fs=local.LocalFileSystem())
        storages.register_backend(FSSpecBackend(key=key, fs=fs, prefix="files"))
    engine = site.database()
    Pictures.metadata.create_all(engine)
    put(engine, 1)
    put(engine, 1, model=Picture)
    assert not maintenance.check(engine, Base, Pictures).counts[FindingKind.MISSING]
    for folder in ("docs/files", "pictures/files"):
        site.nightly(engine, Base, Pictures, folder=folder, unreferenced=True)
    assert site.intact(engine, "doc", folder="docs/files") == 1
    assert site.intact(engine, "picture", folder="pictures/files") == 1


def test_a_folder_that_folds_case_keeps_what_it_lists_otherwise(site: Site) -> None:
    storages.clear_backends()
    site.folder().mkdir(exist_ok=True)
    storages.register_backend(Insensitive(site.folder()))
    engine = site.database()
    for row, name in ((1, "Docs/1"), (2, "docs/2")):
        with Session(engine) as session:
            session.add(Doc(id=row, file=FileObject("a", content=b"a", to_filename=name)))
            session.commit()
    site.nightly(engine, Base, unreferenced=True)
    with Session(engine) as session:
        assert [row.file.get_content() for row in session.scalars(select(Doc)) if row.file] == [b"a", b"a"]


def test_a_copied_folder_with_its_marks_is_not_taken_for_the_first(site: Site) -> None:
    engine = site.database("app", Pictures)
    site.register("pictures")
    put(engine, 1, 2, model=Picture)
    shutil.copytree(site.folder(), site.folder("copy"))
    storages.clear_backends()
    site.register("pictures", "copy")
    site.register("docs")
    Base.metadata.create_all(engine)
    put(engine, 1)
    remove(engine, 1, model=Picture)
    site.nightly(engine, Base, Pictures, unreferenced=True)
    assert site.intact(engine, "doc") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_bind_mount_of_the_folder_and_of_one_inside_it_lose_nothing(site: Site) -> None:
    site.folder().mkdir(exist_ok=True)
    (site.folder() / "inner").mkdir()
    bind = site.folder("bind")
    bind.mkdir()
    if subprocess.run(["mount", "--bind", site.folder(), bind], capture_output=True, check=False).returncode:
        pytest.skip("no bind mounts here")
    try:
        engine = site.database()
        site.register("again", "bind")
        with Session(engine) as session:
            session.add(Doc(id=1, file=FileObject("a", content=b"a")))
            session.commit()
        site.nightly(engine, Base, unreferenced=True)
        assert site.intact(engine) == 1
        storages.clear_backends()
        site.register()
        site.register("pictures", "bind/inner")
        Pictures.metadata.create_all(engine)
        put(engine, 1, model=Picture)
        site.nightly(engine, Base, Pictures, unreferenced=True)
        assert site.intact(engine, "picture", folder="docs/inner") == 1
    finally:
        subprocess.run(["umount", bind], check=True)


def test_content_that_was_moved_is_the_database_s_once_that_is_said(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    shutil.copytree(site.folder(), site.folder("moved"), ignore=shutil.ignore_patterns(".filecolumn"))
    site.new_process(folder="moved")
    maintenance.adopt(engine, Base, moved=True)
    remove(engine, 1)
    works(engine)
    site.nightly(engine, Base, folder="moved")
    assert len(site.objects("moved")) == site.intact(engine, folder="moved") == 1


# ---- no false alarm


def test_a_database_that_was_deleted_begins_anew_over_its_old_folder(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    site.host.path("app").unlink()
    site.new_process()
    works(site.database())


def test_a_second_run_of_tests_may_use_the_folder_of_the_first(site: Site) -> None:
    for run in ("first", "second"):
        site.new_process()
        works(site.database(run))


def test_a_database_used_with_a_new_folder_each_time_says_so_once(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    storages.clear_backends()
    site.register("docs", "anew", new_place=True)
    works(engine)


def test_workers_with_databases_of_their_own_share_a_folder(site: Site) -> None:
    engines = [site.database(name) for name in ("one", "two")]
    for engine in engines * 2:
        works(engine)
    put(engines[0], 1)
    put(engines[1], 1)
    for engine in engines:
        site.nightly(engine, Base, unreferenced=True)
    assert [site.intact(engine) for engine in engines] == [1, 1]


def test_a_folder_that_is_not_empty_keeps_what_lay_there(site: Site) -> None:
    site.folder().mkdir(exist_ok=True)
    (site.folder() / "readme.txt").write_text("not ours")
    age(site.folder())
    engine = site.database()
    works(engine)
    site.nightly(engine, Base, unreferenced=True)
    assert site.objects() == {"readme.txt"}


def test_a_database_in_memory_works_with_a_folder(site: Site) -> None:
    for _ in range(2):
        shell = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        Base.metadata.create_all(shell)
        works(shell)
        shell.dispose()
    assert site.objects() == set()


@pytest.mark.parametrize("kind", [NoListing, NoMarks])
def test_a_storage_that_refuses_to_list_or_to_be_marked_is_used_all_the_same(
    site: Site, kind: type[ObstoreBackend]
) -> None:
    storages.clear_backends()
    backend = kind("docs", f"file://{site.folder()}/", fsync=False)
    storages.register_backend(backend)
    engine = site.database()
    works(engine)
    put(engine, 1)
    site.nightly(engine, Base, unreferenced=True)
    assert read(engine, 1) == b"content 1"


def test_the_folder_of_an_empty_database_may_change(site: Site) -> None:
    engine = site.database()
    works(engine)
    site.new_process(folder="elsewhere")
    works(engine)
