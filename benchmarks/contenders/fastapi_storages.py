"""fastapi-storages, whose column holds a path and knows nothing else of the file."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO
from uuid import uuid4

from fastapi_storages import FileSystemStorage
from fastapi_storages.integrations.sqlalchemy import FileType
from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped


class _Upload:
    """What it takes: a framework's upload."""

    def __init__(self, content: bytes) -> None:
        self.filename = f"{uuid4().hex}.bin"
        self.file: BinaryIO = BytesIO(content)


class FastapiStorages(Mapped):
    name = "fastapi-storages"
    can = frozenset({"sync", "rows"})

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return FileType(storage=FileSystemStorage(self.place.folder))

    def file(self) -> object:
        return _Upload(self.content)

    def raw(self, files: int) -> str:
        return f"{self.place.folder}/0d0e0ad0.pdf"
