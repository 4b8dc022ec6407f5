"""How an obstore store is made, of what kind and where it is, and whether this process may use it.

`_KINDS` is the one place that tells the classes of stores apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store, from_url

from filecolumn.backends._errors import is_panic
from filecolumn.backends._local import LocalRoot, check_system, make_root
from filecolumn.backends._options import (
    AZURE_SCHEMES,
    CLIENT_SETTINGS,
    RETRY_SETTINGS,
    S3_SCHEMES,
    check_address,
    check_names,
    check_own,
    given,
    local_folder,
    options_of_scheme,
    scheme_of,
    secrets_of,
    unknown_option,
    without_values,
)
from filecolumn.backends.base import Capabilities
from filecolumn.redaction import reason_of, without_secrets

__all__ = (
    "Fork",
    "Kind",
    "SigningStore",
    "kind_of",
    "local_root",
    "location_of",
    "protocol_of",
    "signing_store",
    "store_from_url",
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig


SigningStore = S3Store | GCSStore | AzureStore


@dataclass(frozen=True, slots=True)
class Kind:
    """What the stores of one class have in common."""

    protocol: str
    capabilities: Capabilities
    signed_put_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    signs_any_key: bool = True
    """Whether a signature holds for keys with characters that a URL encodes."""
    leftovers_take_keys: bool = False
    """Whether a key counts as taken after an upload that was given up, though nothing is there."""


_KEEPING = Capabilities(creates_atomically=True, keeps_content_type=True, lists_in_order=True)
_SIGNING = replace(_KEEPING, signs=True, signs_uploads=True, repeats_puts=True)

_KINDS: Mapping[type[object], Kind] = {
    LocalStore: Kind("file", Capabilities(creates_atomically=True)),
    MemoryStore: Kind("memory", replace(_KEEPING, persistent=False)),
    S3Store: Kind("s3", _SIGNING),
    GCSStore: Kind("gs", _SIGNING),
    AzureStore: Kind(
        "az",
        _SIGNING,
        # https://learn.microsoft.com/rest/api/storageservices/put-blob#request-headers-all-blob-types
        signed_put_headers={"x-ms-blob-type": "BlockBlob"},
        signs_any_key=False,
        leftovers_take_keys=True,
    ),
    HTTPStore: Kind("http", Capabilities()),
}
_SERVICES: Mapping[str, str] = {
    **dict.fromkeys(S3_SCHEMES, "AWS"),
    "gs": "GOOGLE",
    **dict.fromkeys(AZURE_SCHEMES, "AZURE"),
}
"""How the names of a service's environment variables begin, by the scheme of its URLs."""
# what else is in `ClientConfig` is no text, or is ours
_FROM_ENVIRONMENT = sorted(
    {*CLIENT_SETTINGS} - {"connect_timeout", "default_headers", "read_timeout", "root_certificate", "timeout"}
)
_LOCATION_SETTINGS = ("endpoint", "bucket", "account_name", "container_name")


class Fork:
    """Whether this process was forked from one in which obstore had already worked."""

    used: bool = False
    broken: bool = False

    @classmethod
    def mark_child(cls) -> None:
        cls.broken = cls.used


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=Fork.mark_child)


def store_from_url(
    url: str, *, client_options: ClientConfig, retry_config: RetryConfig, config: Mapping[str, object]
) -> ObjectStore:
    """Make a store; ValueError for a URL or an option that obstore cannot take, OSError for a folder."""
    scheme = scheme_of(url)
    if scheme in {"file", "memory"}:
        # obstore is not told of them, so it cannot refuse any
        check_names(config, options_of_scheme(scheme), f"a storage of {scheme}://")
        check_names(client_options, CLIENT_SETTINGS, "client_options")
    check_own(config, options_of_scheme(scheme), f"a storage of {scheme}://")
    check_names(retry_config, RETRY_SETTINGS, "retry_config")
    if scheme == "file":
        check_system()
        folder = local_folder(url)
        # obstore would make it readable to everyone
        make_root(folder)
        return LocalStore(folder)
    check_address(url)
    if scheme == "memory":
        return MemoryStore()
    # its overloads have no form for settings that are not known one by one
    build: Callable[..., ObjectStore] = from_url
    options = {**_options_from_environment(scheme), **client_options}
    try:
        return build(url, client_options=options, retry_config=retry_config, **config)
    except BaseException as error:
        # some settings make obstore panic
        if not (isinstance(error, BaseError | OSError | TypeError | ValueError) or is_panic(error)):
            raise
        # the error quotes values: without it, no traceback has them
        raise _refusal(error, url, config, client_options) from None


def _refusal(
    error: BaseException, url: str, config: Mapping[str, object], client_options: Mapping[str, object]
) -> Exception:
    scheme = scheme_of(url)
    text = str(error)
    if isinstance(error, UnknownConfigurationKeyError):
        for name in config:
            if f"'{name.lower()}'" in text:
                return unknown_option(name, options_of_scheme(scheme), f"a storage of {scheme}://")
    for name in client_options:
        if name not in CLIENT_SETTINGS and name in text:
            return unknown_option(name, CLIENT_SETTINGS, "client_options")
    names = f" with {', '.join(sorted(config))}" if config else ""
    reason = without_values(reason_of(error), [config, client_options, url, secrets_of(url)])
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"obstore cannot use the storage URL {scheme}://...{names}: {reason}")


def _options_from_environment(scheme: str) -> dict[str, str]:
    """Return what variables such as `AWS_ALLOW_HTTP` say: obstore looks at them only if it is given no options."""
    service = _SERVICES.get(scheme)
    return given({name: os.environ.get(f"{service}_{name.upper()}") for name in _FROM_ENVIRONMENT})


def local_root(store: ObjectStore, *, fsync: bool) -> LocalRoot | None:
    """Return the folder of a local store; ValueError if that is the whole disk."""
    if not isinstance(store, LocalStore):
        return None
    if store.prefix is None:
        raise ValueError("a LocalStore without a prefix is the whole disk; write LocalStore('/folder')")
    return LocalRoot(store.prefix, fsync=fsync)


def kind_of(store: ObjectStore) -> Kind:
    """Return what a store can do, as others of its class and its subclasses."""
    for known, kind in _KINDS.items():
        if isinstance(store, known):
            return kind
    return Kind(protocol_of(store), _KEEPING)


def signing_store(store: ObjectStore) -> SigningStore | None:
    """Return the store if it signs URLs."""
    return store if isinstance(store, SigningStore) else None


def protocol_of(store: ObjectStore) -> str:
    """Return the kind of storage, as in a URL; of a class that is not known, its name."""
    kind = _KINDS.get(type(store))
    return type(store).__name__ if kind is None else kind.protocol


def location_of(store: ObjectStore) -> str:
    """Return where the content is, without credentials."""
    if isinstance(store, HTTPStore):
        return without_secrets(store.url)
    config: Mapping[str, object] = getattr(store, "config", {})
    places = [str(config[name]) for name in _LOCATION_SETTINGS if config.get(name)]
    place = "/".join([*map(without_secrets, places), getattr(store, "prefix", None) or ""])
    return f"{protocol_of(store)}://{place}"
