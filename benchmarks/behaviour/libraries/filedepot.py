"""filedepot, with its local storage."""

from __future__ import annotations

from typing import Any

from depot.io.utils import FileIntent

from benchmarks.behaviour.base import OfSQLAlchemy
from benchmarks.contenders.filedepot import Filedepot


class OfFiledepot(OfSQLAlchemy):
    name = "filedepot"
    package = "filedepot"
    contender = Filedepot
    is_async = True

    def named(self, content: bytes, name: str) -> object:
        return FileIntent(content, name, "application/octet-stream")

    def read(self, file: Any) -> bytes:
        return bytes(file.file.read())
