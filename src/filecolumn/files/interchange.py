"""Files in the data of an API: out as facts and a URL, in as an upload or a grant.

What a client sends never names a storage or a key, and what it gets never does unless an
application adds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import cast

from filecolumn.backends.registry import storages
from filecolumn.content.sources import Upload
from filecolumn.errors import InvalidGrantError, NotSupportedError
from filecolumn.files.facts import Json
from filecolumn.files.file import FileObject, download_claims
from filecolumn.files.file_list import FileObjectList
from filecolumn.files.grants import verified_grant

__all__ = (
    "URL_LIFETIME",
    "dec_hook",
    "enc_hook",
    "file_from_input",
    "file_url",
    "files_from_input",
    "public_dict",
    "subject_source",
)

URL_LIFETIME = 3600
"""Seconds that the URL in a `public_dict` lasts at least."""

URL_WINDOW = 900
"""Seconds in which the URL of a file stays the same, so that browsers can cache what it gives."""

subject_source: ContextVar[Callable[[], str | None] | None] = ContextVar("filecolumn_subject", default=None)
"""Says whose input it is, for validators such as pydantic's, which know nothing of the request around them."""

_EXPECTED = (
    "a file is sent as a part of a multipart form, or as the grant of an upload; nothing else is accepted"
)


def public_dict(file: FileObject) -> dict[str, Json]:
    """Return what clients may know of a file: `filename, content_type, size, checksum, last_modified, url`.

    `url` reads the content for an hour or a little more; None without a signing key (`storages.signer`)
    and for a file that is not saved.
    """
    return {
        "filename": file.filename,
        "content_type": file.content_type,
        "size": file.size,
        "checksum": file.checksum,
        "last_modified": file.last_modified,
        "url": file_url(file),
    }


def file_url(file: FileObject) -> str | None:
    """Return the URL of `public_dict`."""
    if storages.signer is None or not file.is_saved:
        return None
    expires_at = (int(time.time()) // URL_WINDOW + 1) * URL_WINDOW + URL_LIFETIME
    return storages.signer.url(download_claims(file, expires_at=expires_at))


def file_from_input(value: object) -> FileObject:
    """Make a file of what a client sent: an upload object, or the token of a grant, which is `subject_source`'s.

    Raises ValueError for anything else: a client cannot choose a key or a storage.
    """
    match value:
        case FileObject():
            return value
        case str() if value:
            try:
                return FileObject._granted(verified_grant(value, subject=_subject()))
            except InvalidGrantError as error:
                raise ValueError(str(error)) from error
            except NotSupportedError as error:
                # without a signing key no text is a grant
                raise ValueError(_EXPECTED) from error
        case list():
            raise ValueError("one file is expected here, and several were sent")
        case _ if callable(getattr(value, "read", None)) and hasattr(value, "filename"):
            return FileObject.from_upload(cast("Upload", value))
        case _:
            raise ValueError(_EXPECTED)


def _subject() -> str | None:
    ask = subject_source.get()
    return None if ask is None else ask()


def files_from_input(value: object) -> FileObjectList:
    """Make a list of files of what a client sent: one input of `file_from_input`, or a list of them."""
    items: list[object] = list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]
    return FileObjectList(file_from_input(item) for item in items)


def enc_hook(value: object) -> object:
    """Encode files for msgspec: `msgspec.json.encode(data, enc_hook=enc_hook)`; TypeError for anything else."""
    match value:
        case FileObject():
            return public_dict(value)
        case list() | tuple():
            # one that lies where a FileObjectList is expected, as a pydantic field's default does
            return [enc_hook(item) for item in cast("Sequence[object]", value)]
        case _:
            raise TypeError(f"cannot encode a {type(value).__name__}")


def dec_hook(kind: type, value: object) -> object:
    """Decode files for msgspec: `msgspec.convert(data, Form, dec_hook=dec_hook)`."""
    if issubclass(kind, FileObjectList):
        return files_from_input(value)
    if issubclass(kind, FileObject):
        return file_from_input(value)
    raise TypeError(f"cannot decode a {kind.__name__}")


def json_schema() -> dict[str, Json]:
    """Return the JSON schema of `public_dict`."""
    properties: Mapping[str, Json] = {
        "filename": {"type": "string"},
        "content_type": {"type": "string"},
        "size": {"type": ["integer", "null"], "description": "bytes"},
        "checksum": {"type": ["string", "null"], "examples": ["sha256:..."]},
        "last_modified": {"type": ["number", "null"], "description": "seconds since the epoch, UTC"},
        "url": {"type": ["string", "null"], "format": "uri-reference"},
    }
    return {"type": "object", "title": "File", "properties": properties, "required": list(properties)}
