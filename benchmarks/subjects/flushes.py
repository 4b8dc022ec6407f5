"""What the library adds to sessions that have nothing to do with files, and to columns that nobody touches."""

from __future__ import annotations

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


def insert(contender: Nothing, _times: int, instances: int) -> Sample:
    with Session(contender.engine()) as session:
        session.add_all([contender.model(title="a") for _ in range(instances)])
        with sampled(instances) as sample:
            session.flush()
    return sample


def update(contender: Nothing, _times: int, instances: int) -> Sample:
    with Session(contender.engine()) as session:
        session.add_all([contender.model(title="a") for _ in range(instances)])
        session.commit()
        for record in session.scalars(select(contender.model)):
            record.title = "b"
        with sampled(instances) as sample:
            session.flush()
    return sample


def execute(contender: Nothing, times: int, _amount: int) -> Sample:
    statement = select(table_of(contender.model).c.title)
    with Session(contender.engine()) as session:
        session.execute(statement)
        with sampled(times) as sample:
            for _ in range(times):
                session.execute(statement)
    return sample


CONTENDERS: dict[str, type[Any]] = {class_.name: class_ for class_ in (Nothing, Hooks, PlainJson, Untouched)}
MEASURES = (
    Measure(
        name="no-files",
        title="flush: INSERT instances of a model without files",
        work=insert,
        needs="plain",
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="untouched-insert",
        title="flush: INSERT instances whose file column is untouched",
        work=insert,
        needs="column",
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="untouched-update",
        title="flush: UPDATE instances whose file column is untouched",
        work=update,
        needs="column",
        amount=INSTANCES,
        fixed=False,
        item="instance",
    ),
    Measure(
        name="execute-select",
        title="session.execute(select(...)) of a model without files",
        work=execute,
        needs="plain",
        usual=2_000,
        item="statement",
    ),
)
