"""Databases and storages go back in time independently, and copies of a database meet the storage of the first."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from filecolumn import maintenance, storages
from tests.deployments.site import (
    ANY_DATABASE,
    SERVERS,
    Base,
    Doc,
    Site,
    bound_json,
    held_json,
    put,
    read,
    remove,
    replace,
    works,
)

COPIED = ("sqlite", SERVERS[0])


@pytest.mark.parametrize("host", ANY_DATABASE, indirect=True)
@pytest.mark.parametrize("retention", [0.0, 7 * 86400.0])
def test_a_row_that_was_put_back_keeps_its_file(site: Site, retention: float) -> None:
    engine = site.database()
    storages.retention = retention
    storages.inline_removal = False
    put(engine, 1, 2)
    held = held_json(engine, 1)
    remove(engine, 1)
    with engine.begin() as connection:
        connection.execute(
            text(f"INSERT INTO doc (id, file) VALUES (1, {bound_json(engine)})"), {"value": held}
        )
        connection.execute(text("UPDATE filecolumn_ledger SET due_at = 1 WHERE state = 2"))
    assert maintenance.drain(engine, Base).restored == 1
    assert read(engine, 1) == b"content 1"
    remove(engine, 1)
    site.nightly(engine, Base)
    assert site.intact(engine) == 1


@pytest.mark.parametrize("host", COPIED, indirect=True)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_database_restored_by_mistake_removes_nothing_of_the_newer_one(site: Site, in_place: bool) -> None:
    engine = site.database()
    put(engine, 1)
    site.host.copy("app", "backup")
    put(engine, 2, 3)
    maintenance.sweep(engine, Base)
    site.host.copy("app", "newer")
    site.host.copy("backup", "app", in_place=in_place)
    site.new_process()
    restored = site.host.engine("app")
    replace(restored, 1)
    for row in (4, 5):
        site.nightly(restored, Base, unreferenced=True)
        site.new_process()
        restored = site.host.engine("app")
        put(restored, row)
    site.nightly(restored, Base, unreferenced=True)
    assert maintenance.status(restored, Base).withheld
    site.host.copy("newer", "app", in_place=in_place)
    assert site.intact(site.host.engine("app")) == 3


@pytest.mark.parametrize("in_place", [True, False])
def test_a_process_that_lives_through_a_restore_removes_nothing_of_the_newer_one(
    site: Site, in_place: bool
) -> None:
    engine = site.database()
    put(engine, 1, 5)
    remove(engine, 5)
    site.host.copy("app", "backup")
    put(engine, 2, 3)
    maintenance.sweep(engine, Base)
    site.host.copy("app", "newer")
    site.host.copy("backup", "app", in_place=in_place)
    replace(engine, 1)
    site.host.copy("newer", "app", in_place=in_place)
    assert site.intact(engine) == 3


@pytest.mark.parametrize("in_place", [True, False])
def test_a_second_name_of_the_storage_does_not_hide_that_the_database_was_restored(
    site: Site, in_place: bool
) -> None:
    engine = site.database()
    put(engine, 1)
    site.host.copy("app", "backup")
    put(engine, 2)
    maintenance.sweep(engine, Base)
    site.host.copy("app", "newer")
    site.host.copy("backup", "app", in_place=in_place)
    restored = site.host.engine("app")
    for _ in range(2):
        site.new_process()
        site.register("again")
        restored = site.host.engine("app")
        site.nightly(restored, Base, unreferenced=True)
    replace(restored, 1)
    site.host.copy("newer", "app", in_place=in_place)
    assert site.intact(site.host.engine("app")) == 2


def test_a_restored_database_removes_again_once_it_is_adopted(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    site.host.copy("app", "backup")
    maintenance.sweep(engine, Base)
    site.host.copy("backup", "app")
    site.new_process()
    restored = site.host.engine("app")
    replace(restored, 1)
    assert len(site.objects()) == 2
    maintenance.adopt(restored, Base)
    site.nightly(restored, Base)
    assert len(site.objects()) == site.intact(restored) == 1


@pytest.mark.parametrize("host", COPIED, indirect=True)
def test_a_staged_copy_removes_nothing_of_the_production(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    remove(engine, 2)
    put(engine, 2, 3)
    site.host.copy("app", "staged")
    site.new_process()
    staged = site.host.engine("staged")
    remove(staged, 1)
    replace(staged, 2)
    site.nightly(staged, Base, unreferenced=True, force=True)
    maintenance.check(staged, Base, repair=True, grace=0)
    site.nightly(staged, Base, unreferenced=True, force=True)
    assert site.intact(engine) == 3


@pytest.mark.parametrize("host", COPIED, indirect=True)
def test_a_second_name_of_the_storage_does_not_make_a_staged_copy_the_original(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    site.host.copy("app", "staged")
    staged = site.host.engine("staged")
    for _ in range(2):
        site.new_process()
        site.register("again")
        staged = site.host.engine("staged")
        site.nightly(staged, Base, unreferenced=True)
    remove(staged, 1)
    site.nightly(staged, Base, unreferenced=True)
    assert site.intact(engine) == 2


def test_a_staged_copy_at_the_production_s_path_removes_nothing_of_it(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    path = site.host.path("app")
    site.host.copy("app", "staged")
    put(engine, 3)
    path.rename(site.host.path("elsewhere"))
    site.host.path("staged").rename(path)
    site.new_process()
    staged = site.host.engine("app")
    remove(staged, 1)
    site.nightly(staged, Base, unreferenced=True, force=True)
    assert site.intact(site.host.engine("elsewhere")) == 3


def test_a_row_deleted_and_restored_to_the_same_json_is_read_by_sessions(site: Site) -> None:
    engine = site.database()
    storages.retention = 3600.0
    put(engine, 1)
    held = held_json(engine, 1)
    remove(engine, 1)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO doc (id, file) VALUES (9, :value)"), {"value": held})
    with Session(engine) as session:
        file = session.get_one(Doc, 9).file
        assert file is not None
        assert file.get_content() == b"content 1"


@pytest.mark.parametrize("host", SERVERS[1:], indirect=True)
def test_a_failover_of_mariadb_is_no_copy(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    remove(engine, 1)
    site.new_process()
    replica = site.host.engine("app")

    @event.listens_for(replica, "before_cursor_execute", retval=True)
    def answer_otherwise(
        _: object, __: object, statement: str, given: object, *___: object
    ) -> tuple[str, object]:
        """Answer as another server of the same data."""
        is_asked = "server_uid" in statement or "server_uuid" in statement
        return ("SELECT 'server_uid', 'another'" if is_asked else statement), given

    remove(replica, 2)
    assert site.objects() == set()
    works(replica)
