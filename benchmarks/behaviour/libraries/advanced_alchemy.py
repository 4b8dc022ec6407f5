"""advanced-alchemy's `FileObject`, with the listeners of its own configurations."""

from __future__ import annotations

from typing import Any

from advanced_alchemy.types.file_object import FileObject

from benchmarks.behaviour.base import OfSQLAlchemy
from benchmarks.contenders.advanced_alchemy import AdvancedAlchemy


class OfAdvancedAlchemy(OfSQLAlchemy):
    name = "advanced-alchemy"
    package = "advanced-alchemy"
    contender = AdvancedAlchemy
    is_async = True

    def named(self, content: bytes, name: str) -> object:
        return FileObject(backend=self.mapped.place.key, filename=name, content=content)

    def read(self, file: Any) -> bytes:
        return bytes(file.get_content())
