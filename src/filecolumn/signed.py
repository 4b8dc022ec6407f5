"""The calls of a file that sign: URLs for whoever has no access of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from filecolumn.backends.base import SignMethod, StorageBackend
from filecolumn.errors import NotSupportedError
from filecolumn.grants import UploadGrant, column_of, configured_signer, incoming_key, upload_headers
from filecolumn.naming import check_content_type, clean_filename, guess_content_type
from filecolumn.policy import ANYTHING, ContentPolicy
from filecolumn.reading import ReadableFile
from filecolumn.registry import storages
from filecolumn.signing import Claims, UrlSigner, expiry
from filecolumn.state import Phase

__all__ = ("Disposition", "SignableFile")

Disposition = Literal["inline", "attachment"]
"""Whether a browser shows a file or saves it (RFC 6266)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a storage is to sign, and what our own route signs instead, if there is one."""

    backend: StorageBackend
    key: str
    method: SignMethod
    expires_in: float
    route: Callable[[], str] | None = None
    asks_storage: bool = True
    """Whether the storage is to sign, if it turns out to be able to."""

    def url(self) -> str:
        """Return what the storage signs, or the route where it does not; NotSupportedError if neither does."""
        if self.route is not None and not self.asks_storage:
            return self.route()
        try:
            return self.backend.sign(self.key, expires_in=self.expires_in, method=self.method)
        except NotSupportedError:
            if self.route is None:
                raise
            return self.route()

    async def url_async(self) -> str:
        """Call `url` asynchronously."""
        if self.route is not None and not self.asks_storage:
            return self.route()
        try:
            return await self.backend.sign_async(self.key, expires_in=self.expires_in, method=self.method)
        except NotSupportedError:
            if self.route is None:
                raise
            return self.route()


@dataclass(frozen=True, slots=True)
class _UploadPlan:
    """What an upload claims, and who signs its URL."""

    signer: UrlSigner
    claims: Claims
    signing: _Plan

    def grant(self, url: str) -> UploadGrant:
        return UploadGrant(
            url=url,
            token=self.signer.tokens.sign(replace(self.claims, purpose="grant", method="ATTACH")),
            expires_at=self.claims.expires_at,
            headers=upload_headers(self.signing.backend, self.claims.content_type),
        )


class SignableFile(ReadableFile):
    """See `FileObject`."""

    __slots__ = ()

    def sign(
        self,
        *,
        expires_in: float = 3600,
        for_upload: bool = False,
        disposition: Disposition | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> str:
        """Return a URL that reads the content for *expires_in* seconds, or that content can be PUT to.

        The storage signs where it can and the options leave it to: it knows only the time.  The route
        of the Litestar plugin (`storages.signer`) stands in for everything else, on every storage, also
        where a storage turns out not to sign.
        *disposition*, *filename* and *content_type* are what a reader gets, the saved ones by default.
        For an upload see `grant_upload`, which returns its token too.

        Raises NotSupportedError where neither can sign, ValueError for more than 7 days.
        """
        plan = self._sign_plan(
            expires_in,
            for_upload=for_upload,
            disposition=disposition,
            filename=filename,
            content_type=content_type,
            max_size=max_size,
            column=column,
            subject=subject,
        )
        return plan.url()

    async def sign_async(
        self,
        *,
        expires_in: float = 3600,
        for_upload: bool = False,
        disposition: Disposition | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> str:
        """Call `sign` asynchronously."""
        plan = self._sign_plan(
            expires_in,
            for_upload=for_upload,
            disposition=disposition,
            filename=filename,
            content_type=content_type,
            max_size=max_size,
            column=column,
            subject=subject,
        )
        return await plan.url_async()

    def grant_upload(
        self,
        *,
        expires_in: float = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> UploadGrant:
        """Return what a client needs to upload this file's content by itself, within *expires_in* seconds.

        The content goes straight to a storage that can sign, else through the plugin's route.  One file
        made of the token with `from_grant` fits only what is said here: at most *max_size* bytes, into
        *column* (such as `Document.file`, or its name), by *subject* (such as a user's id).  What the column
        takes is part of that: its `max_size` if it is smaller, its storage if the file names none.

        Raises ContentTypeRejectedError for a *content_type* that the column does not accept, NotSupportedError
        without a signing key, ValueError for more than 7 days or a *max_size* below 0.
        """
        plan = self._upload_plan(expires_in, content_type, max_size, column, subject)
        return plan.grant(plan.signing.url())

    async def grant_upload_async(
        self,
        *,
        expires_in: float = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> UploadGrant:
        """Call `grant_upload` asynchronously."""
        plan = self._upload_plan(expires_in, content_type, max_size, column, subject)
        return plan.grant(await plan.signing.url_async())

    def _sign_plan(
        self,
        expires_in: float,
        *,
        for_upload: bool,
        disposition: Disposition | None,
        filename: str | None,
        content_type: str | None,
        max_size: int | None,
        column: object,
        subject: str | None,
    ) -> _Plan:
        if for_upload:
            if self.is_saved:
                return _Plan(*self._located(), "PUT", expires_in)
            if self._given_key is not None:
                return _Plan(self._storage(), self._given_key, "PUT", expires_in)
            return self._upload_plan(expires_in, content_type, max_size, column, subject).signing
        backend, key = self._located()
        asked = any(option is not None for option in (disposition, filename, content_type, subject))
        signer = storages.signer
        if signer is None:
            if asked:
                raise NotSupportedError(
                    f"storage {backend.key!r} signs no such options; give FileColumnPlugin a signing_key"
                )
            return _Plan(backend, key, "GET", expires_in)
        claims = download_claims(
            self,
            expires_at=expiry(time.time(), expires_in),
            disposition=disposition or "",
            filename=filename,
            content_type=content_type,
            subject=subject,
        )
        return _Plan(
            backend,
            key,
            "GET",
            expires_in,
            route=partial(signer.url, claims),
            asks_storage=backend.capabilities.signs and not asked,
        )

    def _upload_plan(
        self,
        expires_in: float,
        content_type: str | None,
        max_size: int | None,
        column: object,
        subject: str | None,
    ) -> _UploadPlan:
        signer = configured_signer()
        if self._phase is not Phase.PENDING or self._source is not None:
            raise ValueError(
                "an upload is granted for a new file without content: FileObject(name).grant_upload()"
            )
        bound = None if column is None else column_of(column)
        policy = ANYTHING if bound is None else bound.policy
        content_type = self._bound_type(content_type)
        policy.check_declared(content_type, self.filename)
        asked = ContentPolicy.of(max_size, None)
        sizes = [size for size in (asked.max_size, policy.max_size) if size is not None]
        named = self.backend_key or (None if bound is None else bound.backend)
        claims = Claims(
            purpose="upload",
            method="PUT",
            backend=storages.resolve(named or storages.default),
            key=incoming_key(self.filename),
            expires_at=expiry(time.time(), expires_in),
            filename=self.filename,
            content_type=content_type,
            max_size=min(sizes, default=-1),
            column="" if bound is None else bound.name,
            subject=subject or "",
        )
        backend = storages.get(claims.backend)
        route = partial(signer.url, claims)
        asks_storage = backend.capabilities.signs_uploads
        signing = _Plan(backend, claims.key, "PUT", expires_in, route=route, asks_storage=asks_storage)
        return _UploadPlan(signer, claims, signing)

    def _bound_type(self, content_type: str | None) -> str:
        """Return the type that an upload must declare: what was said, and not what the name lets guess."""
        if content_type is not None:
            return check_content_type(content_type)
        return "" if self.content_type == guess_content_type(self.filename) else self.content_type


def download_claims(
    file: ReadableFile,
    *,
    expires_at: int,
    disposition: str = "",
    filename: str | None = None,
    content_type: str | None = None,
    subject: str | None = None,
) -> Claims:
    """Return what a URL that reads *file* claims; what its row does not know, the reader asks the storage."""
    _, key = file._located()
    return Claims(
        purpose="download",
        method="GET",
        backend=file._storage_name(),
        key=key,
        expires_at=expires_at,
        filename=file.filename if filename is None else clean_filename(filename),
        content_type=file.content_type if content_type is None else check_content_type(content_type),
        disposition=disposition,
        size=-1 if file.size is None else file.size,
        checksum=file.checksum or "",
        subject=subject or "",
    )
