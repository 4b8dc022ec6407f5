"""How the databases of fault tests are deployed: plain, with triggers, or with a tenant in each of two schemas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from filecolumn.maintenance import install_triggers
from tests.profiles import NAME
from tests.scenarios.models import Base
from tests.servers.databases import own_database

__all__ = ("DEPLOYMENTS", "DEPLOYMENTS_OF_ALL", "deployed", "options_of", "schema_of")

DEPLOYMENTS = ("plain", "triggers", "tenants")
DEPLOYMENTS_OF_ALL = DEPLOYMENTS if NAME == "soak" else DEPLOYMENTS[:1]
"""Those in which all of a test is repeated."""


@contextmanager
def deployed(kind: str, folder: Path, how: str = "plain") -> Iterator[list[Engine]]:
    """Make a database with the tables of the scenarios; yield an engine for each tenant, or one."""
    with own_database(kind, folder, Base.metadata) as engine:
        if how == "triggers":
            install_triggers(engine, Base)
        if how != "tenants":
            yield [engine]
            return
        # a schema of MariaDB is a database
        of = f"{engine.url.database}_" if kind == "mariadb" else ""
        names = [f"{of}north", f"{of}south"]
        with engine.begin() as connection:
            for name in names:
                connection.execute(text(f"CREATE SCHEMA {name}"))
        tenants = [engine.execution_options(schema_translate_map={None: name}) for name in names]
        for tenant in tenants:
            Base.metadata.create_all(tenant)
        yield tenants
        with engine.begin() as connection:
            for name in names if kind == "mariadb" else ():
                connection.execute(text(f"DROP SCHEMA {name}"))


def options_of(engine: Engine) -> dict[str, Any]:
    """Return the options of another engine for the same tenant."""
    return {"execution_options": dict(engine.get_execution_options())}


def schema_of(engine: Engine) -> str | None:
    """Return the schema that a tenant's tables are in."""
    found: dict[str | None, str] = engine.get_execution_options().get("schema_translate_map", {})
    return found.get(None)
