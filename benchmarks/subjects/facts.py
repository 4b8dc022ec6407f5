"""Rows found by facts of their files: with an index, without one, and by the plainest SQL that reads JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import Column, Index, Integer, MetaData, Table, create_engine, select, text

from benchmarks.contenders.base import Place
from benchmarks.measuring import Measure, Sample, sampled

ROWS = 20_000
START = 1_700_000_000
SUM = f"sha256:{77:064x}"
MOMENT = datetime.fromtimestamp(START + 77, UTC)

Condition = Callable[[Any], Any]
"""Makes a condition that at most ten rows meet, or an order, of what can be asked of a file column."""

CONDITIONS: Mapping[str, tuple[str, Condition]] = {
    "text": ("a checksum", lambda file: file.checksum == SUM),
    "filename": ("a file name", lambda file: file.filename == "report 77.txt"),
    "prefix": ("the beginning of a file name", lambda file: file.filename.startswith("report 777")),
    "path": ("a path", lambda file: file.path == "2026/00077"),
    "integer": ("a size", lambda file: file.size == 770),
    "range": ("a range of sizes", lambda file: file.size.between(770, 800)),
    "float": ("when it was modified, in seconds", lambda file: file.last_modified == START + 77),
    "time": ("when it was modified, as a datetime", lambda file: file.last_modified.as_datetime() == MOMENT),
    "metadata-text": ("a string in metadata", lambda file: file.metadata["owner"] == "owner 77"),
    "metadata-integer": ("a whole number in metadata", lambda file: file.metadata["n"].as_integer() == 77),
    "metadata-float": ("a number in metadata", lambda file: file.metadata["x"].as_float() == 77.5),
    "metadata-boolean": ("true in metadata", lambda file: file.metadata["rare"].as_boolean()),
}
INDEXED: Mapping[str, Condition] = {
    "checksum": lambda file: file.checksum,
    "filename": lambda file: file.filename,
    "path": lambda file: file.path,
    "size": lambda file: file.size,
    "last_modified": lambda file: file.last_modified,
    "owner": lambda file: file.metadata["owner"],
    "n": lambda file: file.metadata["n"].as_integer(),
    "x": lambda file: file.metadata["x"].as_float(),
    "rare": lambda file: file.metadata["rare"].as_boolean(),
}
_TEXT, _SIZE = f"= '{SUM}'", "= 770"
PLAIN: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "text": f"json_extract(file, '$.checksum') {_TEXT}",
        "integer": f"json_extract(file, '$.size') {_SIZE}",
    },
    "postgresql": {"text": f"file ->> 'checksum' {_TEXT}", "integer": f"(file ->> 'size')::numeric {_SIZE}"},
    "mariadb": {
        "text": f"json_value(file, '$.checksum') {_TEXT}",
        "integer": f"CAST(json_value(file, '$.size') AS SIGNED) {_SIZE}",
    },
}
"""By the database, conditions that take whatever type a value has, and that one bad row may fail."""


class Facts:
    """A table whose files are looked for; it has no indexes on them."""

    name: ClassVar[str] = "filecolumn, no index"
    can: ClassVar[frozenset[str]] = frozenset({"facts"})

    def __init__(self, place: Place) -> None:
        self.engine = create_engine(place.url)
        self.kind = self.engine.dialect.name
        self.table: Table | None = None

    def statement(self, measure: str, table: Table) -> Any:
        """Return the statement that a measure is of."""
        _, condition = CONDITIONS[measure]
        return select(table.c.id).where(condition(table.c.file))

    def filled(self, rows: int) -> Table:
        """Return the table, with *rows* rows."""
        if self.table is None:
            self.table = self._make()
            value = "CAST(:file AS JSONB)" if self.kind == "postgresql" else ":file"
            values = [{"id": n, "file": _row(n)} for n in range(1, rows + 1)]
            with self.engine.begin() as connection:
                self.table.create(connection)
                connection.execute(text(f"INSERT INTO documents (id, file) VALUES (:id, {value})"), values)
                if self.kind == "postgresql":
                    connection.execute(text("ANALYZE documents"))
        return self.table

    def _make(self) -> Table:
        from filecolumn import StoredObject  # noqa: PLC0415 - see `Child`

        file = Column("file", StoredObject(backend="docs", ledger=False))
        return Table("documents", MetaData(), Column("id", Integer, primary_key=True), file)


class Indexed(Facts):
    """With an index on each fact: on MariaDB on a column that is generated from it."""

    name = "filecolumn, index"

    def _make(self) -> Table:
        from filecolumn import FactColumn  # noqa: PLC0415 - see `Child`

        table = super()._make()
        for name, of_file in INDEXED.items():
            if self.kind == "mariadb":
                FactColumn(f"{name}_fact", of_file(table.c.file))
            else:
                Index(f"ix_{name}", of_file(table.c.file))
        return table


class Plain(Facts):
    """JSON functions alone, which are not as strict, and have no index either."""

    name = "plain JSON functions"

    def statement(self, measure: str, table: Table) -> Any:
        return select(table.c.id).where(text(PLAIN[self.kind][measure]))


def _row(n: int) -> str:
    return json.dumps(
        {
            "filename": f"report {n}.txt",
            "to_filename": f"2026/{n:05}",
            "backend": "docs",
            "content_type": "text/plain",
            "checksum": f"sha256:{n:064x}",
            "size": n * 10,
            "last_modified": START + n,
            "metadata": {"owner": f"owner {n}", "n": n, "x": n + 0.5, "rare": n == 3},
            "v": 1,
        }
    )


def find(contender: Facts, times: int, rows: int, *, measure: str) -> Sample:
    """Find rows by a fact."""
    table = contender.filled(rows)
    statement = contender.statement(measure, table)
    with contender.engine.connect() as connection:
        found = connection.execute(statement).all()
        assert found or rows < ROWS
        with sampled(times) as sample:
            for _ in range(times):
                connection.execute(statement).all()
    return sample


CONTENDERS: dict[str, type[Any]] = {class_.name: class_ for class_ in (Indexed, Facts, Plain)}
MEASURES = tuple(
    Measure(
        name=name,
        title=f"{title}, among {ROWS:,} rows",
        work=partial(find, measure=name),
        needs="facts",
        usual=10,
        amount=ROWS,
        item="statement",
        metrics=("wall", "cpu"),
        contenders=tuple(CONTENDERS) if name in PLAIN["sqlite"] else (Indexed.name, Facts.name),
    )
    for name, (title, _) in CONDITIONS.items()
)
