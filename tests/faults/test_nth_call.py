"""The first call fails, then the second, until nothing fails: rows are as before, or as they are to be.

After SQLite's own tests of I/O errors: each scenario runs once for each call that it makes, which
fails once or from then on, before it has an effect or after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from sqlalchemy import Engine, create_engine, delete, event, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from filecolumn import FileColumnError, FileObject, StorageError, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from filecolumn.naming import RESERVED_FOLDER
from tests.faults.calls import Fault, Layer
from tests.faults.due import make_due
from tests.faults.oracle import look, put_right
from tests.profiles import PROFILE
from tests.scenarios.drivers import use_real_savepoints
from tests.scenarios.models import Base, Document, Folder, Item

Contents = dict[str, list[bytes]]
Scenario = Callable[[Session], None]


def file(body: bytes) -> FileObject:
    return FileObject("a.txt", content=body)


def add_two(session: Session) -> None:
    session.add_all([Document(id=7, file=file(b"7")), Document(id=8, file=file(b"8"))])


def add_list(session: Session) -> None:
    session.add(Document(id=7, pages=[file(b"7a"), file(b"7b")]))


def replace(session: Session) -> None:
    session.get_one(Document, 1).file = file(b"new")


def clear(session: Session) -> None:
    session.get_one(Document, 1).file = None


def remove(session: Session) -> None:
    session.delete(session.get_one(Document, 1))


def append(session: Session) -> None:
    document = session.get_one(Document, 1)
    document.pages.append(file(b"more"))


def pop(session: Session) -> None:
    document = session.get_one(Document, 1)
    document.pages.pop()


def move(session: Session) -> None:
    one, two = session.get_one(Document, 1), session.get_one(Document, 2)
    one.file, two.file = None, one.file


def copy(session: Session) -> None:
    session.get_one(Document, 2).file = session.get_one(Document, 1).file


def label(session: Session) -> None:
    document = session.get_one(Document, 1)
    assert document.file is not None
    document.file.update_metadata({"label": 1})


def stage(session: Session) -> None:
    session.get_one(Document, 1).file = FileObject("a.txt", content=b"staged", backend="docs").save()


def savepoint(session: Session) -> None:
    replace(session)
    with session.begin_nested() as nested:
        session.get_one(Document, 2).file = file(b"undone")
        session.flush()
        nested.rollback()


def two_flushes(session: Session) -> None:
    replace(session)
    session.flush()
    session.get_one(Document, 1).file = file(b"newer")


def orphan(session: Session) -> None:
    folder = session.get_one(Folder, 1)
    folder.items.pop()


def remove_in_bulk(session: Session) -> None:
    session.execute(delete(Document).where(Document.id > 1))


def replace_in_bulk(session: Session) -> None:
    session.execute(update(Document).where(Document.id == 1).values(file=file(b"bulk")))


def drain_due(session: Session) -> None:
    drain(session.get_bind().engine, Base)


SCENARIOS = [
    *(add_two, add_list, replace, clear, remove, append, pop, move, copy, label, stage, savepoint),
    *(two_flushes, orphan, remove_in_bulk, replace_in_bulk, drain_due),
]

FILE_SCENARIOS = [add_list, replace, copy, remove, stage, savepoint]
"""What touches files differs in these."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database and a folder with a few rows, and a key for a drain to delete; each run has a copy."""
    made = tmp_path_factory.mktemp("template")
    with opened(made) as engine:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add_all(
                [
                    Document(id=1, file=file(b"1"), pages=[file(b"1a"), file(b"1b")]),
                    Document(id=2, file=file(b"2")),
                    Document(id=3, file=file(b"3")),
                    Folder(id=1, items=[Item(file=file(b"i")), Item(file=file(b"j"))]),
                ]
            )
            session.commit()
            storages.register_backend(Refusing("docs", f"file://{made}/docs/"), replace=True)
            session.delete(session.get_one(Document, 3))
            session.commit()
        make_due(engine)
    # a copy is to be no clone of the template, whose storage it must leave alone
    marks = made / "docs" / RESERVED_FOLDER
    (marks / "owner").unlink()
    shutil.rmtree(marks / "writers")
    return made


