"""`fact` in a program that mypy and pyright check; tests/typed has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from filecolumn import FileObject, storages
from tests.typed.facts import Base, Document, check_types, conditions, ids, largest, twins, used, with_pages


@pytest.fixture
def session() -> Iterator[Session]:
    storages.register_backend("memory://", key="files")
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        files = [
            FileObject("b.txt", content=b"same", metadata={"owner": "ann"}),
            FileObject("a.txt", content=b"same"),
            FileObject("c.pdf", content=b"%PDF-1.7"),
            None,
        ]
        session.add_all([Document(id=number, file=file) for number, file in enumerate(files, start=1)])
        session.add(Document(id=5, pages=[FileObject("1.txt", content=b"1")]))
        session.commit()
        yield session
    engine.dispose()


def test_typed_facts_are_asked_for(session: Session) -> None:
    check_types(session.get_one(Document, 1).file)
    assert largest(session) == [(3, 8), (1, 4), (2, 4)]
    assert largest(session, among=[*conditions("text/", 4, "ann", datetime(2026, 1, 1, tzinfo=UTC))]) == [
        (1, 4)
    ]
    assert used(session) == 16
    assert ids(session, "filename", Document.file.is_not(None)) == [2, 1, 3]
    assert ids(session, "size", with_pages(1)) == [1, 2, 3, 4, 5]
    assert set(twins(session)) == {1, 2}
