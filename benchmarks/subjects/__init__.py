"""What is measured: each subject has measures, contenders and a place where they work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks import contenders, places
from benchmarks.measuring import Measure
from benchmarks.subjects import reads, saves

PlaceFactory = Callable[..., AbstractContextManager[tuple[places.Places, places.Around | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Measures that the same processes take one after the other."""

    title: str
    measures: tuple[Measure, ...]
    place: PlaceFactory
    contenders: dict[str, type[Any]] | None = None
    """Those of its own; else the libraries that are installed."""

    def all_contenders(self) -> dict[str, type[Any]]:
        """Return those that may take part, by name."""
        return contenders.find()[0] if self.contenders is None else self.contenders

    def taking_part(self, measure: Measure) -> list[str]:
        """Return the contenders of a measure."""
        return [
            name
            for name, class_ in self.all_contenders().items()
            if measure.needs in class_.can
            and (self.place is not places.s3 or "s3" in class_.can)
            and (measure.contenders is None or name in measure.contenders)
        ]


SUBJECTS: dict[str, Subject] = {
    "sqlite": Subject(
        title="Files of 4 KiB, SQLite, both in memory", measures=saves.MEASURES, place=places.sqlite
    ),
    "postgresql": Subject(
        title="Files of 4 KiB in memory, PostgreSQL", measures=saves.SHORT, place=places.postgresql
    ),
    "reads": Subject(title="SELECT", measures=reads.MEASURES, place=places.sqlite),
    "disk": Subject(
        title="Files of 4 KiB, SQLite, both on a disk", measures=saves.SHORT, place=places.on_disk
    ),
    "s3": Subject(
        title="Files of 4 KiB in S3 on this machine, SQLite", measures=saves.SHORT, place=places.s3
    ),
    "sessions": Subject(title="Async sessions at a time", measures=saves.SESSIONS, place=places.sqlite),
}


def measures_of(subject: str) -> dict[str, Measure]:
    """Return the measures of a subject by name."""
    return {measure.name: measure for measure in SUBJECTS[subject].measures}
