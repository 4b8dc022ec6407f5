"""What a run requires before it changes anything: models, their ledger's tables, registered storages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Column, Connection, Engine, MetaData, Table, func, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, registry

from filecolumn.backends.registry import names_of, storages
from filecolumn.errors import BackendNotRegisteredError, MaintenanceRefusedError
from filecolumn.ledger.columns import translated
from filecolumn.ledger.deletion import record_deleted
from filecolumn.ledger.owner import is_retired, note_other_names
from filecolumn.ledger.table import Ledger, State, ledger_of, read_meta
from filecolumn.ledger.transitions import missing_ledger, older_ledger
from filecolumn.ledger.triggers import identifier, qualified
from filecolumn.orm.catalogue import file_columns, is_view
from filecolumn.orm.column import StoredObject

__all__ = (
    "Models",
    "known_ledger",
    "known_metadatas",
    "ledger_names",
    "only_ledger",
    "refuse_autocommit",
    "require_all",
    "require_ledger",
    "require_storages",
    "require_storages_of",
    "require_storages_of_columns",
    "require_tables",
    "unregistered_in_ledger",
)

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
            f"the models have several ledgers ({', '.join(ledgers)}); maintain the models of each ledger separately"
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


_DEFAULT = ""
"""Stands for the storage of files that name none, where no default is decided."""


def require_ledger(engine: Engine, ledger: Ledger | None) -> None:
    """Raise MissingLedgerError if a table of the ledger is not in the database; bring it up to date."""
    if ledger is None:
        return
    with engine.connect() as connection:
        has_table = inspect(connection).has_table
        there = [
            has_table(table.name, schema=translated(connection, table.schema))
            for table in (ledger.table, ledger.meta)
        ]
    if not there[0]:
        raise missing_ledger(ledger)
    if not there[1]:
        raise older_ledger(ledger)
    record_deleted(engine)


def require_tables(engine: Engine, models: Sequence[Models]) -> tuple[Ledger, list[MetaData]]:
    """Return the ledger of *models* and their `MetaData`, of a database in which maintenance can run.

    ValueError if they have no ledger, MaintenanceRefusedError for an engine in AUTOCOMMIT, and
    MissingLedgerError without the ledger's tables.
    """
    refuse_autocommit(engine)
    ledger, metadatas = known_ledger(models)
    require_ledger(engine, ledger)
    return ledger, metadatas


def require_all(
    engine: Engine, models: Sequence[Models], *, chosen: Collection[str] | None
) -> tuple[Ledger | None, list[MetaData]]:
    """Return the ledger of *models*, if they have one, and their `MetaData`; raise if something is missing.

    MaintenanceRefusedError for an engine in AUTOCOMMIT, MissingLedgerError without the ledger's tables,
    and BackendNotRegisteredError as `require_storages` does.
    """
    refuse_autocommit(engine)
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    require_ledger(engine, ledger)
    require_storages(engine, ledger, metadatas, chosen=chosen)
    return ledger, metadatas


def require_storages_of(
    engine: Engine, *models: Models, chosen: Collection[str] | None = None, in_rows: bool = True
) -> None:
    """Call `require_ledger` and `require_storages` for *models*."""
    metadatas = known_metadatas(models)
    ledger = only_ledger(metadatas)
    require_ledger(engine, ledger)
    require_storages(engine, ledger, metadatas, chosen=chosen, in_rows=in_rows)


def require_storages(
    engine: Engine,
    ledger: Ledger | None,
    metadatas: Sequence[MetaData],
    *,
    chosen: Collection[str] | None = None,
    in_rows: bool = True,
) -> None:
    """Raise BackendNotRegisteredError if a storage is named that this process does not know; nothing is written.

    That is one of *chosen*; without it, one of which the ledger has keys or, with *in_rows*, a row has a file.
    """
    if chosen is not None:
        asked = _unregistered(engine, ledger, set(chosen))
        if asked:
            raise BackendNotRegisteredError(f"{_are_missing(asked)}: {_REGISTER}")
        return
    missing = set[str]() if ledger is None else unregistered_in_ledger(engine, ledger)
    if in_rows:
        missing |= _unregistered(engine, ledger, _names_in_rows(engine, metadatas))
    if missing:
        raise BackendNotRegisteredError(
            f"{_are_missing(missing)}, and rows or the ledger name {'it' if len(missing) == 1 else 'them'}: "
            f"{_REGISTER}, or name the storages to look at (--storage KEY; storages=[...])"
        )


def require_storages_of_columns(engine: Engine, *models: Models) -> None:
    """Raise BackendNotRegisteredError if the storage of a file column in the database is not registered."""
    metadatas = known_metadatas(models)
    with engine.connect() as connection:
        names = {_names_of_column(column)[0] for column in file_columns(connection, metadatas)}
    if missing := _unregistered(engine, only_ledger(metadatas), names):
        raise BackendNotRegisteredError(f"{_are_missing(missing)}, and file columns name them: {_REGISTER}")


_REGISTER = (
    "nothing is done; register storages first (--setup package.module:function, or setup = '...' in "
    "[tool.filecolumn] of pyproject.toml; the backends of FileColumnPlugin in a Litestar application)"
)


def _are_missing(names: Collection[str]) -> str:
    listed = [repr(name) for name in sorted(names) if name]
    if _DEFAULT in names:
        listed.append("the default one (storages.default)")
    if len(listed) == 1:
        return f"the storage {listed[0]} is not registered in this process"
    return f"the storages {', '.join(listed[:-1])} and {listed[-1]} are not registered in this process"


def ledger_names(connection: Connection, ledger: Ledger, keys: Collection[str]) -> set[str]:
    """Return all names that storages have in the ledger, also those of before a storage was renamed."""
    note_other_names(connection, ledger)
    return {name for key in keys for name in names_of(storages.resolve(key))}


def unregistered_in_ledger(engine: Engine, ledger: Ledger) -> set[str]:
    """Return the names of storages of which the ledger has keys, and which this process does not know."""
    columns = ledger.table.c
    with engine.connect() as connection:
        unknown = {name for name in _names_in_ledger(connection, ledger) if not storages.is_registered(name)}
        if not unknown:
            return unknown
        facts = read_meta(connection, ledger)
        # a place that was left for another one need not be registered
        unknown = {name for name in unknown if not is_retired(name, facts)}
        # what is deleted may be forgotten with its storage
        unknown = {
            name
            for name in unknown
            if connection.execute(
                select(columns.key).where(columns.backend == name, columns.state != State.GONE.value).limit(1)
            ).first()
            is not None
        }
    return _unregistered(engine, ledger, unknown)


def _names_in_ledger(connection: Connection, ledger: Ledger) -> Iterator[str]:
    """Yield the names of storages, each by a look into the index: a DISTINCT would read all of it."""
    columns = ledger.table.c
    name = connection.scalar(select(func.min(columns.backend)))
    while name is not None:
        yield name
        name = connection.scalar(select(func.min(columns.backend)).where(columns.backend > name))


def _unregistered(engine: Engine, ledger: Ledger | None, names: set[str]) -> set[str]:
    """Return which of *names* this process does not know, also not as earlier names of the places that it knows."""
    unknown = {name for name in names if not storages.is_registered(name)}
    if unknown and ledger is not None and storages.all():
        with engine.connect() as connection:
            note_other_names(connection, ledger)
        unknown = {name for name in unknown if not storages.is_registered(name)}
    return unknown


def _names_in_rows(engine: Engine, metadatas: Sequence[MetaData]) -> set[str]:
    """Return the storages that rows name, as far as SQL can tell and their columns read them."""
    with engine.connect() as connection:
        columns = [each for each in file_columns(connection, metadatas) if not is_view(connection, each)]
    names: set[str] = set()
    for column in columns:
        allowed = _names_of_column(column)
        # a query for the rows is not needed if the process knows all that they may name
        if not all(map(storages.is_registered, allowed)):
            named = {allowed[0] if name is None else name for name in _named_in(engine, column)}
            # other names are a fault of the row, which a check reports
            names |= named if _DEFAULT in allowed else named & set(_spelled(allowed))
    return names


def _names_of_column(column: Column[object]) -> list[str]:
    """Return the storages that a column may name, that of rows which name none first."""
    assert isinstance(column.type, StoredObject)  # noqa: S101 - see `file_columns`
    try:
        default = column.type.backend or storages.default
    except BackendNotRegisteredError:
        default = _DEFAULT
    return [default, *column.type.reads]


def _spelled(names: Collection[str]) -> Iterator[str]:
    for name in names:
        yield from names_of(name)


def _named_in(engine: Engine, column: Column[object]) -> set[str | None]:
    """Return what rows say of their storage; None is from those that name none.  Nothing where SQL cannot read them."""
    table = column.table
    assert isinstance(table, Table)  # noqa: S101 - see `file_columns`
    with engine.connect() as connection:
        quote = connection.dialect.identifier_preparer
        schema = translated(connection, table.schema)
        names = qualified(quote, schema, table.name), identifier(quote, column.name)
        try:
            found = connection.exec_driver_sql(
                _QUERIES[connection.dialect.name].format(*names), execution_options={"no_parameters": True}
            )
            return {None if name is None else str(name) for (name,) in found}
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return set()


_SQLITE = """
SELECT DISTINCT json_extract(item.value, '$.backend')
FROM {0} AS held, json_each(
  CASE WHEN NOT json_valid(held.{1}) THEN '[]'
    WHEN json_type(held.{1}) = 'array' THEN held.{1} ELSE '[' || held.{1} || ']' END) AS item
