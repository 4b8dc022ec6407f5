"""Reads a form, part by part, and closes its files whatever ends it.

Litestar's own parser takes a file input that was left empty for an empty text, decodes a text by any codec that
its part names, and leaves files open after most errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from encodings.aliases import aliases
from typing import cast

from litestar.datastructures import UploadFile
from litestar.exceptions import ClientException
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from filecolumn.http.forms import LEFT_EMPTY

__all__ = ("close_files", "read_form")

Form = dict[str, object]
"""Texts and uploads by the names of their fields; several of one name are a list."""

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


async def read_form(chunks: AsyncIterator[bytes], boundary: bytes, *, max_parts: int) -> Form:
    """Return the parts of a form; ClientException if it is broken, and then all files are closed."""
    reader = _FormReader()
    try:
        await reader.read(chunks, boundary, max_parts)
    except ParserLimitReached as error:
        # also of headers, so no 413; as Litestar answers it
        await reader.close()
        raise ClientException(detail="Request Entity Too Large") from error
    except MultipartError as error:
        await reader.close()
        raise ClientException(detail="Invalid multipart/form-data") from error
    except BaseException:
        await reader.close()
        raise
    return {name: values if len(values) > 1 else values[0] for name, values in reader.fields.items()}


async def close_files(values: Iterable[object]) -> None:
    """Close the uploads among the values of a form."""
    uploads = list(_uploads(values))
    try:
        for upload in uploads:
            await upload.close()
    finally:
        # a task that is cancelled again does not come to the thread that closes large ones, nor to the next
        for upload in uploads:
            upload.file.close()


def _uploads(values: Iterable[object]) -> Iterator[UploadFile]:
    for value in values:
        if isinstance(value, UploadFile):
            yield value
        elif isinstance(value, list):
            yield from _uploads(cast("list[object]", value))


class _FormReader:
    """Collects the parts of a form as they come in."""

    def __init__(self) -> None:
        self.fields: dict[str, list[object]] = {}
        self._segment: MultipartSegment | None = None
        self._upload: UploadFile | None = None
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
        await close_files([self._upload, *self.fields.values()])

    def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        if segment.filename:
            self._upload = UploadFile(
                content_type=segment.content_type or "text/plain",
                filename=segment.filename,
                headers=dict(segment.headerlist),
            )

    async def _add(self, data: bytes) -> None:
        if self._upload is None:
            self._text += data
        else:
            await self._upload.write(data)

    async def _end(self) -> None:
        segment, upload = self._segment, self._upload
        if segment is None:
            raise ClientException(detail="Invalid multipart/form-data")
        values = self.fields.setdefault(segment.name or "", [])
        if upload is not None:
            await upload.seek(0)
            values.append(upload)
        elif not self._text and _is_file_input(segment):
            values.append(LEFT_EMPTY)
        else:
            values.append(_decoded(bytes(self._text), segment.charset))
        self._segment, self._upload, self._text = None, None, bytearray()


def _is_file_input(segment: MultipartSegment) -> bool:
    """Return whether a part without a file name is of a file input; some clients leave an empty name out."""
    return segment.filename is not None or not (segment.content_type or "text/plain").startswith("text/")


def _decoded(text: bytes, charset: str | None) -> str:
    codec = (charset or "utf-8").strip().lower().replace("-", "_")
    codec = aliases.get(codec, codec)
    if codec not in _CODECS:
        raise ClientException(detail="The charset of a field is not known")
    try:
        return text.decode(codec)
    except UnicodeError as error:
        raise ClientException(detail="A field is not text in its charset") from error
