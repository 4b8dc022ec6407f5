"""A backend from a URL: obstore where it knows the scheme, else fsspec."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend

__all__ = ("backend_from_url",)

_OBSTORE_SCHEMES = frozenset(
    {"file", "memory", "s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"}
)


def backend_from_url(url: str, key: str, options: Mapping[str, object]) -> StorageBackend:
    """Return a backend; ValueError for what is no URL, MissingDependencyError without fsspec."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError(
            f"{url!r} is no storage URL; write a scheme, such as 'file:///folder/' or 's3://bucket/'"
        )
    if scheme in _OBSTORE_SCHEMES:
        return ObstoreBackend(key, url, **options)  # type: ignore[arg-type]
    # fsspec is optional: it is imported when the first of its URLs is
    backend: StorageBackend = import_module("filecolumn.backends.fsspec").FSSpecBackend(key, url, **options)
    return backend
