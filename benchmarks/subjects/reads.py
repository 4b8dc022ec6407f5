"""SELECT rows with a file, or a list of files; read facts of them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.measuring import Measure, Sample, sampled
from benchmarks.models import Record, table_of

ROWS = 20_000
LISTS = {3: 4_000, 20: 1_000}
"""Rows, by the files that each has."""


def read(contender: Any, times: int, rows: int, *, orm: bool, fact: str = "", files: int = 0) -> Sample:
    class_ = _filled(contender, rows, files)
    look = {"": None, "one": contender.one_fact, "all": contender.all_facts}[fact]
    with sampled(times * rows) as sample:
        for _ in range(times):
            assert (_orm if orm else _core)(contender, class_, look) == rows
    return sample


def memory(contender: Any, _times: int, rows: int) -> Sample:
    """See what memory rows of the ORM take that are held and not looked at."""
    class_ = _filled(contender, rows, 0)
    with Session(contender.engine) as session:
        session.scalars(select(class_).limit(10)).all()
    with sampled(rows) as sample, Session(contender.engine) as session:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        records = session.scalars(select(class_)).all()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return sample | {"bytes": (after - before) / len(records)}


def _filled(contender: Any, rows: int, files: int) -> type[Record]:
    tables: dict[tuple[int, int], type[Record]] = contender.__dict__.setdefault("filled", {})
    if (rows, files) not in tables:
        tables[rows, files] = contender.fill(rows, files)
    return tables[rows, files]


def _core(contender: Any, class_: type[Record], look: Callable[[Any], object] | None) -> int:
    table = table_of(class_)
    with contender.engine.connect() as connection:
        rows = connection.execute(select(table.c.id, table.c.file)).all()
        if look is not None:
            for _key, file in rows:
                look(file)
        return len(rows)


def _orm(contender: Any, class_: type[Record], look: Callable[[Any], object] | None) -> int:
    with Session(contender.engine) as session:
        records = session.scalars(select(class_)).all()
        if look is not None:
            for record in records:
                look(record.file)
        return len(records)


def _measures() -> tuple[Measure, ...]:
    facts = {"": "", "one": ", read one fact of each", "all": ", read all facts of each"}
    return tuple(
        Measure(
            name=f"select-{face}{f'-{fact}-fact' + ('s' if fact == 'all' else '') if fact else ''}",
            title=f"SELECT {ROWS:,} rows, {'ORM' if face == 'orm' else 'Core'}{also}",
            work=partial(read, orm=face == "orm", fact=fact),
            needs="facts" if fact else "rows",
            amount=ROWS,
            fixed=False,
            item="row",
        )
        for fact, also in facts.items()
        for face in ("core", "orm")
    )


def _list_measures() -> tuple[Measure, ...]:
    return tuple(
        Measure(
            name=f"select-lists-{files}-{face}",
            title=f"SELECT {rows:,} rows of {files} files, {'ORM' if face == 'orm' else 'Core'}",
            work=partial(read, orm=face == "orm", files=files),
            needs="rows",
            amount=rows,
            fixed=False,
            item="row",
            contenders=("filecolumn", "String column", "JSON column", "advanced-alchemy", "sqlalchemy-file"),
        )
        for files, rows in LISTS.items()
        for face in ("core", "orm")
    )


MEMORY = Measure(
    name="memory",
    title="memory of a row of the ORM that is loaded and not looked at",
    work=memory,
    needs="rows",
    amount=5_000,
    fixed=False,
    item="row",
    metrics=("bytes",),
)
MEASURES = (*_measures(), *_list_measures(), MEMORY)
