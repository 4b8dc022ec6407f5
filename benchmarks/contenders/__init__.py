"""The contenders, one module for each library: a new one is a module more, and its name here."""

from __future__ import annotations

import warnings
from importlib import import_module

from benchmarks.contenders.base import Contender

__all__ = ("MODULES", "find")

MODULES = (
    "ours",
    "floor",
    "plain",
    "advanced_alchemy",
    "sqlalchemy_file",
    "filedepot",
    "django",
    "fastapi_storages",
)


def find() -> tuple[dict[str, type[Contender]], dict[str, str]]:
    """Return the contenders by name, and why modules are left out."""
    found: dict[str, type[Contender]] = {}
    left_out: dict[str, str] = {}
    for name in MODULES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = import_module(f"benchmarks.contenders.{name}")
        except ImportError as error:
            left_out[name] = f"{error.name} is not installed" if error.name else str(error)
            continue
        classes = [value for value in vars(module).values() if issubclass(type(value), type)]
        found |= {
            class_.name: class_
            for class_ in classes
            if issubclass(class_, Contender) and class_.__module__ == module.__name__
        }
    return found, left_out
