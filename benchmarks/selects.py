"""SELECT rows with one column that differs in its type only, in processor time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from sqlalchemy import Engine, String, create_engine, insert, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from benchmarks import peer
from benchmarks.measure import Figure, Sizes, in_turn, medians
from benchmarks.models import Record, model, plain_json
from filecolumn import StoredObject

OURS, TEXT, JSON, PEER = "StoredObject", "String", "JSON", "advanced-alchemy's StoredObject"
BUDGET = 1.6


def measure(sizes: Sizes) -> list[Figure]:
    """Measure Core, then the ORM."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    models = _filled(engine, sizes.rows)
    figures = _figures("Core", _taken(engine, models, _core, sizes.rounds))
    figures += _figures("ORM", _taken(engine, models, _orm, sizes.rounds))
    engine.dispose()
    return figures


def _figures(kind: str, taken: dict[str, float]) -> list[Figure]:
    return [
        Figure(
            what=f"{kind}: {name} v {TEXT}",
            value=seconds / taken[TEXT],
            budget=BUDGET if name == OURS else None,
            detail=f"{seconds * 1e3:.1f} ms v {taken[TEXT] * 1e3:.1f} ms",
        )
        for name, seconds in taken.items()
        if name != TEXT
    ]


def _filled(engine: Engine, rows: int) -> dict[str, type[Record]]:
    kinds: dict[str, tuple[type[Record], dict[str, object]]] = {
        TEXT: (model("text", String()), OUR_ROW),
        OURS: (model("ours_selected", StoredObject(backend="none")), OUR_ROW),
        JSON: (model("json", plain_json()), OUR_ROW),
    }
    if peer.installed:
        kinds[PEER] = (model("peer_selected", peer.column()), PEER_ROW)
    for class_, row in kinds.values():
        text = model(class_.__name__, String())  # the same table, to write the row as it is
        table = text.__table__  # type: ignore[attr-defined]
        table.create(engine)
        with engine.begin() as connection:
            connection.execute(insert(table), [{"title": "a", "file": json.dumps(row)}] * rows)
    return {name: class_ for name, (class_, _) in kinds.items()}


def _taken(
    engine: Engine,
    models: dict[str, type[Record]],
    read: Callable[[Engine, type[Record]], int],
    rounds: int,
) -> dict[str, float]:
    def contender(class_: type[Record]) -> Callable[[], float]:
        def once() -> float:
            start = time.process_time()
            count = read(engine, class_)
            seconds = time.process_time() - start
            assert count
            return seconds

        return once

    return medians(in_turn({name: contender(class_) for name, class_ in models.items()}, rounds))


def _core(engine: Engine, class_: type[Record]) -> int:
    table = class_.__table__  # type: ignore[attr-defined]
    with engine.connect() as connection:
        return len(connection.execute(select(table.c.id, table.c.file)).all())


def _orm(engine: Engine, class_: type[Record]) -> int:
    with Session(engine) as session:
        return len(session.scalars(select(class_)).all())


OUR_ROW: dict[str, object] = {
    "filename": "report.pdf",
    "to_filename": "20260101/00/01a20981ac127bf0be88e781d3a5d7c2.pdf",
    "backend": "none",
    "content_type": "application/pdf",
    "size": 123456,
    "checksum": f"sha256:{'0' * 64}",
    "etag": "1a2b-3c4d-5e6f",
    "version_id": None,
    "last_modified": 1767225600.0,
    "metadata": {},
    "v": 1,
}
PEER_ROW: dict[str, object] = {
    "filename": "20260101/00/01a20981ac127bf0be88e781d3a5d7c2.pdf",
    "content_type": "application/pdf",
    "size": 123456,
    "last_modified": 1767225600.0,
    "checksum": f"sha256:{'0' * 64}",
    "etag": "1a2b-3c4d-5e6f",
    "version_id": None,
    "metadata": {},
    "backend": "none",
}
