"""Each call of a file and of a storage exists in both ways, with the same parameters."""

from __future__ import annotations

import inspect

import pytest

from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend


def public_calls() -> list[str]:
    return [
        name
        for name, member in inspect.getmembers(FileObject, inspect.isfunction)
        if not name.startswith("_") and not name.endswith("_async")
    ]


@pytest.mark.parametrize(
    "name", [name for name in public_calls() if name not in {"public_dict", "to_dict", "update_metadata"}]
)
def test_each_call_has_a_twin_with_its_parameters(name: str) -> None:
    twin = getattr(FileObject, f"{name}_async")
    assert inspect.signature(twin).parameters == inspect.signature(getattr(FileObject, name)).parameters
    assert twin.__doc__


def test_each_async_call_has_a_sync_twin() -> None:
    twins = [name for name, _ in inspect.getmembers(FileObject) if name.endswith("_async") and name[0] != "_"]
    assert [name for name in twins if not hasattr(FileObject, name.removesuffix("_async"))] == []


@pytest.mark.parametrize(
    "name",
    [name for name, _ in inspect.getmembers(StorageBackend) if name[0] != "_" and name.endswith("_async")],
)
def test_each_call_of_a_storage_has_a_twin_with_its_parameters(name: str) -> None:
    ours = list(inspect.signature(getattr(StorageBackend, name)).parameters)
    assert ours == list(inspect.signature(getattr(StorageBackend, name.removesuffix("_async"))).parameters)
