"""Tables that files can be in: those whose engine has transactions."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Table, text

from filecolumn.errors import NotSupportedError

__all__ = ("refuse_without_transactions",)

_TableName = tuple[str | None, str]

# by dialect: an engine and those made of it by execution_options() share it
_accepted: WeakKeyDictionary[Dialect, set[_TableName]] = WeakKeyDictionary()

# a temporary table may be among them or not, as the server's release has it
_ENGINE = text(
    "SELECT t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine "
    "WHERE t.table_schema = COALESCE(:schema, DATABASE()) AND t.table_name = :name "
    "AND t.table_type = 'BASE TABLE' AND e.transactions <> 'YES'"
)


def refuse_without_transactions(connection: Connection, table: Table) -> None:
    """Raise NotSupportedError for a table whose rows no rollback restores, such as one of MyISAM or Aria.

    Only MariaDB and MySQL have such tables.  They are asked once for each table in a process, unless it
    is refused: its engine can be changed.
    """
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return
    accepted = _accepted.setdefault(connection.dialect, set())
    name = connection.schema_for_object(table), str(table.name)
    if name in accepted:
        return
    engine = connection.scalar(_ENGINE, {"schema": name[0], "name": name[1]})
    if engine is not None:
        raise NotSupportedError(
            f"files need transactions, and the table {table.fullname!r} is of the engine {engine}, which has none: "
            f"a rollback would leave its rows without their files; ALTER TABLE {table.name} ENGINE=InnoDB"
        )
    accepted.add(name)
