"""Django's `FileField` over a local folder, with its own ORM; nothing deletes files there."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import close_old_connections, connection, models, transaction

from benchmarks.behaviour.base import KILLED, Library, Place

LABEL = "behaviour"


class Behaviour(AppConfig):
    """The application that the model is of: django-cleanup looks for models there."""

    path = str(Path(__file__).parent)


class Django(Library):
    name = "Django"
    package = "django"

    def __init__(self, place: Place) -> None:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": place.url.removeprefix("sqlite:///")}
        application = Behaviour(LABEL, sys.modules[__name__])
        settings.configure(
            DATABASES={"default": database},
            INSTALLED_APPS=[application],
            MEDIA_ROOT=place.folder,
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
            USE_TZ=True,
        )
        django.setup()
        self.model: Any = type(
            "Record",
            (models.Model,),
            {
                "__module__": __name__,
                "Meta": type("Meta", (), {"app_label": LABEL, "db_table": "records"}),
                "file": models.FileField(storage=FileSystemStorage(place.folder), upload_to="uploads"),
            },
        )
        if "records" not in connection.introspection.table_names():
            with connection.schema_editor() as editor:
                editor.create_model(self.model)

    def transaction(self) -> AbstractContextManager[None]:
        return transaction.atomic()

    def savepoint(self) -> AbstractContextManager[None]:
        return transaction.atomic()

    def add(self, content: bytes, name: str = "a.bin") -> None:
        self.model(file=ContentFile(content, name)).save()

    def replace(self, content: bytes, name: str = "b.bin") -> None:
        record = self.model.objects.order_by("pk").first()
        record.file = ContentFile(content, name)
        record.save()

    def remove(self) -> None:
        self.model.objects.order_by("pk").first().delete()

    def remove_all(self) -> None:
        self.model.objects.all().delete()

    def remove_raw(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM records")

    def share(self) -> None:
        first = self.model.objects.order_by("pk").first()
        self.model(file=first.file.name).save()

    def make(self, content: bytes) -> None:
        self.model(file=ContentFile(content, "a.bin"))

    def leave(self, content: bytes) -> None:
        transaction.set_autocommit(False)
        self.add(content)
        connection.close()
        close_old_connections()

    def kill(self, *, committed: bool) -> None:
        commit = connection._commit  # noqa: SLF001 - there is no event for it

        def end() -> None:
            if committed:
                commit()
            os._exit(KILLED)

        connection._commit = end  # noqa: SLF001

    def rows(self) -> list[bytes | None]:
        return [_read(record.file) for record in self.model.objects.order_by("pk")]


def _read(file: Any) -> bytes | None:
    try:
        with file.open() as opened:
            return bytes(opened.read())
    except OSError:
        return None
