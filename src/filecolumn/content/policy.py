"""What a column accepts: a pure decision about size, declared types and first bytes.

The name's extension declares a type, as the caller does; `filecolumn.content.sniffing` says what the bytes
show.  A policy without `accept` only corrects declared types that the bytes disprove.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from filecolumn.content.media_types import (
    DANGEROUS,
    TEXT,
    UNKNOWN,
    XML,
    agree,
    bare,
    canonical,
    is_active,
    is_known,
    is_proven,
    is_recording,
    may_stand_for,
)
from filecolumn.content.sniffing import sniff
from filecolumn.errors import ContentTypeRejectedError, FileTooLargeError
from filecolumn.naming import RUNNABLE_EXTENSIONS, guess_content_type, last_extension

__all__ = (
    "ANYTHING",
    "ContentPolicy",
)

_NOTHING = frozenset[str]()
_ENTRY = re.compile(
    r"\.[a-z0-9][a-z0-9._+-]*|\*/\*|[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)"
)


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """What a column accepts.  Make it with `ContentPolicy.of`, which checks the values."""

    max_size: int | None = None
    """Bytes at most; None is any size."""
    accept: frozenset[str] | None = None
    """Media types, wildcards and extensions, in lower case; None is any type."""

    @classmethod
    def of(cls, max_size: int | None, accept: Iterable[str] | None) -> ContentPolicy:
        """Return a policy; TypeError or ValueError for a size or an entry that means nothing."""
        if isinstance(max_size, bool) or not isinstance(max_size, int | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"max_size is a number of bytes, not {max_size!r}")
        if max_size is not None and max_size < 0:
            raise ValueError(f"max_size is a number of bytes of 0 or more, not {max_size}")
        return cls(max_size, None if accept is None else _entries(accept))

    @property
    def is_strict(self) -> bool:
        """Whether the policy refuses any content."""
        return self.max_size is not None or self.accept is not None

    def check_size(self, size: int | None, field: str | None = None) -> None:
        """Raise FileTooLargeError if *size* bytes are too many; *field* is the attribute to name."""
        if self.max_size is not None and size is not None and size > self.max_size:
            raise FileTooLargeError(
                f"{_name_of(field)} accepts at most {self.max_size} bytes",
                field=field,
                code="too_large",
                params={"max_size": self.max_size},
            )

    def check_declared(self, declared: str, filename: str) -> None:
        """Raise ContentTypeRejectedError if no content of this declared type and name can be accepted."""
        if self.accept is None or bare(declared) in {"", UNKNOWN}:
            return
        named = guess_content_type(filename)
        # the name decides where it only says more than the type does: text/plain for a table
        is_named = self._takes(named, named) and (agree(named, declared) or agree(declared, named))
        if not (is_named or self._takes(declared, declared) or self._lists(filename)):
            raise self._refusal(bare(declared), None)

    def type_of(self, head: bytes, filename: str, declared: str, field: str | None = None) -> tuple[str, str]:
        """Return the media type of content that begins with *head*, and the type that these bytes show.

        Raises ContentTypeRejectedError as `judge` does.
        """
        found = sniff(head)
        if self.accept is None and declared == found:
            return declared, found
        return self.judge(found, filename, declared, field), found

    def judge(self, found: str, filename: str, declared: str, field: str | None = None) -> str:
        """Return the media type of content whose bytes show *found*.

        Without `accept` it is the declared type, corrected if the bytes disprove it.  With `accept`, raises
        ContentTypeRejectedError if the declared type or the name disagrees with the bytes, if a system or a
        server would run a file of that name, or if the type is not accepted.
        """
        if self.accept is None:
            return _corrected(declared, found)
        named = guess_content_type(filename)
        types = [each for each in (named, declared) if bare(each) != UNKNOWN]
        for each in types.copy():
            if agree(each, found):
                continue
            if each is named or not self._lists(filename):
                raise self._mismatch(bare(each), bare(found), field)
            # a browser's table has another format for this extension
            types.remove(each)
        main = types[0] if types else bare(found)
        if len(types) > 1 and self._prefers(declared, named) and self._takes(declared, found):
            main = declared
        if not self._takes(main, found):
            if not self._takes_name(filename, named, main):
                raise self._refusal(bare(main), field)
            if not types:
                # a format that only its name tells: what the bytes show is its container
                return declared
        self._check_extension(filename, named, main, found, field)
        same = canonical(declared) == canonical(main)
        return declared if same or (declared in types and self._takes(declared, found)) else main

    def _takes(self, media_type: str, found: str) -> bool:
        """Return whether `accept` has the type itself, or a wildcard that it may pass by.

        No wildcard is for what a browser runs, nor for a kind of picture, sound, film or text that
        the bytes do not show.
        """
        accept = self.accept or _NOTHING
        name = canonical(media_type)
        if name in _canonical_entries(accept):
            return True
        if is_active(name):
            return False
        kind = bare(media_type).partition("/")[0]
        if "*/*" in accept or (kind == "application" and "application/*" in accept):
            return True
        return f"{kind}/*" in accept and is_proven(media_type, found)

    def _prefers(self, declared: str, named: str) -> bool:
        """Return whether the declared type decides: another name, or a closer one, for what the extension says."""
        is_named = canonical(declared) in _canonical_entries(self.accept or _NOTHING)
        return is_recording(declared, named) or (is_named and may_stand_for(declared, named))

    def _takes_name(self, filename: str, named: str, main: str) -> bool:
        """Return whether `accept` has an extension of the name; one of no known type vouches for no page."""
        vouches = bare(named) != UNKNOWN or canonical(main) not in DANGEROUS - {XML}
        return vouches and self._lists(filename)

    def _check_extension(self, filename: str, named: str, main: str, found: str, field: str | None) -> None:
        """Refuse content of a known format under an extension that a system runs; it is not called so."""
        extension = last_extension(filename)
        if (
            # Python's table grows: where the extension has a type, that is declared
            bare(named) == UNKNOWN
            and extension in RUNNABLE_EXTENSIONS
            and is_known(main)
            and not (self.accept or set()) & {extension, "*/*"}
        ):
            raise self._mismatch(extension, bare(found), field)

    def _lists(self, filename: str) -> bool:
        return filename.lower().endswith(_extensions(self.accept or _NOTHING))

    def _mismatch(self, claimed: str, found: str, field: str | None) -> ContentTypeRejectedError:
        return ContentTypeRejectedError(
            f"declared as {claimed}, but the content is {found}",
            field=field,
            code="type_mismatch",
            params={"claimed": claimed, "found": found, "accept": sorted(self.accept or ())},
        )

    def _refusal(self, media_type: str, field: str | None) -> ContentTypeRejectedError:
        accept = sorted(self.accept or ())
        return ContentTypeRejectedError(
            f"{_name_of(field)} accepts {', '.join(accept) or 'no file'}, not {media_type}",
            field=field,
            code="type_not_accepted",
            params={"content_type": media_type, "accept": accept},
        )


ANYTHING = ContentPolicy()
"""The policy of a save that no column takes part in."""


def _entries(accept: Iterable[str]) -> frozenset[str]:
    if isinstance(accept, str):
        raise TypeError(f"accept is a set of types and extensions: write {{{accept!r}}}")
    entries = frozenset(entry.strip().lower() for entry in accept)
    for entry in sorted(entries):
        if not _ENTRY.fullmatch(entry):
            raise ValueError(
                f"accept has {entry!r}; write a type 'image/png', 'image/*' or an extension '.pdf'"
            )
    return entries


@lru_cache(maxsize=256)
def _canonical_entries(accept: frozenset[str]) -> frozenset[str]:
    return frozenset(canonical(entry) for entry in accept)


@lru_cache(maxsize=256)
def _extensions(accept: frozenset[str]) -> tuple[str, ...]:
    return tuple(entry for entry in accept if entry[0] == ".")


@lru_cache(maxsize=1024)
def _corrected(declared: str, found: str) -> str:
    """Return the declared type, or what the bytes show if that is something else; never what a browser runs."""
    if declared == found:
        return declared
    name, shown = canonical(declared), canonical(found)
    if name in {UNKNOWN, shown} or shown in {UNKNOWN, TEXT} or agree(declared, found):
        return declared
    if shown in DANGEROUS:
        # the source of a page is text, and is served as such
        return declared if name == TEXT and is_active(shown) else UNKNOWN
    return bare(found)


def _name_of(field: str | None) -> str:
    return "the column" if field is None else repr(field)
