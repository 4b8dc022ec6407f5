"""What is measured: each subject has measures, contenders and a place where they work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks import applications, contenders, places
from benchmarks.measuring import Measure
from benchmarks.subjects import (
    facts,
    flushes,
    growth,
    http,
    imports,
    large,
    latency,
    lists,
    maintenance,
    reads,
    saves,
)

PlaceFactory = Callable[..., AbstractContextManager[tuple[places.Places, places.Around | None]]]


def _libraries() -> dict[str, type[Any]]:
    return contenders.find()[0]


def _applications() -> dict[str, type[Any]]:
    return applications.find()[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Measures that the same processes take one after the other."""

    title: str
    measures: tuple[Measure, ...]
    place: PlaceFactory
    contenders: Callable[[], dict[str, type[Any]]] = _libraries
    """Those that may take part, by name."""
    quick: bool = True
    """Whether a `--quick` run has it that names nothing."""

    def taking_part(self, measure: Measure) -> list[str]:
        """Return the contenders of a measure."""
        return [
            name
            for name, class_ in self.contenders().items()
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
        title="Files of 4 KiB, SQLite, both on a disk",
        measures=saves.SHORT,
        place=places.on_disk,
    ),
    "s3": Subject(
        title="Files of 4 KiB in S3 on this machine, SQLite", measures=saves.IN_S3, place=places.s3
    ),
    **{
        f"facts-{kind}": Subject(
            title=f"Rows found by facts of their files, {title}",
            measures=facts.MEASURES,
            place=place,
            contenders=lambda: facts.CONTENDERS,
            quick=kind == "sqlite",
        )
        for kind, title, place in (
            ("sqlite", "SQLite", places.sqlite),
            ("postgresql", "PostgreSQL", places.postgresql),
            ("mariadb", "MariaDB", places.mariadb),
        )
    },
    "lists": Subject(
        title="Lists of files of 4 KiB, SQLite, both in memory", measures=lists.MEASURES, place=places.sqlite
    ),
    "http": Subject(
        title="Requests to applications, files in memory",
        measures=http.MEASURES,
        place=places.sqlite,
        contenders=_applications,
    ),
    "flushes": Subject(
        title="Sessions without files",
        measures=flushes.MEASURES,
        place=places.nowhere,
        contenders=lambda: flushes.CONTENDERS,
    ),
    "import": Subject(
        title="Imports",
        measures=imports.MEASURES,
        place=places.nowhere,
        contenders=lambda: imports.CONTENDERS,
    ),
    "large": Subject(
        title="A large file in a folder in memory (SHA-256 on both ways)",
        measures=large.MEASURES,
        place=places.sqlite,
        contenders=lambda: large.CONTENDERS,
    ),
    "latency": Subject(
        title="Slow storages",
        measures=latency.MEASURES,
        place=places.nowhere,
        contenders=lambda: latency.CONTENDERS,
    ),
    "growth": Subject(
        title="Growth, SQLite and files in memory",
        measures=growth.MEASURES,
        place=places.sqlite,
    ),
    "sessions": Subject(title="Async sessions at a time", measures=saves.SESSIONS, place=places.sqlite),
    **{
        f"maintenance-{kind}": Subject(
            title=f"Maintenance of many keys, {title}, never analysed",
            measures=maintenance.MEASURES,
            place=place,
            contenders=lambda: maintenance.CONTENDERS,
            quick=kind == "sqlite",
        )
        for kind, title, place in (
            ("sqlite", "SQLite", places.sqlite),
            ("postgresql", "PostgreSQL", places.postgresql),
            ("mariadb", "MariaDB", places.mariadb),
        )
    },
    "maintenance-beside": Subject(
        title="A writer in another process beside maintenance, SQLite",
        measures=maintenance.BESIDE,
        place=places.sqlite,
        contenders=lambda: maintenance.CONTENDERS,
    ),
    "maintenance-million": Subject(
        title="Maintenance of a million keys, PostgreSQL with triggers, never analysed",
        measures=maintenance.MILLION,
        place=places.postgresql,
        contenders=lambda: maintenance.CONTENDERS,
        quick=False,
    ),
}


def measures_of(subject: str) -> dict[str, Measure]:
    """Return the measures of a subject by name."""
    return {measure.name: measure for measure in SUBJECTS[subject].measures}
