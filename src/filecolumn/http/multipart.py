"""Reads a multipart form part by part, and closes its files whatever ends it; needs the package `multipart`.

It differs from the parsers of frameworks: a file input that was left empty is told from an empty text, a text is
decoded by a known codec only, and no file stays open after an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from encodings.aliases import aliases
from typing import Generic, Protocol, TypeGuard, TypeVar, cast

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from filecolumn.http.errors import HttpError
from filecolumn.http.forms import LEFT_EMPTY

__all__ = ("Form", "FormFile", "MakeFile", "close_files", "read_form")

Form = dict[str, object]
"""Texts and files by the names of their fields; several of one name are a list."""

# Others than these are never sent by browsers, and `punycode` and `idna` take time with the square of the length
_CODECS = frozenset(
    {
        "utf_8",
        "ascii",
        *("latin_1", "iso8859_1", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_9", "iso8859_15"),
        *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "koi8_r", "koi8_u"),
        *("shift_jis", "euc_jp", "euc_kr", "gb2312", "gbk", "gb18030", "big5", "utf_16"),
    }
)


class _Closing(Protocol):
    def close(self) -> None: ...


class FormFile(Protocol):
    """A file of a form, as frameworks have it: `UploadFile`."""

    @property
    def file(self) -> _Closing:
        """What has the bytes."""
        ...

    async def write(self, data: bytes, /) -> object:
        """Add bytes at the end."""
        ...

    async def seek(self, offset: int, /) -> object:
        """Move to a byte."""
        ...

    async def close(self) -> None:
        """Close it, in a thread if that may block."""
        ...


File = TypeVar("File", bound=FormFile)

MakeFile = Callable[[str, str, dict[str, str]], File]
"""Makes an empty file of its name, its media type and the headers of its part."""


async def read_form(
    chunks: AsyncIterator[bytes], boundary: bytes, make_file: MakeFile[File], *, max_parts: int
) -> Form:
    """Return the parts of a form; HttpError 400 if it is broken, and then all files are closed."""
    reader = _FormReader(make_file)
    try:
        await reader.read(chunks, boundary, max_parts)
    except ParserLimitReached as error:
        # also of headers, so no 413; as Litestar answers it
        await reader.close()
        raise HttpError(400, "Request Entity Too Large") from error
    except MultipartError as error:
        await reader.close()
        raise _broken() from error
    except BaseException:
        await reader.close()
        raise
    return {name: values if len(values) > 1 else values[0] for name, values in reader.fields.items()}


async def close_files(values: Iterable[object]) -> None:
    """Close the files among the values of a form."""
    files = list(_files(values))
    try:
        for file in files:
            await file.close()
    finally:
        # a task that is cancelled again does not come to the thread that closes large ones, nor to the next
        for file in files:
            file.file.close()


def _files(values: Iterable[object]) -> Iterator[FormFile]:
    for value in values:
        if isinstance(value, list):
            yield from _files(cast("list[object]", value))
        elif not isinstance(value, str) and _is_file(value):
            yield value


def _is_file(value: object) -> TypeGuard[FormFile]:
    # `isinstance` with a protocol takes longer than to read a small form
    return (
        hasattr(value, "file")
        and hasattr(value, "write")
        and hasattr(value, "seek")
        and hasattr(value, "close")
    )


class _FormReader(Generic[File]):
    """Collects the parts of a form as they come in."""

    def __init__(self, make_file: MakeFile[File]) -> None:
        self.fields: dict[str, list[object]] = {}
        self._make_file = make_file
        self._segment: MultipartSegment | None = None
        self._file: File | None = None
        self._text = bytearray()

    async def read(self, chunks: AsyncIterator[bytes], boundary: bytes, max_parts: int) -> None:
        """Read all parts; MultipartError if they are no form."""
        chunk = await anext(chunks, b"")
        if not chunk:
            return
        with PushMultipartParser(boundary, max_segment_count=max_parts) as parser:
            while not parser.closed:
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        self._begin(event)
                    elif event:
                        await self._add(event)
                    else:
                        await self._end()
                chunk = await anext(chunks, b"")

    async def close(self) -> None:
        """Close every file."""
        await close_files([self._file, *self.fields.values()])

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        if segment.filename:
            self._file = self._make_file(
                segment.filename, segment.content_type or "text/plain", dict(segment.headerlist)
            )

    async def _add(self, data: bytes) -> None:
        if self._file is None:
            self._text += data
        else:
            await self._file.write(data)

    async def _end(self) -> None:
        segment, file = self._segment, self._file
        if segment is None:
            raise _broken()
        values = self.fields.setdefault(segment.name or "", [])
        if file is not None:
            await file.seek(0)
            values.append(file)
        elif not self._text and _is_file_input(segment):
            values.append(LEFT_EMPTY)
        else:
            values.append(_decoded(bytes(self._text), segment.charset))
        self._segment, self._file, self._text = None, None, bytearray()


def _broken() -> HttpError:
    return HttpError(400, "Invalid multipart/form-data")


def _is_file_input(segment: MultipartSegment) -> bool:
    """Return whether a part without a file name is of a file input; some clients leave an empty name out."""
    return segment.filename is not None or not (segment.content_type or "text/plain").startswith("text/")


def _decoded(text: bytes, charset: str | None) -> str:
    codec = (charset or "utf-8").strip().lower().replace("-", "_")
    codec = aliases.get(codec, codec)
    if codec not in _CODECS:
        raise HttpError(400, "Unknown charset of a form field")
    try:
        return text.decode(codec)
    except UnicodeError as error:
        raise HttpError(400, "Form field not valid in its charset") from error
