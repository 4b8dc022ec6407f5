"""Flush instances with and without filecolumn's session hooks, in processor time per instance.

Hooks cannot be taken out of a process again, so each contender works in a fresh one, in turn.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from statistics import median

from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from benchmarks.measure import Figure, Sizes, child
from benchmarks.models import Record, model, plain_json

FLUSHES = 5
"""In one process; the first is not counted."""


def measure(sizes: Sizes) -> list[Figure]:
    """Compare the medians of processes that took turns."""
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(sizes.rounds):
        for name in list(CONTENDERS)[:: -1 if turn % 2 else 1]:
            taken[name].append(child("benchmarks.flushes", name, sizes.instances)["us"])
    cost = {name: median(times) for name, times in taken.items()}
    return [
        _added("no file column, INSERT: hooks add", cost["hooks"], cost["none"], 1.0),
        _added("untouched file column, INSERT: added to JSON", cost["insert-ours"], cost["insert-json"], 3.0),
        _added("untouched file column, UPDATE: added to JSON", cost["update-ours"], cost["update-json"], 3.0),
    ]


def _added(what: str, ours: float, base: float, budget: float) -> Figure:
    detail = f"{ours:.2f} us v {base:.2f} us an instance"
    return Figure(what=what, value=ours - base, unit="us", budget=budget, detail=detail)


def _with_files(name: str) -> type[Record]:
    """Return a model with a file column; configuring it brings the hooks."""
    from filecolumn import StoredObject  # noqa: PLC0415 - the other contenders must not have it

    return model(name, StoredObject(backend="none"))


def _hooked() -> type[Record]:
    _with_files("files")
    return model("plain", None)


def _inserts(class_: type[Record], instances: int) -> float:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    class_.__table__.create(engine)  # type: ignore[attr-defined]
    with Session(engine) as session:
        session.add_all([class_(title="a") for _ in range(instances)])
        return _flush(session)


def _updates(class_: type[Record], instances: int) -> float:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    class_.__table__.create(engine)  # type: ignore[attr-defined]
    with Session(engine) as session:
        records = [class_(title="a") for _ in range(instances)]
        session.add_all(records)
        session.commit()
        for record in session.query(class_):
            record.title = "b"
        return _flush(session)


def _flush(session: Session) -> float:
    gc.collect()
    gc.disable()
    start = time.process_time()
    session.flush()
    seconds = time.process_time() - start
    gc.enable()
    return seconds


CONTENDERS: dict[str, tuple[Callable[[], type[Record]], Callable[[type[Record], int], float]]] = {
    "none": (lambda: model("plain", None), _inserts),
    "hooks": (_hooked, _inserts),
    "insert-json": (lambda: model("json", plain_json()), _inserts),
    "insert-ours": (lambda: _with_files("ours"), _inserts),
    "update-json": (lambda: model("json", plain_json()), _updates),
    "update-ours": (lambda: _with_files("ours"), _updates),
}


def main(name: str, instances: int) -> None:
    """Print the median of several flushes, in microseconds per instance."""
    make, work = CONTENDERS[name]
    class_ = make()
    seconds = [work(class_, instances) for _ in range(FLUSHES)][1:]
    assert ("filecolumn" in sys.modules) is (name == "hooks" or name.endswith("ours"))
    print(json.dumps({"us": median(seconds) / instances * 1e6}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
