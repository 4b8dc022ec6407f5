"""What the library adds to sessions that have nothing to do with files, and to columns that nobody touches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample, sampled
from benchmarks.models import Record, model, plain_json, table_of

INSTANCES = 5_000


class Nothing:
    """A process without filecolumn, and a model without a file column."""

    name: ClassVar[str] = "without filecolumn"
    can: ClassVar[frozenset[str]] = frozenset({"plain"})

    def __init__(self, place: Place) -> None:
        self.model = self.make()

    def make(self) -> type[Record]:
        """Return the model."""
        return model("plain", None)

    def engine(self) -> Engine:
        """Return a database in memory that has the model's table."""
        engine = create_engine("sqlite://", poolclass=StaticPool)
        table_of(self.model).create(engine)
        return engine


class PlainJson(Nothing):
    """The same with a column of plain JSON."""

    name = "JSON column"
    can = frozenset({"column"})

    def make(self) -> type[Record]:
        return model("json", plain_json())


class Hooks(Nothing):
    """A model without a file column, beside one that has it."""

    name = "filecolumn"

    def make(self) -> type[Record]:
        _with_files("files")
        return model("plain", None)


class Untouched(Nothing):
    """A model with a file column that is left alone."""

    name = "filecolumn's column"
    can = frozenset({"column"})

    def make(self) -> type[Record]:
        return _with_files("ours")


def _with_files(name: str) -> type[Record]:
    """Return a model with a file column; configuring it brings the listeners."""
    from filecolumn import StoredObject  # noqa: PLC0415 - the other contenders must not have it

    return model(name, StoredObject(backend="none"))


def insert(contender: Nothing, times: int, instances: int) -> Sample:
    return _quietest(_insert(contender, instances) for _ in range(times))


def update(contender: Nothing, times: int, instances: int) -> Sample:
    return _quietest(_update(contender, instances) for _ in range(times))


def execute(contender: Nothing, times: int, statements: int) -> Sample:
    return _quietest(_execute(contender, statements) for _ in range(times))


def _quietest(samples: Iterable[Sample]) -> Sample:
    """Return the least: what is looked for is smaller than what one run differs from the next."""
    return min(samples, key=lambda sample: sample["cpu"])


def _insert(contender: Nothing, instances: int) -> Sample:
    with Session(contender.engine()) as session:
        session.add_all([contender.model(title="a") for _ in range(instances)])
        with sampled(instances) as sample:
            session.flush()
    return sample


def _update(contender: Nothing, instances: int) -> Sample:
    with Session(contender.engine()) as session:
        session.add_all([contender.model(title="a") for _ in range(instances)])
        session.commit()
        # held, else the session would forget them
        records = session.scalars(select(contender.model)).all()
        for record in records:
            record.title = "b"
        with sampled(instances) as sample:
            session.flush()
    return sample


def _execute(contender: Nothing, statements: int) -> Sample:
    statement = select(contender.model)
    with Session(contender.engine()) as session:
        session.execute(statement)
        with sampled(statements) as sample:
            for _ in range(statements):
                session.execute(statement)
    return sample


CONTENDERS: dict[str, type[Any]] = {class_.name: class_ for class_ in (Nothing, Hooks, PlainJson, Untouched)}
MEASURES = (
    Measure(
        name="no-files",
        title="flush: INSERT instances of a model without files",
        work=insert,
        needs="plain",
        usual=3,
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="untouched-insert",
        title="flush: INSERT instances whose file column is untouched",
        work=insert,
        needs="column",
        usual=3,
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="untouched-update",
        title="flush: UPDATE instances whose file column is untouched",
        work=update,
        needs="column",
        usual=3,
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="execute-select",
        title="session.execute(select(...)) of a model without files",
        work=execute,
        needs="plain",
        usual=3,
        amount=2_000,
        fixed=False,
        item="statement",
    ),
)
