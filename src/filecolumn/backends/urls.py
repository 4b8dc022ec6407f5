"""A backend from a URL: obstore where it knows the scheme, else fsspec."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module

from filecolumn.backends.addresses import local_folder, scheme_of
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.local import check_system
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.backends.options import AZURE_SCHEMES, S3_SCHEMES, given

__all__ = ("backend_from_url", "location_of_url")

_OBSTORE_SCHEMES = frozenset({"file", "memory", *S3_SCHEMES, "gs", *AZURE_SCHEMES, "http", "https"})


def backend_from_url(url: str, key: str, options: Mapping[str, object]) -> StorageBackend:
    """Return a backend; ValueError for what is no URL, MissingDependencyError without fsspec."""
    scheme = scheme_of(url)
    if scheme in _OBSTORE_SCHEMES:
        return ObstoreBackend(key, url, **given(options))  # type: ignore[arg-type]
    # fsspec is optional: it is imported when the first of its URLs is
    made: StorageBackend = import_module("filecolumn.backends.fsspec").FSSpecBackend(
        key, url, **given(options)
    )
    return made


def location_of_url(url: str, options: Mapping[str, object]) -> str | None:
    """Return where a local folder will be, which making the backend makes; None for other URLs.

    Raises NotSupportedError where a folder can be no storage.
    """
    if scheme_of(url) not in {"file", "local"}:
        return None
    check_system()
    below = options.get("prefix")
    parts = [local_folder(url), *([below] if isinstance(below, str) else [])]
    return f"file://{os.path.realpath('/'.join(parts))}"
