"""filecolumn, as it is by default, and with what it promises beyond its peers switched off."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.types import TypeEngine

from benchmarks.contenders.base import Mapped
from filecolumn import FileObject, StoredObject, storages


class Ours(Mapped):
    name = "filecolumn"
    can = frozenset({"sync", "async", "lists", "rows", "facts", "s3"})
    hashes = "SHA-256"
    durable = "file, folder"
    deletes = "replaced, deleted, rolled back; after kill -9 too"
    promises = True

    def prepare(self) -> None:
        if self.place.s3:
            storages.register_backend("s3://bucket/", key=self.place.key, **self.place.s3)
        else:
            storages.register_backend(f"file://{self.place.folder}/", key=self.place.key, fsync=self.promises)

    def column(self, *, multiple: bool = False) -> TypeEngine[Any]:
        return StoredObject(backend=self.place.key, multiple=multiple, ledger=self.promises)

    def file(self) -> object:
        return FileObject("a.bin", content=self.content)

    def raw(self, files: int) -> str:
        row = {
            "filename": "report.pdf",
            "to_filename": "20260101/00/01a20981ac127bf0be88e781d3a5d7c2.pdf",
            "backend": self.place.key,
            "content_type": "application/pdf",
            "size": 123456,
            "checksum": f"sha256:{'0' * 64}",
            "etag": "1a2b-3c4d-5e6f",
            "version_id": None,
            "last_modified": 1767225600.0,
            "metadata": {},
            "v": 1,
        }
        return json.dumps([row] * files if files else row)

    @staticmethod
    def all_facts(file: FileObject) -> object:
        return (
            file.filename,
            file.path,
            file.backend,
            file.content_type,
            file.size,
            file.checksum,
            file.etag,
            file.version_id,
            file.last_modified,
            file.metadata,
        )


class Unpromised(Ours):
    name = "filecolumn, fsync=False, ledger=False"
    can = frozenset({"sync", "async"})
    durable = "-"
    deletes = "replaced, deleted, rolled back"
    promises = False
