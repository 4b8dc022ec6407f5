"""Columns that hold no files: what reading a row costs at least."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped
from benchmarks.contenders.floor import row
from benchmarks.models import plain_json


class Text(Mapped):
    name = "String column"
    can = frozenset({"rows"})

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return String()

    def raw(self, files: int) -> str:
        return row(files)


class Json(Text):
    name = "JSON column"
    can = frozenset({"rows", "facts"})

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return plain_json()

    @staticmethod
    def one_fact(file: dict[str, object]) -> object:
        return file["size"]

    @staticmethod
    def all_facts(file: dict[str, object]) -> object:
        return list(file.values())
