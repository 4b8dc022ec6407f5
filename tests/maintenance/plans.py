"""How each database runs a statement: by which index it reads each table, and whether it sorts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event


@dataclass(frozen=True)
class Access:
    """How a plan reads a table."""

    table: str
    index: str = ""
    """The index that it is read by; empty if all of the table is read."""
    bound: tuple[str, ...] = ()
    """The columns that the index is searched by; none if it is read from its start."""


@dataclass(frozen=True)
class Plan:
    """The plan of a statement."""

    accesses: Sequence[Access]
    is_sorted: bool
    """Whether rows are sorted, so that all of them are read for the first one."""
    text: str


@dataclass
class Statement:
    """A statement, with its parameters when it was first executed."""

    sql: str
    parameters: Any
    settings: Sequence[str] = ()
    """What its transaction has set before."""


@dataclass
class Executed:
    """The statements that a run has executed, and how often, whatever the number of their parameters."""

    statements: dict[str, Statement] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, statement: Statement) -> None:
        name = normalized(statement.sql)
        self.counts[name] += 1
        known = self.statements.get(name)
        # the longest list of keys is the one that a planner may find too long
        if known is None or _length(statement) > _length(known):
            self.statements[name] = statement


def _length(statement: Statement) -> int:
    return len(str(statement.parameters))


_PARAMETER = r"(?:\?|%s|%\(\w+\)s)(?:::[A-Z]+(?: VARYING)?(?:\[\])?)?"
_TERM = r"(?:[\w.]+ (?:= \?|IN \(\?\)) AND )+[\w.]+ (?:= \?|IN \(\?\))"


def normalized(sql: str) -> str:
    """Return a statement without quotes, the same for any number of keys; keys of several columns are `KEYS`."""
    one = re.sub(r"[\"`]", "", " ".join(sql.split()))
    one = re.sub(_PARAMETER, "?", one)
    one = one.replace("= ANY (ARRAY(SELECT unnest(?)))", "IN (?)")
    one = re.sub(r"\?(?:, \?)+", "?", one)
    return re.sub(rf"{_TERM}(?: OR {_TERM})+", "KEYS", one)


@contextmanager
def executed(engine: Engine) -> Iterator[Executed]:
    """Take note of each statement that is executed on an engine."""
    noted = Executed()
    settings: dict[Connection, list[str]] = {}

    def note(connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        set_before = settings.setdefault(connection, [])
        if sql.startswith("SET LOCAL"):
            set_before.append(sql)
        else:
            noted.add(Statement(sql, parameters[0] if many else parameters, tuple(set_before)))

    def forget(connection: Any) -> None:
        settings.pop(connection, None)

    heard = {"before_cursor_execute": note, "commit": forget, "rollback": forget}
    for name, listener in heard.items():
        event.listen(engine, name, listener)
    try:
        yield noted
    finally:
        for name, listener in heard.items():
            event.remove(engine, name, listener)


def explain(connection: Connection, statement: Statement) -> Plan:
    """Return the plan that the database makes for a statement."""
    for setting in statement.settings:
        connection.exec_driver_sql(setting)
    try:
        match connection.dialect.name:
            case "sqlite":
                steps = _explained(connection, "EXPLAIN QUERY PLAN ", statement)
                return _of_sqlite([str(step[3]) for step in steps])
            case "postgresql":
                [[found]] = _explained(connection, "EXPLAIN (FORMAT JSON) ", statement)
                return _of_postgresql(found)
            case _:
                [[found]] = _explained(connection, "EXPLAIN FORMAT=JSON ", statement)
                return _of_mariadb(json.loads(found))
    finally:
        connection.rollback()


def _explained(connection: Connection, how: str, statement: Statement) -> Sequence[Any]:
    return connection.exec_driver_sql(how + statement.sql, statement.parameters).all()


_STEP = re.compile(
    r"(SCAN|SEARCH) (\w+)(?: AS \w+)?(?: USING (?:COVERING )?(INTEGER PRIMARY KEY|INDEX \S+))?(.*)"
)


def _of_sqlite(steps: Sequence[str]) -> Plan:
    accesses = []
    for step in steps:
        if found := _STEP.match(step):
            how, table, index, rest = found.groups()
            bound = re.findall(r"\(?(\w+)(?:,\w+\))?[=<>]", rest) if how == "SEARCH" else ()
            if rows := re.search(r"\(\((\w+(?:,\w+)+)\)[<>]", rest):
                bound = rows[1].split(",")
            accesses.append(Access(table, (index or "").removeprefix("INDEX "), tuple(bound)))
    return Plan(accesses, any("TEMP B-TREE FOR" in step for step in steps), "\n".join(steps))


def _of_postgresql(found: Sequence[Mapping[str, Any]]) -> Plan:
    nodes = list(_nodes(found[0]["Plan"]))
    accesses = []
    for node in nodes:
        table = node.get("Relation Name")
        if table is None or node["Node Type"] == "ModifyTable":
            continue
        scans = [each for each in _nodes(node) if "Index Name" in each]
        accesses += [
            Access(table, scan["Index Name"], _columns_of(scan.get("Index Cond", ""))) for scan in scans
        ] or [Access(table)]
    is_sorted = any("Sort" in node["Node Type"] for node in nodes)
    return Plan(accesses, is_sorted, _outline(found[0]["Plan"]))


def _outline(node: Mapping[str, Any], depth: int = 0) -> str:
    said = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Plan Rows", "Total Cost")
    line = ", ".join(str(node[name])[:200] for name in said if name in node)
    return "\n".join(["  " * depth + line, *(_outline(each, depth + 1) for each in node.get("Plans", ()))])


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)


def _columns_of(condition: str) -> tuple[str, ...]:
    """Return the columns in an index condition, which has them on the left."""
    if condition.startswith("(ROW("):
        return tuple(re.findall(r"\(?(\w+)\)?(?:::\w+)?[,)]", condition.partition(" > ")[0]))
    return tuple(dict.fromkeys(re.findall(r"\(?\(?(\w+)\)?(?:::\w+)? (?:=|<=|<|>|>=) ", condition)))


def _of_mariadb(found: Mapping[str, Any]) -> Plan:
    accesses, is_sorted = [], False
    for name, value in _members(found):
        is_sorted = is_sorted or name in {"filesort", "temporary_table"}
        if name == "table" and isinstance(value, Mapping) and "table_name" in value:
            how, parts = value.get("access_type"), tuple(value.get("used_key_parts", ()))
            index = value.get("key", "") if how != "ALL" else ""
            accesses.append(Access(value["table_name"], index, () if how == "index" else parts))
    return Plan(accesses, is_sorted, json.dumps(found, indent=1))


def _members(found: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield name, value
            yield from _members(value)
    elif isinstance(found, list):
        for each in found:
            yield from _members(each)
