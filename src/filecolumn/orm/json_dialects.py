"""The SQL of each kind of database for JSON: members by type, lists, texts; pure text.

No value fails: SQLite's column may hold what is not JSON, and databases refuse to cast numbers that do not fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Dialect

__all__ = ("MAX_FLOAT", "MAX_INTEGER", "MIN_INTEGER", "Step", "Writer", "collation_of", "writer_of")

MAX_FLOAT = 1.7976931348623157e308
_MAX_FLOAT = "1.7976931348623157e308"
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
_FIRST_SECOND, _END_OF_SECONDS = -62135596800, 253402300800
"""From year 1 to before year 10,000: what Python and every database have dates for."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a path: literal text, or the SQL of what is bound in its place."""

    name: str
    bound: Sequence[str] = ()

    @property
    def is_index(self) -> bool:
        return not self.bound and self.name.isdigit()


class Writer(ABC):
    """The SQL of one kind of database: members by JSON type, of a document and a path in SQL."""

    forms_of_names: int = 1
    """In how many ways a name that is bound is tried."""

    @abstractmethod
    def text(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def integer(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def float(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def boolean(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def object(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def array(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def exists(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def length(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def elements(self, document: str) -> str: ...
    @abstractmethod
    def last_segment(self, document: str, path: Sequence[Step]) -> str: ...
    @abstractmethod
    def moment(self, seconds: str) -> str: ...
    @abstractmethod
    def left(self, value: str, count: str) -> str: ...
    @abstractmethod
    def collated(self, value: str) -> str: ...
    @abstractmethod
    def code_points(self, value: str) -> str: ...
    @abstractmethod
    def right(self, value: str, count: str) -> str: ...
    @abstractmethod
    def characters(self, value: str) -> str: ...
    @abstractmethod
    def position(self, value: str, part: str) -> str: ...

    def column(self, column: str) -> str:
        """Write a generated column of text so that it is compared as the text itself, whatever it is compared with."""
        return self.collated(column)

    def values(self, document: str) -> str:
        return self.elements(document)

    def first_text(self, document: str, path: Sequence[Step]) -> str:
        # a function has no collation on SQLite
        return self.collated(f"coalesce({', '.join(self.text(document, [step]) for step in path)})")

    def time(self, document: str, path: Sequence[Step]) -> str:
        seconds = self.float(document, path)
        within = f"{seconds} >= {_FIRST_SECOND} AND {seconds} < {_END_OF_SECONDS}"
        return f"(CASE WHEN {within} THEN {self.moment(seconds)} END)"

    def like(self, value: str, pattern: str, escape: str | None = None) -> str:
        return f"({value} LIKE {pattern}{'' if escape is None else f' ESCAPE {escape}'})"


class _SQLite(Writer):
    """A column may hold text that is not JSON, on which all functions but json_valid fail."""

    def text(self, document: str, path: Sequence[Step]) -> str:
        value = self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'text' THEN {value} END")
        return self.collated(value)

    def last_segment(self, document: str, path: Sequence[Step]) -> str:
        def segment(kind: str, value: str) -> str:
            # a list of the segments: `rtrim` by all other characters takes their number squared
            last = f"""json_extract('[' || replace(json_quote({value}), '/', '","') || ']', '$[#-1]')"""
            return (
                f"CASE {kind} WHEN 'text' THEN CASE WHEN instr({value}, '/') THEN {last} ELSE {value} END END"
            )

        return self.collated(self._member(document, path, segment))

    def integer(self, document: str, path: Sequence[Step]) -> str:
        def whole(kind: str, value: str) -> str:
            # an integer of more than 64 bits is extracted as a real; what a cast clamps is another number
            exact = f"CASE typeof({value}) WHEN 'integer' THEN {value} END"
            cast_ = f"CAST({value} AS INTEGER)"
            real = f"CASE WHEN {value} = {cast_} THEN {cast_} END"
            return f"CASE {kind} WHEN 'integer' THEN {exact} WHEN 'real' THEN {real} END"

        return self._member(document, path, whole)

    def float(self, document: str, path: Sequence[Step]) -> str:
        def finite(kind: str, value: str) -> str:
            is_finite = f"{value} BETWEEN -{_MAX_FLOAT} AND {_MAX_FLOAT}"
            return f"CASE WHEN {kind} IN ('integer', 'real') AND {is_finite} THEN CAST({value} AS REAL) END"

        return self._member(document, path, finite)

    def boolean(self, document: str, path: Sequence[Step]) -> str:
        return self._member(
            document, path, lambda kind, _: f"CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
        )

    def object(self, document: str, path: Sequence[Step]) -> str:
        return self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'object' THEN {value} END")

    def array(self, document: str, path: Sequence[Step]) -> str:
        return self._member(document, path, lambda kind, value: f"CASE {kind} WHEN 'array' THEN {value} END")

    def exists(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path, lambda kind, _: f"{kind} <> 'null'")
        return f"coalesce({member}, 0)"

    def length(self, document: str, path: Sequence[Step]) -> str:
        kind = f"CASE json_type({document}) WHEN 'null' THEN 0 WHEN 'array' THEN json_array_length({document}) END"
        return f"(CASE WHEN {document} IS NULL THEN 0 WHEN json_valid({document}) THEN {kind} END)"

    def elements(self, document: str) -> str:
        # a string with JSON in it is no document
        value = "CASE type WHEN 'object' THEN value END AS value"
        return f"(SELECT {value} FROM json_each({self._array(document)}))"

    def values(self, document: str) -> str:
        words = "WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'"
        value = (
            f"CASE type {words} WHEN 'object' THEN value WHEN 'array' THEN value ELSE json_quote(value) END"
        )
        return f"(SELECT {value} AS value FROM json_each({self._array(document)}))"

    def moment(self, seconds: str) -> str:
        micros = f"CAST(round({seconds} * 1000000.0) AS INTEGER)"
        fraction = f"(({micros} % 1000000 + 1000000) % 1000000)"
        date = f"strftime('%Y-%m-%d %H:%M:%S', ({micros} - {fraction}) / 1000000, 'unixepoch')"
        return f"{date} || printf('.%06d', {fraction})"

    def left(self, value: str, count: str) -> str:
        return f"substr({value}, 1, {count})"

    def collated(self, value: str) -> str:
        return f"({value} COLLATE BINARY)"

    def code_points(self, value: str) -> str:
        return self.collated(value)

    def right(self, value: str, count: str) -> str:
        return f"substr({value}, length({value}) - {count} + 1)"

    def characters(self, value: str) -> str:
        return f"length({value})"

    def position(self, value: str, part: str) -> str:
        return f"instr({value}, {part})"

    def like(self, value: str, pattern: str, escape: str | None = None) -> str:
        return f"({value} GLOB {pattern})"

    @staticmethod
    def _array(document: str) -> str:
        is_array = f"CASE WHEN json_valid({document}) THEN json_type({document}) = 'array' END"
        return f"CASE WHEN {is_array} THEN {document} END"

    @staticmethod
    def _member(document: str, path: Sequence[Step], value_of: Callable[[str, str], str]) -> str:
        """Write what *value_of* makes of the SQL of a member's type and value."""
        inner = "$"
        for number, step in enumerate(path, 1):
            if step.bound and number == len(path):
                return _SQLite._each(value_of("type", "value"), document, inner, step.bound[0])
            if step.bound:
                # escapes in a name and in a path differ: only this compares names
                container = "CASE WHEN type IN ('object', 'array') THEN value END"
                document, inner = _SQLite._each(container, document, inner, step.bound[0]), "$"
            else:
                inner += f"[{step.name}]" if step.is_index else f".{step.name}"
        member = value_of(f"json_type({document}, '{inner}')", f"json_extract({document}, '{inner}')")
        return f"(CASE WHEN json_valid({document}) THEN {member} END)"

    @staticmethod
    def _each(selected: str, document: str, path: str, name: str) -> str:
        valid = f"CASE WHEN json_valid({document}) THEN {document} END"
        return f"(SELECT {selected} FROM json_each({valid}, '{path}') WHERE key = {name} LIMIT 1)"


class _PostgreSQL(Writer):
    """JSONB is valid, and has numbers of any size, which casts fail on."""

    def text(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        is_text = f"jsonb_typeof({member}) = 'string'"
        return f'(CASE WHEN {is_text} THEN {self._text_of(document, path)} END COLLATE "C")'

    def last_segment(self, document: str, path: Sequence[Step]) -> str:
        # not a regular expression: its dot and its end of line depend on settings
        value = self.text(document, path)
        return f"(reverse(split_part(reverse({value}), '/', 1)))"

    def integer(self, document: str, path: Sequence[Step]) -> str:
        def whole(number: str) -> str:
            digits = self._text_of(document, path)
            # which nearly all are, and which is faster
            is_short = f"length({digits}) < 19 AND strpos({digits}, '.') = 0"
            fits = f"{number} BETWEEN {MIN_INTEGER} AND {MAX_INTEGER} AND trunc({number}) = {number}"
            return f"CASE WHEN {is_short} THEN ({digits})::bigint WHEN {fits} THEN {number}::bigint END"

        return self._number(document, path, whole)

    def float(self, document: str, path: Sequence[Step]) -> str:
        def finite(number: str) -> str:
            too_small = f"WHEN abs({number}) < 3e-324 THEN 0"
            return f"CASE {too_small} WHEN abs({number}) <= {_MAX_FLOAT} THEN {number}::float8 END"

        return self._number(document, path, finite)

    def boolean(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'boolean' THEN {member}::boolean END)"

    def object(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'object' THEN {member} END)"

    def array(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN jsonb_typeof({member}) = 'array' THEN {member} END)"

    def exists(self, document: str, path: Sequence[Step]) -> str:
        return f"coalesce(jsonb_typeof({self._member(document, path)}) <> 'null', false)"

    def length(self, document: str, path: Sequence[Step]) -> str:
        kinds = f"WHEN 'null' THEN 0 WHEN 'array' THEN jsonb_array_length({document})"
        return f"(CASE coalesce(jsonb_typeof({document}), 'null') {kinds} END)"

    def elements(self, document: str) -> str:
        is_array = f"jsonb_typeof({document}) = 'array'"
        return f"jsonb_array_elements(CASE WHEN {is_array} THEN {document} ELSE '[]'::jsonb END)"

    def moment(self, seconds: str) -> str:
        return f"to_timestamp({seconds})"

    def left(self, value: str, count: str) -> str:
        return f"left({value}, {count})"

    def collated(self, value: str) -> str:
        return f'({value} COLLATE "C")'

    def code_points(self, value: str) -> str:
        return self.collated(f"CAST({value} AS TEXT)")

    def right(self, value: str, count: str) -> str:
        return f"right({value}, {count})"

    def characters(self, value: str) -> str:
        return f"char_length({value})"

    def position(self, value: str, part: str) -> str:
        return f"strpos({value}, {part})"

    def _number(self, document: str, path: Sequence[Step], value_of: Callable[[str], str]) -> str:
        member = self._member(document, path)
        number = f"({member})::numeric"
        # one CASE in the other: the cast must not be tried on anything else
        return f"(CASE WHEN jsonb_typeof({member}) = 'number' THEN {value_of(number)} END)"

    @classmethod
    def _text_of(cls, document: str, path: Sequence[Step]) -> str:
        if not path or path[-1].bound or path[-1].is_index:
            return f"{cls._member(document, path)} #>> '{{}}'"
        # which is faster
        return f"{cls._member(document, path[:-1])} ->> '{path[-1].name}'"

    @staticmethod
    def _member(document: str, path: Sequence[Step]) -> str:
        for step in path:
            if step.bound:
                document += f" -> CAST({step.bound[0]} AS TEXT)"
            elif step.is_index:
                # element 0 of a string or number is the thing itself
                is_array = f"jsonb_typeof({document}) = 'array'"
                document = f"(CASE WHEN {is_array} THEN {document} -> {step.name} END)"
            else:
                document += f" -> '{step.name}'"
        return f"({document})"


class _MySQL(Writer):
    """MySQL: a value of the type JSON is valid, and its numbers fit."""

    collation = "utf8mb4_0900_bin"
    """The one that takes text by code point, and `a` and `a ` for different."""
    forms_of_names = 2
    integer_types = "('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL')"

    def text(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        is_text = f"json_type({member}) = 'STRING'"
        return f"(CASE WHEN {is_text} THEN {self._value(document, path)} END COLLATE {self.collation})"

    def last_segment(self, document: str, path: Sequence[Step]) -> str:
        return f"substring_index({self.text(document, path)}, '/', -1)"

    def integer(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        number = f"CAST(json_unquote({member}) AS DOUBLE)"
        exact = f"CAST(json_unquote({member}) AS SIGNED)"
        fits = f"{number} >= {MIN_INTEGER} AND {number} < {MAX_INTEGER + 1} AND floor({number}) = {number}"
        return (
            f"(CASE json_type({member}) WHEN 'INTEGER' THEN {exact} "
            f"WHEN 'DOUBLE' THEN CASE WHEN {fits} THEN CAST({number} AS SIGNED) END "
            f"WHEN 'DECIMAL' THEN CASE WHEN {fits} THEN CAST({number} AS SIGNED) END END)"
        )

    def float(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        is_number = f"json_type({member}) IN {self.integer_types}"
        return f"(CASE WHEN {is_number} THEN CAST(json_unquote({member}) AS DOUBLE) END)"

    def boolean(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        is_boolean = f"json_type({member}) = 'BOOLEAN'"
        return f"(CASE WHEN {is_boolean} THEN json_unquote({member}) = 'true' END)"

    def object(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN json_type({member}) = 'OBJECT' THEN {member} END)"

    def array(self, document: str, path: Sequence[Step]) -> str:
        member = self._member(document, path)
        return f"(CASE WHEN json_type({member}) = 'ARRAY' THEN {member} END)"

    def exists(self, document: str, path: Sequence[Step]) -> str:
        return f"coalesce(json_type({self._member(document, path)}) <> 'NULL', 0)"

    def length(self, document: str, path: Sequence[Step]) -> str:
        kinds = f"WHEN 'NULL' THEN 0 WHEN 'ARRAY' THEN json_length({document})"
        return f"(CASE WHEN {document} IS NULL THEN 0 ELSE CASE json_type({document}) {kinds} END END)"

    def elements(self, document: str) -> str:
        array = f"CASE WHEN json_type({document}) = 'ARRAY' THEN {document} ELSE '[]' END"
        return f"JSON_TABLE({array}, '$[*]' COLUMNS (value JSON PATH '$'))"

    def moment(self, seconds: str) -> str:
        micros = f"CAST(round({seconds} * 1000000) AS SIGNED)"
        return f"TIMESTAMPADD(MICROSECOND, {micros}, TIMESTAMP '1970-01-01 00:00:00.000000')"

    def left(self, value: str, count: str) -> str:
        return f"left({value}, {count})"

    def collated(self, value: str) -> str:
        return f"({value} COLLATE {self.collation})"

    def column(self, column: str) -> str:
        # no index is used for a column with a collation, be it its own
        return column

    def code_points(self, value: str) -> str:
        return self.collated(f"CONVERT({value} USING utf8mb4)")

    def right(self, value: str, count: str) -> str:
        return f"right({value}, {count})"

    def characters(self, value: str) -> str:
        return f"char_length({value})"

    def position(self, value: str, part: str) -> str:
        return f"locate({part}, {value})"

    def _value(self, document: str, path: Sequence[Step]) -> str:
        """Return what a string or number is, as text."""
        return f"json_unquote({self._member(document, path)})"

    @classmethod
    def _member(cls, document: str, path: Sequence[Step]) -> str:
        document, inner = cls._place(document, path)
        return document if inner == "$" and path else f"json_extract({document}, '{inner}')"

    @staticmethod
    def _place(document: str, path: Sequence[Step]) -> tuple[str, str]:
        """Return a document, and the path in it."""
        inner = "$"
        for step in path:
            if step.bound:
                outer = document if inner == "$" else f"json_extract({document}, '{inner}')"
                found = f"json_extract({outer}, {', '.join(step.bound)})"
                # of several paths it is a list; to write `outer` twice would double the SQL with each step
                document, inner = found if len(step.bound) == 1 else f"json_extract({found}, '$[0]')", "$"
            elif step.is_index:
                # an index of anything else than an array is the thing itself
                outer = document if inner == "$" else f"json_extract({document}, '{inner}')"
                document = (
                    f"CASE WHEN json_type({outer}) = 'ARRAY' THEN json_extract({outer}, '$[{step.name}]') END"
                )
                inner = "$"
            else:
                inner += f".{step.name}"
        return document, inner


class _MariaDB(_MySQL):
    """JSON is text, with numbers of any size: a cast of one that does not fit is an error in a strict INSERT."""

    collation = "utf8mb4_nopad_bin"

    def _value(self, document: str, path: Sequence[Step]) -> str:
        # which is faster, and for MySQL at most 512 characters
        document, inner = self._place(document, path)
        return f"json_value({document}, '{inner}')"

    def integer(self, document: str, path: Sequence[Step]) -> str:
        member, number = self._member(document, path), self._value(document, path)
        exact, real = f"CAST({number} AS DECIMAL(20, 0))", f"CAST({number} AS DOUBLE)"
        fits = f"{exact} BETWEEN {MIN_INTEGER} AND {MAX_INTEGER}"
        is_whole = f"{real} > -9.2233720368547e18 AND {real} < 9.2233720368547e18 AND floor({real}) = {real}"
        # a string has its quotes there, so all that matches is a number
        return (
            f"(CASE WHEN {member} REGEXP '^-?[0-9]{{1,18}}$' THEN CAST({number} AS SIGNED) "
            f"WHEN {member} REGEXP '^-?[0-9]{{19}}$' THEN CASE WHEN {fits} THEN CAST({exact} AS SIGNED) END "
            f"WHEN {member} REGEXP '^-?[0-9]{{1,19}}([.][0-9]+)?([eE][-+]?[0-9]{{1,2}})?$' "
            f"THEN CASE WHEN {is_whole} THEN CAST({real} AS SIGNED) END END)"
        )

    def float(self, document: str, path: Sequence[Step]) -> str:
        member, number = self._member(document, path), self._value(document, path)
        return f"(CASE WHEN {member} REGEXP '{_FITS}' THEN CAST({number} AS DOUBLE) END)"


def _up_to(digits: str) -> str:
    """Return a pattern of the digits of a fraction that is not larger."""
    if not digits:
        return ""
    first, rest = digits[0], _up_to(digits[1:])
    smaller = f"[0-{int(first) - 1}][0-9]*|" if first != "0" else ""
    return f"({smaller}{first}{rest})?"


_FITS = (
    "^-?([0-9]{1,308}([.][0-9]+)?([eE]-[0-9]{1,3})?"
    "|[0-9]([.][0-9]+)?[eE][+]?([0-9]{1,2}|[12][0-9]{2}|30[0-7])"
    f"|1([.]{_up_to('7976931348623157')})?[eE][+]?308)$"
)
"""Numbers that fit into a double for certain; all that Python writes."""

_WRITERS: dict[str, Writer] = {
    "sqlite": _SQLite(),
    "postgresql": _PostgreSQL(),
    "mysql": _MySQL(),
    "mariadb": _MariaDB(),
}


def collation_of(dialect: Dialect) -> str | None:
    """Return the collation of texts, where the column's own would be another one."""
    writer = writer_of(dialect)
    return writer.collation if isinstance(writer, _MySQL) else None


def writer_of(dialect: Dialect) -> Writer | None:
    """Return what writes the SQL of a dialect; None for dialects that are only read, as `str(statement)` is."""
    name: str = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    return _WRITERS.get(name)