class Refusing(ObstoreBackend):
    def delete(self, keys: Iterable[str]) -> None:
        raise StorageError("refused")


@contextmanager
def opened(folder: Path) -> Iterator[Engine]:
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/docs/"), replace=True)
    engine = create_engine(f"sqlite:///{folder}/test.db")
    use_real_savepoints(engine)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=off"))
    try:
        yield engine
    finally:
        engine.dispose()


def state_of(engine: Engine) -> Contents:
    """Return what rows hold, with what is said of it."""
    with Session(engine) as session:
        documents = {f"document {each.id}": read(each.file, *each.pages) for each in session.query(Document)}
        return documents | {f"item {each.id}": read(each.file) for each in session.query(Item)}


def read(*files: FileObject | None) -> list[bytes]:
    return [file.get_content() + repr(dict(file.metadata)).encode() for file in files if file is not None]


def outcome_without_a_fault(template: Path, scenario: Scenario, folder: Path) -> Contents:
    shutil.copytree(template, folder)
    with opened(folder) as engine:
        with Session(engine) as session:
            scenario(session)
            session.commit()
        return state_of(engine)


def cases() -> Iterator[ParameterSet]:
    """Yield each scenario with all pairs of how long and when a call fails, in two tests; one of them is quick."""
    chosen = [
        (each, layer)
        for layer in Layer
        for each in (FILE_SCENARIOS if layer in {Layer.FILES, Layer.CONTENT} else SCENARIOS)
    ]
    for number, (scenario, layer) in enumerate(chosen):
        for is_persistent in (False, True):
            is_late = is_persistent != bool(number % 2)
            name = f"{scenario.__name__}, {layer.value}"
            ways = f"{'from then on' if is_persistent else 'once'}-{'after' if is_late else 'before'}"
            marks = [] if is_persistent == bool(number % 4 < 2) else [pytest.mark.extended]
            yield pytest.param(scenario, layer, is_persistent, is_late, id=f"{name}-{ways}", marks=marks)


@pytest.mark.parametrize(("scenario", "layer", "is_persistent", "is_late"), list(cases()))
def test_rows_are_as_before_or_as_they_are_to_be(
    template: Path, tmp_path: Path, scenario: Scenario, layer: Layer, is_persistent: bool, is_late: bool
) -> None:
    with opened(template) as engine:
        before = state_of(engine)
    after = outcome_without_a_fault(template, scenario, tmp_path / "after")
    for number in count(1, 1 if layer is Layer.CONTENT else PROFILE.call_stride):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        fault = Fault(layer, number, is_persistent, is_late)
        with opened(folder) as engine:
            error = fail(engine, scenario, fault)
            state = state_of(engine)
            assert state in ([after] if error is None else [before, after]), (number, error)
            assert_put_right(engine, folder)
        shutil.rmtree(folder)
        if not fault.has_struck:
            assert error is None
            break


def fail(engine: Engine, scenario: Scenario, fault: Fault) -> Exception | None:
    """Run the scenario and return the error that reached its caller; the session can be used after it."""
    error = None
    with Session(engine) as session:
        with fault.at_work(engine, storages.get("docs")):
            try:
                scenario(session)
                session.commit()
            except (DBAPIError, FileColumnError) as raised:
                error = raised
                session.rollback()
        session.add(Document(id=9, file=file(b"9")))
        session.commit()
        session.delete(session.get_one(Document, 9))
        session.commit()
    return error


def assert_put_right(engine: Engine, folder: Path) -> None:
    """What is left over is known to the ledger, or to nobody."""
    put_right(engine)
    finding = look(engine, folder / "docs")
    assert finding.nothing_is_lost, finding
