"""`ObstoreBase`: an obstore store, and what every call on it needs, synchronous or not.

That are the bounds of its waits, its capabilities, its folder if it is a local one, and our
errors in place of obstore's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from filecolumn.backends.base import Capabilities, PutMode, StorageBackend
from filecolumn.backends.obstore_store import (
    Fork,
    SigningStore,
    kind_of,
    local_root,
    location_of,
    protocol_of,
    signing_store,
    store_from_url,
)
from filecolumn.backends.obstore_terms import ERRORS, attributes_of
from filecolumn.backends.options import OWN_OPTIONS, check_own, given
from filecolumn.backends.translate import SourceGuard, translated
from filecolumn.errors import NotSupportedError, ObjectExistsError, StorageError

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ("PARTS_IN_FLIGHT", "PART_SIZE", "ObstoreBase")

PART_SIZE = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 4

_PLAIN_PATH = re.compile(r"[\w/.~+-]+", re.ASCII)


class ObstoreBase(StorageBackend):
    """See `ObstoreBackend`."""

    def __init__(
        self,
        key: str,
        fs: str | ObjectStore,
        *,
        fsync: bool | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        concurrency: int | None = None,
        verify_copies: bool | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        **config: object,
    ) -> None:
        super().__init__(
            key,
            timeout=timeout,
            total_timeout=total_timeout,
            max_retries=max_retries,
            concurrency=concurrency,
            verify_copies=verify_copies,
        )
        settings = given(config)
        if isinstance(fs, str):
            fs = store_from_url(
                fs,
                client_options={
                    **self._client_options(),
                    **cast("ClientConfig", given(client_options or {})),
                },
                retry_config={
                    **self._retry_config(),
                    **cast("RetryConfig", given(retry_config or {})),
                },
                config=settings,
            )
        elif settings or client_options or retry_config:
            check_own(settings, OWN_OPTIONS, "a storage")
            names = ", ".join(settings) or "client_options and retry_config"
            raise TypeError(f"settings go with a URL; a ready store has its own: leave out {names}")
        self.store = fs
        self.protocol: str = protocol_of(fs)
        kind = kind_of(fs)
        self.signed_put_headers: Mapping[str, str] = kind.signed_put_headers
        self.capabilities: Capabilities = kind.capabilities
        self._signer = signing_store(fs)
        self._signs_any_key = kind.signs_any_key
        self._leftovers_take_keys = kind.leftovers_take_keys
        self._root = local_root(fs, fsync=fsync is None or fsync)

    @property
    def fs(self) -> ObjectStore:
        """The obstore store, under the name that advanced-alchemy gives it."""
        return self.store

    @property
    def location(self) -> str:
        if self._root is not None:
            return f"file://{self._root.path}"
        return location_of(self.store)

    @property
    def copies_by_itself(self) -> bool:
        return self._root is None

    def _check_signable(self, signer: SigningStore, key: str) -> None:
        # object_store signs the encoded path, Azure compares with the decoded one: always refused
        if not (self._signs_any_key or _PLAIN_PATH.fullmatch(f"{signer.prefix or ''}/{key}")):
            raise NotSupportedError(
                f"storage {self.key!r} cannot sign a URL for {key!r}: on Azure obstore signs plain keys only; "
                "serve it through the application, or save it under a key that filecolumn makes"
            )

    def _refuse_taken(self, key: str, mode: PutMode) -> None:
        """Multipart uploads cannot be conditional: look before sending."""
        if mode == "create" and self.exists(key):
            raise ObjectExistsError(f"the storage key {key!r} is taken; objects are never overwritten")

    def _attributes(self, content_type: str | None, metadata: Mapping[str, str] | None) -> Attributes | None:
        return attributes_of(content_type, metadata) if self.capabilities.keeps_content_type else None

    def _translated(self, doing: str, source: SourceGuard | None = None) -> AbstractContextManager[None]:
        if Fork.broken:
            raise StorageError(
                f"storage {self.key!r}: obstore was used before this process was forked, and its threads do not "
                "survive a fork; start workers with 'spawn' or 'forkserver', or fork before the first file operation"
            )
        Fork.used = True
        return translated(ERRORS, f"{doing} in storage {self.key!r}", source)

    def _client_options(self) -> ClientConfig:
        # `timeout` of obstore bounds a whole body, however large: the waits inside it are bounded instead
        return {
            "connect_timeout": timedelta(seconds=self.timeout),
            "read_timeout": timedelta(seconds=self.timeout),
            "timeout": timedelta(seconds=self.total_timeout * 10),
        }

    def _retry_config(self) -> RetryConfig:
        return {"max_retries": self.max_retries, "retry_timeout": timedelta(seconds=self.total_timeout)}