WHERE held.{1} IS NOT NULL AND item.type = 'object' AND
  coalesce(json_extract(item.value, '$.to_filename'), json_extract(item.value, '$.filename'), '') <> ''
"""
_POSTGRESQL = """
SELECT DISTINCT item ->> 'backend'
FROM {0} AS held, jsonb_array_elements(
  CASE jsonb_typeof(to_jsonb(held.{1})) WHEN 'array' THEN to_jsonb(held.{1})
    ELSE jsonb_build_array(to_jsonb(held.{1})) END) AS item
WHERE held.{1} IS NOT NULL AND jsonb_typeof(item) = 'object' AND
  coalesce(item ->> 'to_filename', item ->> 'filename', '') <> ''
"""
_MYSQL = """
SELECT DISTINCT item.backend
FROM {0} AS held, JSON_TABLE(
  IF(NOT JSON_VALID(held.{1}), '[]',
    IF(JSON_TYPE(held.{1}) = 'ARRAY', held.{1}, CONCAT('[', held.{1}, ']'))),
  '$[*]' COLUMNS (backend VARCHAR(255) PATH '$.backend', to_filename VARCHAR(700) PATH '$.to_filename',
    filename VARCHAR(700) PATH '$.filename')) AS item
WHERE held.{1} IS NOT NULL AND COALESCE(item.to_filename, item.filename, '') <> ''
"""
_QUERIES = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL}
