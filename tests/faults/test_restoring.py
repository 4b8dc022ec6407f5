"""A drain finds that a row refers to a doomed key, and the row lets go of it before the key is restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, insert, text
from sqlalchemy.orm import Session

from filecolumn import storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.backends.registry import ObjectRef
from filecolumn.maintenance import check, drain
from tests.faults.due import make_due
from tests.scenarios.drivers import stored
from tests.scenarios.fixtures import on_servers
from tests.scenarios.models import Base, Document
from tests.servers.databases import own_database

# the package has the function under the module's name
check_module = import_module("filecolumn.maintenance.check")
LIMIT = 10


@pytest.fixture(params=["sqlite", *on_servers(["postgresql", "mariadb"])])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with own_database(request.param, tmp_path, Base.metadata) as engine:
        yield engine


def share_a_file(engine: Engine) -> None:
    """Commit two rows as advanced-alchemy could have written them."""
    storages.register_backend(ObstoreBackend("docs", "memory://"), replace=True).put("f.txt", [b"text"])
    table = Document.__table__
    with engine.begin() as connection:
        for number in (1, 2):
            connection.execute(insert(table).values(id=number, title="", pages=[]))
            row = json.dumps({"filename": "f.txt", "backend": "docs"})
            connection.execute(
                text("UPDATE documents SET file = :row WHERE id = :id"), {"row": row, "id": number}
            )


def delete(engine: Engine, number: int) -> None:
    with Session(engine) as session:
        session.delete(session.get_one(Document, number))
        session.commit()


def test_a_key_is_not_restored_for_a_row_that_is_gone(engine: Engine) -> None:
    share_a_file(engine)
    delete(engine, 1)
    others = create_engine(engine.url)
    rival = Thread(target=delete, args=(others, 2))

    def start_rival(connection: object, cursor: object, statement: str, *_: object) -> None:
        # the drain has asked who refers to the key
        if "documents" in statement and rival.ident is None:
            rival.start()
            rival.join(1)

    event.listen(engine, "after_cursor_execute", start_rival)
    drain(engine, Base)
    event.remove(engine, "after_cursor_execute", start_rival)
    rival.join(LIMIT)
    assert not rival.is_alive()
    with engine.begin() as connection:
        connection.execute(text("UPDATE filecolumn_ledger SET due_at = 0 WHERE state = 2"))
    drain(engine, Base)
    assert stored() == {}
    others.dispose()


def test_a_drain_leaves_a_key_alone_that_a_transaction_is_about_to_take_away(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("it has one writer at a time")
    share_a_file(engine)
    delete(engine, 1)
    with Session(engine) as session:
        session.delete(session.get_one(Document, 2))
        session.flush()
        report = drain(engine, Base)
        assert (report.deleted, report.restored) == (0, 0)
        session.rollback()
    with engine.begin() as connection:
        connection.execute(text("UPDATE filecolumn_ledger SET due_at = 0 WHERE state = 2"))
    assert drain(engine, Base).restored == 1
    assert stored() == {"f.txt": b"text"}


def test_a_repair_does_not_restore_a_key_for_a_row_that_is_gone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_a_file(engine)
    delete(engine, 1)
    restore = check_module.restore

    def restore_late(*given: Any) -> list[ObjectRef]:
        delete(engine, 2)
        restored: list[ObjectRef] = restore(*given)
        return restored

    monkeypatch.setattr(check_module, "restore", restore_late)
    check(engine, Base, repair=True)
    make_due(engine)
    drain(engine, Base)
    assert stored() == {}
