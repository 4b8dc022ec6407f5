"""Django's `FileField`, with its own ORM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import connections, models, transaction
from sqlalchemy import make_url

from benchmarks.contenders.base import Contender, Place


class Django(Contender):
    name = "Django"
    can = frozenset({"sync"})

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        if not settings.configured:
            settings.configure(DATABASES={"default": {}}, USE_TZ=True)
            django.setup()
        # a connection is opened when it is used, so it may be added late
        connections.databases[place.key] = connections.configure_settings(
            {
                "default": {},
                place.key: _database(place.url),
            }
        )[place.key]
        self.storage = FileSystemStorage(place.folder)
        self.model = self._model()
        with connections[place.key].schema_editor() as editor:
            editor.create_model(self.model)
        self.rows = self.model.objects.using(place.key)

    def _model(self) -> Any:
        meta = type("Meta", (), {"app_label": "benchmarks", "db_table": "records"})
        return type(
            f"Record_{self.place.key}",
            (models.Model,),
            {
                "__module__": __name__,
                "Meta": meta,
                "id": models.AutoField(primary_key=True),
                "title": models.TextField(),
                "file": models.FileField(storage=self.storage, upload_to="20260101"),
            },
        )

    def save(self, files: int) -> None:
        new = [self.model(title="a", file=ContentFile(self.content, "a.bin")) for _ in range(files)]
        with transaction.atomic(self.place.key):
            if files == 1:
                new[0].save(using=self.place.key)
            else:
                self.rows.bulk_create(new)

    def replace(self, key: int) -> None:
        with transaction.atomic(self.place.key):
            record = self.rows.get(pk=key)
            record.file.save("b.bin", ContentFile(self.content))

    def delete(self, keys: Sequence[int]) -> None:
        with transaction.atomic(self.place.key):
            self.rows.filter(pk__in=keys).delete()

    def keys(self, rows: int) -> list[int]:
        return list(self.rows.order_by("-pk").values_list("pk", flat=True)[:rows])


def _database(url: str) -> dict[str, Any]:
    parts = make_url(url)
    engine = "sqlite3" if parts.get_backend_name() == "sqlite" else "postgresql"
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": parts.database,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.host or "",
        "PORT": parts.port or "",
    }
