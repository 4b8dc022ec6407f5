"""sqlalchemy-file, with libcloud's local storage."""

from __future__ import annotations

from typing import Any

from sqlalchemy_file import File

from benchmarks.behaviour.base import OfSQLAlchemy
from benchmarks.contenders.sqlalchemy_file import SqlalchemyFile


class OfSqlalchemyFile(OfSQLAlchemy):
    name = "sqlalchemy-file"
    package = "sqlalchemy-file"
    contender = SqlalchemyFile
    is_async = True

    def named(self, content: bytes, name: str) -> object:
        return File(content=content, filename=name)

    def read(self, file: Any) -> bytes:
        return bytes(file.file.read())
