"""Files in the JSON of an API: hooks for encoders and decoders.

What a client gets of a file is `FileObject.public_dict`, and what it may send is what `FileObject.from_input` takes:
neither names a storage or a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from filecolumn.files.file import FileObject
from filecolumn.files.file_list import FileObjectList

__all__ = ("dec_hook", "enc_hook")


def enc_hook(value: object) -> object:
    """Encode files for msgspec, as `FileObject.public_dict`: `msgspec.json.encode(data, enc_hook=enc_hook)`.

    TypeError for anything but a file or a list.
    """
    match value:
        case FileObject():
            return value.public_dict()
        case list() | tuple():
            # one that lies where a FileObjectList is expected, as a pydantic field's default does
            return [enc_hook(item) for item in cast("Sequence[object]", value)]
        case _:
            raise TypeError(f"cannot encode a {type(value).__name__}")


def dec_hook(kind: type, value: object) -> object:
    """Decode files for msgspec, as `FileObject.from_input`: `msgspec.convert(data, Form, dec_hook=dec_hook)`.

    ValueError for a value that is not a file, TypeError for another *kind*.
    """
    if issubclass(kind, FileObject | FileObjectList):
        return kind.from_input(value)
    raise TypeError(f"cannot decode a {kind.__name__}")
