"""Django with django-cleanup, which deletes the files of replaced and deleted rows."""

from __future__ import annotations

from django_cleanup import cache, handlers

from benchmarks.behaviour.base import Place
from benchmarks.behaviour.libraries.django import Django


class DjangoCleanup(Django):
    name = "Django + django-cleanup"
    package = "django-cleanup"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        # what its application does when Django is ready, which it was before the model was made
        cache.prepare(select_mode=False)
        handlers.connect()
