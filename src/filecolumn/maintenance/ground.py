"""What a run of maintenance may conclude: which columns it sees, and where it is the only one to store."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Engine, MetaData, func, select
from sqlalchemy.exc import OperationalError

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.errors import FileColumnError
from filecolumn.files import execution
from filecolumn.ledger.marks import is_marked, why_shared
from filecolumn.ledger.owner import Examiner, Standing, examined, raise_generation
from filecolumn.ledger.table import Ledger
from filecolumn.logs import note
from filecolumn.maintenance.survey import Survey as RowSurvey
from filecolumn.maintenance.view import View, look_at
from filecolumn.naming import RESERVED_FOLDER, ReservedKey

__all__ = ("Ground", "folded", "folds_names", "survey_ground")


@dataclass(frozen=True, slots=True)
class Ground:
    """What conclusions stand on."""

    view: View
    standings: Mapping[str, Standing]
    """By storage."""
    newest: float
    """Epoch seconds of the ledger's newest entry: the database knows nothing of what is younger."""

    def hide(self, survey: RowSurvey) -> None:
        """Take note of columns in which a value was found that nobody can decode."""
        for source in survey.undecodable:
            column = survey.columns[source]
            self.view.hidden[f"{column.table}.{column.name}"] = "a value in it is no text"

    def why_withheld(self, name: str) -> str:
        """Return why nothing may be removed from a storage; empty if it may."""
        if name not in self.standings:
            return "" if storages.is_registered(name) else f"storage {name!r} is not registered"
        return self.standings[name].refused or self.standings[name].withheld

    def why_mixed(self, name: str) -> str:
        """Return why the absence of a row says nothing about an object that the ledger never had."""
        return self.standings[name].mixed if name in self.standings else ""

    def why_not(self, name: str) -> str:
        """Return why nothing, or not everything, is concluded about a storage."""
        return self.why_withheld(name) or self.why_mixed(name)


def survey_ground(
    engine: Engine, ledger: Ledger | None, metadatas: Sequence[MetaData], *, claim: bool
) -> Ground:
    """Return what may be concluded; with *claim* the database registers where it has not yet."""
    if ledger is None:
        with engine.connect() as connection:
            view = look_at(connection, None, metadatas)
        return Ground(view, {each.key: _without_ledger(each) for each in storages.all()}, float("inf"))
    with engine.begin() as connection:
        examiner = Examiner(connection, ledger, only_looks=not claim)
        standings = {each.key: examined(examiner, each, register=claim) for each in storages.all()}
    with engine.connect() as connection:
        view = look_at(connection, ledger, metadatas)
        newest = connection.scalar(select(func.max(ledger.table.c.created_at)))
    for backend in storages.all():
        standing = standings[backend.key]
        if not standing.mixed and (why := why_shared(backend)):
            standings[backend.key] = Standing(place=standing.place, withheld=standing.withheld, mixed=why)
    # a database that was restored would catch up with what its storages have seen
    if claim and not any(standing.withheld or standing.refused for standing in standings.values()):
        _raise_generation(engine, ledger)
    return Ground(view, standings, (newest or 0) / 1000)


def _raise_generation(engine: Engine, ledger: Ledger) -> None:
    """Raise the generation, unless a transaction of the application holds SQLite's only lock just now."""
    try:
        raise_generation(engine, ledger, storages.all())
    except OperationalError as error:
        if error.connection_invalidated:
            raise
        note("the generation of the database is not raised by this run: %s", error.orig or error)


def _without_ledger(backend: StorageBackend) -> Standing:
    if backend.capabilities.persistent and is_marked(backend):
        return Standing(withheld=f"a database with a ledger stores in {backend.key!r}")
    return Standing()


def folded(key: str) -> str:
    """Return the form that all names have in common which a folder may take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def folds_names(backend: StorageBackend) -> bool:
    """Return whether a storage takes names that differ in case or normal form for one."""
    if backend.protocol != "file":
        return False
    probe = "e\N{COMBINING ACUTE ACCENT}"
    decomposed, composed, upper = (
        ReservedKey(f"{RESERVED_FOLDER}/{name}")
        for name in (probe, unicodedata.normalize("NFC", probe), "PLACE")
    )
    try:
        if execution.asked(backend, partial(backend.exists, upper), f"look for {upper!r}"):
            return True
        put = partial(backend.put, decomposed, [b""], mode="overwrite")
        execution.asked(backend, put, f"store {decomposed!r}")
        folds = execution.asked(backend, partial(backend.exists, composed), f"look for {composed!r}")
        execution.asked(backend, partial(backend.delete, [decomposed]), f"delete {decomposed!r}")
    except FileColumnError:
        return True
    return folds
