"""How an obstore store is made, where it is, and whether this process may use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store, from_url

from filecolumn.backends.local import LocalRoot, local_folder, make_root
from filecolumn.backends.translate import without_secrets

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ("Fork", "local_root", "location_of", "protocol_of", "store_from_url")

_PROTOCOLS: Mapping[type[object], str] = {
    LocalStore: "file",
    MemoryStore: "memory",
    S3Store: "s3",
    GCSStore: "gs",
    AzureStore: "az",
    HTTPStore: "http",
}
_LOCATION_SETTINGS = ("endpoint", "bucket", "account_name", "container_name")


class Fork:
    """Whether this process was forked from one in which obstore had already worked."""

    used: bool = False
    broken: bool = False

    @classmethod
    def mark_child(cls) -> None:
        cls.broken = cls.used


os.register_at_fork(after_in_child=Fork.mark_child)


def store_from_url(
    url: str, *, client_options: ClientConfig, retry_config: RetryConfig, config: Mapping[str, object]
) -> ObjectStore:
    """Make a store; ValueError for a URL that obstore cannot read."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ValueError(
            f"{url!r} is no storage URL; write a scheme, such as 'file:///folder/' or 's3://bucket/'"
        )
    try:
        if scheme == "file":
            folder = local_folder(url)
            # obstore would make it readable to everyone
            make_root(folder)
            return LocalStore(folder)
        if scheme == "memory":
            return MemoryStore()
        # its overloads have no form for settings that are not known one by one
        build: Callable[..., ObjectStore] = from_url
        return build(url, client_options=client_options, retry_config=retry_config, **config)
    except BaseException as error:
        # pyo3's PanicException, for some settings, is a BaseException of a module that cannot be imported
        if isinstance(error, BaseError | OSError) or type(error).__name__ == "PanicException":
            raise ValueError(f"obstore cannot use the storage URL {scheme}://...; see the cause") from error
        raise


def local_root(store: ObjectStore, *, fsync: bool) -> LocalRoot | None:
    """Return the folder of a local store; ValueError if that is the whole disk."""
    if not isinstance(store, LocalStore):
        return None
    if store.prefix is None:
        raise ValueError("a LocalStore without a prefix is the whole disk; write LocalStore('/folder')")
    return LocalRoot(store.prefix, fsync=fsync)


def protocol_of(store: ObjectStore) -> str:
    """Return the kind of storage, as in a URL."""
    return _PROTOCOLS.get(type(store), type(store).__name__)


def location_of(store: ObjectStore) -> str:
    """Return where the content is, without credentials."""
    if isinstance(store, HTTPStore):
        return without_secrets(store.url)
    config: Mapping[str, object] = getattr(store, "config", {})
    places = [str(config[name]) for name in _LOCATION_SETTINGS if config.get(name)]
    place = "/".join([*map(without_secrets, places), getattr(store, "prefix", None) or ""])
    return f"{protocol_of(store)}://{place}"
