"""The contenders, one module for each library: a new one is a module more, and its name here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ("MODULES", "find", "find_in")

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


def find() -> tuple[dict[str, type[Any]], dict[str, str]]:
    """Return the contenders by name, and why modules are left out."""
    return find_in(__name__, MODULES)


@cache
def find_in(package: str, modules: Sequence[str]) -> tuple[dict[str, type[Any]], dict[str, str]]:
    """Return the contenders of modules by name, and why modules are left out."""
    found: dict[str, type[Any]] = {}
    left_out: dict[str, str] = {}
    for name in modules:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = import_module(f"{package}.{name}")
        except ImportError as error:
            left_out[name] = f"{error.name} is not installed" if error.name else str(error)
            continue
        # not isinstance: it asks lazy objects, as Django's settings are, for their class
        classes = [value for value in vars(module).values() if issubclass(type(value), type)]
        found |= {
            class_.name: class_
            for class_ in classes
            if class_.__module__ == module.__name__ and "name" in vars(class_)
        }
    return found, left_out
