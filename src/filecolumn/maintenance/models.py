"""The models that an operator names: all that share one database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, registry

from filecolumn.orm.ledger import Ledger, ledger_of

__all__ = ("Models", "known_ledger")

Models = type[DeclarativeBase] | registry | MetaData
"""A declarative base, its registry, or its `MetaData`."""


def known_ledger(models: Sequence[Models]) -> tuple[Ledger, list[MetaData]]:
    """Return the ledger of *models* and their `MetaData`; ValueError if they have none."""
    metadatas = [model if isinstance(model, MetaData) else model.metadata for model in models]
    for metadata in metadatas:
        if (ledger := ledger_of(metadata)) is not None:
            return ledger, metadatas
    raise ValueError(
        "none of the models has a StoredObject column with a ledger; import the modules with your models first"
    )
