"""Regular expressions that every database takes: what is common to Python, PostgreSQL and PCRE, with one meaning."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, Text, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from filecolumn.errors import InvalidConditionError

__all__ = ("MAX_LENGTH", "matches", "portable")

MAX_LENGTH = 200
"""Characters of a pattern."""
MAX_REPEATS = 255
"""Of what may be repeated, all bounds of a pattern multiplied: PostgreSQL has no more, and makes copies of it."""

_TOKEN = re.compile(
    r"""
    (?P<escape>\\(?P<escaped>.))
    | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
    | (?P<bounds>\{(?P<least>[0-9]+)(?P<more>,(?P<most>[0-9]*))?\})
    | (?P<group>\((?:\?(?P<kind>.)?)?)
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SET_TOKEN = re.compile(r"\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL)
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \t\n\r\f\v"}
_ENDLESS = frozenset(_CLASSES.values())
"""What has no first or last character of a range."""
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}
_END = "(?!.|\n)"
"""The end of the text: `$` is before a last newline, too, for Python and PCRE."""


def matches(value: ColumnElement[str], pattern: object, *, caseless: bool = False) -> ColumnElement[bool]:
    """Return whether a pattern is found in a text; InvalidConditionError for what is no portable pattern."""
    if not isinstance(pattern, str):
        raise InvalidConditionError(f"{pattern!r:.100} is no regular expression")
    found = portable(pattern)
    bound = bindparam(None, f"(?i){found}" if caseless else found, _Pattern(), unique=True)
    return value.regexp_match(bound)


class _Pattern(TypeDecorator[str]):
    """A regular expression; MySQL and MariaDB are told that case matters, where it does."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name not in {"mysql", "mariadb"} or value.startswith("(?i)"):
            return value
        return f"(?-i){value}"


def portable(pattern: str) -> str:
    """Return a pattern as every database takes it; InvalidConditionError for what one of them does not."""
    if len(pattern) > MAX_LENGTH:
        raise InvalidConditionError(f"a regular expression has {MAX_LENGTH} characters at most")
    written = _Writer(pattern).written()
    try:
        re.compile(written)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidConditionError(f"{pattern!r:.100} is no regular expression: {error}") from None
    return written


class _Writer:
    """Writes a pattern anew, token by token."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.repeats = 1
        self.last = "start"
        """What came last: an `atom`, which may be repeated, a `quantifier`, or the `start` of something."""

    def written(self) -> str:
        return "".join([self._token(token) for token in _TOKEN.finditer(self.pattern)])

    def _token(self, token: re.Match[str]) -> str:
        last, self.last = self.last, "atom"
        match token.lastgroup:
            case "escape":
                return self._escape(token["escaped"])
            case "set":
                return self._set(token["set"])
            case "bounds":
                return self._bounds(token, last)
            case "group":
                self.last = "start"
                if token["kind"] not in {None, ":"} or token["group"] == "(?":
                    raise self._refused(token["group"])
                return token["group"]
            case _:
                return self._plain(token["plain"], last)

    def _plain(self, character: str, last: str) -> str:
        if character in "*+?":
            is_lazy = character == "?" and last == "quantifier"
            if last != "atom" and not is_lazy:
                raise self._refused(f"{character} after nothing that may be repeated")
            self.last = "start" if is_lazy else "quantifier"
            return character
        if character in "{}[]\\\0":
            raise self._refused(f"{character} without a backslash before it")
        if character in "^$|":
            self.last = "start"
        return {"$": _END, ".": "[^\n]"}.get(character, character)

    def _escape(self, character: str) -> str:
        if character.lower() in _CLASSES:
            return f"[{'^' if character.isupper() else ''}{_CLASSES[character.lower()]}]"
        return self._literal(character)

    def _literal(self, character: str) -> str:
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalnum() or not character.isascii() or character in "\0_":
            raise self._refused(f"\\{character}")
        return f"\\{character}" if character in r"\.[]{}()*+?^$|-" else character

    def _bounds(self, token: re.Match[str], last: str) -> str:
        if last != "atom":
            raise self._refused(f"{token['bounds']} after nothing that may be repeated")
        most = token["most"] or token["least"]
        self.repeats *= max(1, int(most) if len(most) <= 3 else MAX_REPEATS + 1)
        if self.repeats > MAX_REPEATS:
            raise self._refused(f"more than {MAX_REPEATS} repeats, bounds in bounds multiplied")
        self.last = "quantifier"
        return token["bounds"]

    def _set(self, text: str) -> str:
        negated = "^" if text[1] == "^" else ""
        body = text[1 + len(negated) : -1]
        parts = [self._member(token) for token in _SET_TOKEN.finditer(body)]
        return f"[{negated}{self._ranges(parts)}]"

    def _member(self, token: re.Match[str]) -> str:
        escaped = token["escaped"]
        if escaped in _CLASSES:
            return _CLASSES[escaped]
        if escaped is not None:
            return self._literal(escaped) if escaped not in "-]^\\[" else f"\\{escaped}"
        plain = token["plain"]
        if plain == "\0":
            raise self._refused("NUL")
        return f"\\{plain}" if plain in "[]^&~|" else plain

    def _ranges(self, parts: list[str]) -> str:
        """Write the members of a set; a hyphen that is no range is escaped."""
        written: list[str] = []
        index = 0
        while index < len(parts):
            if index + 2 < len(parts) and parts[index + 1] == "-":
                if not _ENDLESS.isdisjoint((parts[index], parts[index + 2])):
                    raise self._refused("a class at an end of a range")
                written.append(f"{_literal_hyphen(parts[index])}-{_literal_hyphen(parts[index + 2])}")
                index += 3
                continue
            written.append(_literal_hyphen(parts[index]))
            index += 1
        return "".join(written)

    def _refused(self, what: str) -> InvalidConditionError:
        return InvalidConditionError(
            f"{self.pattern!r:.100} has {what!r}, which not every database takes in a regular expression"
        )


def _literal_hyphen(part: str) -> str:
    return "\\-" if part == "-" else part
