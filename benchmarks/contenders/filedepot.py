"""filedepot, with its local storage."""

from __future__ import annotations

import json
from typing import Any

from depot.fields.sqlalchemy import UploadedFileField
from depot.io.utils import FileIntent
from depot.manager import DepotManager
from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped


class Filedepot(Mapped):
    name = "filedepot"
    can = frozenset({"sync", "rows", "facts"})
    deletes = "replaced, deleted, rolled back"

    def prepare(self) -> None:
        DepotManager.configure(self.place.key, {"depot.storage_path": self.place.folder})

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return UploadedFileField(upload_storage=self.place.key)

    def file(self) -> object:
        return FileIntent(self.content, "a.bin", "application/octet-stream")

    def raw(self, files: int) -> str:
        path = f"{self.place.key}/0d0e0ad0-0000-4000-8000-000000000000"
        return json.dumps(
            {
                "depot_name": self.place.key,
                "files": [path],
                "filename": "report.pdf",
                "content_type": "application/pdf",
                "uploaded_at": "2026-01-01 00:00:00",
                "file_id": path.partition("/")[2],
                "path": path,
                "url": f"/depot/{path}",
                "_public_url": None,
            }
        )

    @staticmethod
    def one_fact(file: Any) -> object:
        return file.content_type  # it does not keep the size

    @staticmethod
    def all_facts(file: Any) -> object:
        return list(file.values())
