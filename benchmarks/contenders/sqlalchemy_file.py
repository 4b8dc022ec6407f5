"""sqlalchemy-file, with libcloud's local storage."""

from __future__ import annotations

import json
import os
from typing import Any

from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy.types import TypeEngine
from sqlalchemy_file import File, FileField
from sqlalchemy_file.storage import StorageManager

from benchmarks.contenders.base import Mapped


class SqlalchemyFile(Mapped):
    name = "sqlalchemy-file"
    can = frozenset({"sync", "lists", "rows", "facts"})
    deletes = "replaced, deleted, rolled back"

    def prepare(self) -> None:
        os.makedirs(self.place.folder, exist_ok=True)
        driver = LocalStorageDriver(self.place.folder)
        there = os.path.isdir(os.path.join(self.place.folder, "files"))
        container = driver.get_container("files") if there else driver.create_container("files")
        StorageManager.add_storage(self.place.key, container)

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return FileField(upload_storage=self.place.key, multiple=multiple)

    def file(self) -> object:
        return File(content=self.content, filename="a.bin")

    def raw(self, files: int) -> str:
        facts = {
            "content_path": None,
            "filename": "report.pdf",
            "content_type": "application/pdf",
            "size": 123456,
            "files": [f"{self.place.key}/0d0e0ad0-0000-4000-8000-000000000000"],
            "file_id": "0d0e0ad0-0000-4000-8000-000000000000",
            "upload_storage": self.place.key,
            "uploaded_at": "2026-01-01T00:00:00",
            "path": f"{self.place.key}/0d0e0ad0-0000-4000-8000-000000000000",
            "url": "/tmp/files/0d0e0ad0-0000-4000-8000-000000000000",
            "saved": True,
        }
        return json.dumps([facts] * files if files else facts)

    @staticmethod
    def all_facts(file: Any) -> object:
        return list(file.values())
