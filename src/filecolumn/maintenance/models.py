"""The models that an operator names: all that share one database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import DeclarativeBase, registry

from filecolumn.errors import MaintenanceRefusedError
from filecolumn.orm.ledger import Ledger, ledger_of

__all__ = ("Models", "known_ledger", "known_metadatas", "only_ledger", "refuse_autocommit")

Models = type[DeclarativeBase] | registry | MetaData
"""A declarative base, its registry, or its `MetaData`."""


def known_metadatas(models: Sequence[Models]) -> list[MetaData]:
    """Return the `MetaData` of *models*; ValueError if there are none."""
    if not models:
        raise ValueError("name the models: the declarative base (or MetaData) of all that share the database")
    return [model if isinstance(model, MetaData) else model.metadata for model in models]


def only_ledger(metadatas: Sequence[MetaData]) -> Ledger | None:
    """Return the ledger of *metadatas*, None if they do without; ValueError if they have several."""
    ledgers = {
        ledger.table.fullname: ledger for metadata in metadatas if (ledger := ledger_of(metadata)) is not None
    }
    if len(ledgers) > 1:
        raise ValueError(
            f"the models have several ledgers ({', '.join(ledgers)}); maintain those of each ledger by themselves"
        )
    return next(iter(ledgers.values()), None)


def known_ledger(models: Sequence[Models]) -> tuple[Ledger, list[MetaData]]:
    """Return the ledger of *models* and their `MetaData`; ValueError if they have none."""
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    if ledger is None:
        raise ValueError(
            "none of the models has a StoredObject column with a ledger; import the modules with your models first"
        )
    return ledger, metadatas


def refuse_autocommit(engine: Engine) -> None:
    """Raise MaintenanceRefusedError for an engine of which each statement commits by itself."""
    chosen: object = engine.get_execution_options().get("isolation_level")
    # what create_engine(isolation_level=) leaves has no public name
    level = chosen or getattr(engine.dialect, "_on_connect_isolation_level", None)
    # SQLAlchemy takes it in small letters too
    if str(level).upper() == "AUTOCOMMIT":
        raise MaintenanceRefusedError(
            "maintenance needs transactions, and this engine is in AUTOCOMMIT: no lock would last until a key is "
            "decided on, so files of rows could be deleted; give it an engine with another isolation_level"
        )
