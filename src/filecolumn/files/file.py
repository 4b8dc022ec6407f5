"""`FileObject`: one file of a row, or on its way into one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from io import SEEK_SET
from pathlib import Path
from types import EllipsisType
from typing import BinaryIO, Literal, Self, cast

from filecolumn._public import name_methods_after
from filecolumn._threads import aclosing, closing, completed
from filecolumn.backends.base import SignMethod, Stat, StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.backends.streams import NamedReader
from filecolumn.content.digest import Meter, Rechunker
from filecolumn.content.handles import local_path, name_of
from filecolumn.content.policy import ANYTHING, ContentPolicy
from filecolumn.content.sources import CHUNK_SIZE, Content, Source, Upload, checked_source
from filecolumn.errors import (
    BackendMismatchError,
    BackendNotRegisteredError,
    ChecksumMismatchError,
    CorruptFileMetadataError,
    FileColumnError,
    NotSupportedError,
    ObjectNotFoundError,
    OwnedFileError,
    PendingContentError,
    SourceConsumedError,
)
from filecolumn.files.facts import (
    FileFacts,
    Json,
    JsonObject,
    checked_metadata,
    facts_from_row,
    known_time,
    read_only,
    row_from_facts,
)
from filecolumn.files.grants import (
    UploadGrant,
    check_size,
    column_of,
    configured_signer,
    granted_facts,
    missing_upload,
    upload_headers,
    verified_grant,
)
from filecolumn.files.state import AllowedBackends, BackendsOfSeveral, Described, FileState, Phase
from filecolumn.files.taking import Take, take, take_async
from filecolumn.files.transfer import (
    Copy,
    Found,
    Put,
    copy,
    copy_async,
    discard_async,
    look_up,
    look_up_async,
    put,
    put_async,
)
from filecolumn.naming import (
    check_content_type,
    check_key,
    clean_filename,
    guess_content_type,
    incoming_key,
    new_key,
    uuid7_hex,
)
from filecolumn.signing import Claims, UrlSigner, expiry

__all__ = (
    "AsyncFile",
    "Disposition",
    "FileObject",
    "FileValue",
    "GrantedFile",
    "ReadableFile",
    "SignableFile",
    "storage_name",
)


class FileValue(FileState):
    """State shared by everything that handles one file; see `FileObject` for the public face."""

    __slots__ = ()

    def __init__(
        self,
        filename: str | EllipsisType | None = ...,
        *,
        backend: str | StorageBackend | None = None,
        content: Content | None = None,
        source_path: str | os.PathLike[str] | None = None,
        to_filename: str | None = None,
        content_type: str | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        if content is not None and source_path is not None:
            raise ValueError("give content or source_path, not both")
        if source_path is not None:
            content = _path_of(source_path)
        given_key = None if to_filename is None else check_key(to_filename)
        source = None if content is None else checked_source(content)
        name = clean_filename(_name_in(content) if isinstance(filename, EllipsisType) else filename)
        facts = FileFacts(
            filename=name,
            key=given_key,
            backend=storage_name(backend),
            content_type=guess_content_type(name)
            if content_type is None
            else check_content_type(content_type),
            metadata=checked_metadata(metadata or {}),
        )
        super().__init__(facts, source, given_key)

    @property
    def metadata(self) -> Mapping[str, Json]:
        """The user's own data, read-only in all its depth; assign a new mapping or call `update_metadata`."""
        return read_only(self._known().metadata)

    @metadata.setter
    def metadata(self, metadata: JsonObject) -> None:
        self._change(replace(self._known(), metadata=checked_metadata(metadata)))

    def update_metadata(self, metadata: JsonObject) -> None:
        """Add to the metadata; the row has it after the next commit.

        Raises TypeError for what JSON cannot carry, and ValueError above 64 KiB or 8 levels.
        """
        self.metadata = {**self._known().metadata, **metadata}

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON object that a row has for this file."""
        return row_from_facts(self._known())

    def _located(self) -> tuple[StorageBackend, str]:
        """Return storage and key of the content, or raise what says why there is none."""
        facts = self._known()
        match self._phase:
            case Phase.PENDING:
                raise PendingContentError(
                    f"{facts.filename!r} is not stored yet; save it or flush its session first"
                )
            case Phase.CONSUMED:
                raise SourceConsumedError(
                    f"the content of {facts.filename!r} was read once and is gone; assign it again"
                )
            case Phase.REMOVED:
                raise ObjectNotFoundError(f"{facts.filename!r} was deleted; assign a new file")
            case _:
                return self._storage(), check_key(facts.key or "")

    def _storage(self) -> StorageBackend:
        return storages.get(self._storage_name())

    def _storage_name(self) -> str:
        """Return the key of the storage that the file names, else the column's or the default."""
        named = self._known().backend
        if self._allowed is None:
            return storages.resolve(named or storages.default)
        allowed = [backend or storages.default for backend in self._allowed]
        several = (
            isinstance(self._allowed, BackendsOfSeveral) and len(set(map(storages.resolve, allowed))) > 1
        )
        if named is None and several:
            raise BackendMismatchError(
                f"{self.filename!r} names no storage, and it was read from columns of several, "
                f"{', '.join(map(repr, allowed))}: read it through its own class"
            )
        if named is None:
            return storages.resolve(allowed[0])
        if storages.resolve(named) not in map(storages.resolve, allowed):
            raise BackendMismatchError(
                f"{self.filename!r} is in storage {named!r}, and its column uses {', '.join(map(repr, allowed))}; "
                "add the name to the column's reads=(...) if rows may still point there"
            )
        return storages.resolve(named)

    def _restrict(self, allowed: AllowedBackends) -> None:
        """Hold the file to the storages of a column, as if that had loaded it; BackendMismatchError for another."""
        self._allowed = allowed
        self._storage_name()

    def _disowned(self) -> None:
        """Raise OwnedFileError if a row owns the content, or may do."""
        if self._phase is Phase.STORED:
            raise OwnedFileError(
                f"a row owns {self.filename!r}: assign a new FileObject to the attribute, or None to remove it"
            )
        if self._phase is Phase.STAGED and self._found:
            raise OwnedFileError(
                f"{self.filename!r} lay in the storage before from_key(), and rows that filecolumn does not know may "
                "have it: make a new FileObject for new content; storages.get(...).delete([key]) deletes the object"
            )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FileValue):
            return NotImplemented
        return self._has_place() and other._has_place() and self._identity() == other._identity()

    def __hash__(self) -> int:
        if not self._has_place():
            raise TypeError("a FileObject is hashable once it is saved")
        # without the storage, of which the name may become an alias
        return hash(self._known().key)

    def _has_place(self) -> bool:
        return self._phase in {Phase.GRANTED, Phase.STAGED, Phase.STORED, Phase.REMOVED}

    def _identity(self) -> tuple[str | None, str | None]:
        facts = self._known()
        return facts.backend and storages.resolve(facts.backend), facts.key

    def __str__(self) -> str:
        """Return the file's name, as templates show it."""
        try:
            return self.filename
        except CorruptFileMetadataError:
            return repr(self)

    def __repr__(self) -> str:
        try:
            facts = self._known()
        except CorruptFileMetadataError as error:
            return f"<{type(self).__name__} corrupt: {error}>"
        place = _printable(f"{facts.backend}:{facts.key}") if self.is_saved else self._phase.value
        return f"<{type(self).__name__} {facts.filename!r} {place} {facts.size} bytes {facts.content_type}>"

    def __reduce__(self) -> tuple[object, ...]:
        # Never content, credentials or a backend. A copy of a staged file is not attachable: two
        # rows could come to share one object; it is copied instead, as a stored one is
        phase = {Phase.PENDING: Phase.CONSUMED, Phase.STAGED: Phase.STORED}.get(self._phase, self._phase)
        row = self._row if self._facts is None else None
        # a copy of what a grant has given is no second file
        return _restored, (type(self), self._facts, row, phase, self._allowed, self._grant)


def _restored(  # noqa: PLR0917 - what `__reduce__` passes, also that of an older release
    cls: type[FileValue],
    facts: FileFacts | None,
    row: object,
    phase: Phase,
    allowed: AllowedBackends | None,
    grant: Claims | None = None,
) -> FileValue:
    value = cls._from_facts(facts, phase, allowed)
    value._row = row
    value._hold_grant(grant)
    return value


def _printable(text: str) -> str:
    """Return *text* for a message; a row that somebody changed may have anything for a key."""
    return text if text.isprintable() else repr(text)


def _path_of(source_path: str | os.PathLike[str]) -> Content:
    if not isinstance(source_path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"source_path is a path, as a str or a Path, not a {type(source_path).__name__}; "
            "pass anything else as content=..."
        )
    return local_path(source_path)


def _name_in(content: Content | None) -> str:
    """Return the name of content for which none was given; TypeError if it has none."""
    name = name_of(content)
    if name is None:
        raise TypeError(
            "FileObject() needs a filename, as in FileObject('report.pdf', content=...); only a path, an upload and "
            "a file opened by its name have one of their own"
        )
    return name


def storage_name(backend: str | StorageBackend | None) -> str | None:
    """Return the key of the storage that a caller named; BackendNotRegisteredError for an unregistered backend."""
    if not isinstance(backend, StorageBackend):
        return backend
    if not storages.is_registered(backend.key) or storages.get(backend.key) is not backend:
        raise BackendNotRegisteredError(
            f"{backend!r} is not registered; call storages.register_backend(...) first"
        )
    return backend.key


class AsyncFile:
    """A seekable, read-only file of an event loop, from `FileObject.open_async`."""

    def __init__(self, backend: StorageBackend, key: str, size: int, name: str) -> None:
        self.name: str = name
        self._backend = backend
        self._key = key
        self._size = size
        self._position = 0

    async def read(self, size: int = -1) -> bytes:
        """Return the next *size* bytes, fewer only at the end; all that are left if it is negative."""
        left = max(self._size - self._position, 0)
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        async with aclosing(
            await self._backend.get_async(self._key, start=self._position, length=wanted)
        ) as chunks:
            content = b"".join([chunk async for chunk in chunks])
        self._position += len(content)
        return content

    async def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move to a byte and return it; *whence* as for `io.IOBase.seek`."""
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise ValueError(f"cannot seek to byte {position}")
        self._position = position
        return position

    async def tell(self) -> int:
        """Return the byte that the next `read` starts at."""
        return self._position


class ReadableFile(FileValue):
    """See `FileObject`."""

    __slots__ = ()

    def get_content(self) -> bytes:
        """Return the whole content; ObjectNotFoundError if it is not there."""
        backend, key = self._located()
        return backend.get_bytes(key)

    async def get_content_async(self) -> bytes:
        """Call `get_content` asynchronously."""
        backend, key = self._located()
        return await backend.get_bytes_async(key)

    def stream(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[bytes]:
        """Yield the content from byte *start*, at most *length* bytes, in chunks of *chunk_size* bytes."""
        backend, key = self._located()
        cut = Rechunker(chunk_size)
        with closing(backend.get(key, start=start, length=length)) as chunks:
            for chunk in chunks:
                yield from cut.feed(chunk)
        yield from cut.end()

    async def stream_async(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> AsyncGenerator[bytes]:
        """Call `stream` asynchronously."""
        backend, key = self._located()
        cut = Rechunker(chunk_size)
        # else it holds its descriptor or connection until the event loop comes to it
        async with aclosing(await backend.get_async(key, start=start, length=length)) as chunks:
            async for chunk in chunks:
                for piece in cut.feed(chunk):
                    yield piece
        for piece in cut.end():
            yield piece

    def open(self, mode: str = "rb") -> BinaryIO:
        """Return a seekable, read-only binary file; its `name` is the file's.  ValueError for another mode."""
        _check_mode(mode)
        backend, key = self._located()
        return NamedReader.over(backend.open(key), self.filename)

    @asynccontextmanager
    async def open_async(self, mode: str = "rb") -> AsyncGenerator[AsyncFile]:
        """Open asynchronously: `async with file.open_async() as f`, with `read`, `seek` and `tell`."""
        _check_mode(mode)
        backend, key = self._located()
        yield AsyncFile(backend, key, (await backend.stat_async(key)).size, self.filename)

    def download(self, path: str | os.PathLike[str]) -> Path:
        """Write the content to a local file and return its path; it appears whole or not at all.

        In a folder that is there the file is called as this one is, by its `filename`.  A file that
        is there is replaced, and a symbolic link is too, not what it points to.
        """
        target = self._target(path, is_folder=os.path.isdir(path))
        part = target.with_name(f".{uuid7_hex()}.part")
        try:
            with part.open("xb") as file, closing(self.stream()) as chunks:
                for chunk in chunks:
                    file.write(chunk)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return target

    async def download_async(self, path: str | os.PathLike[str]) -> Path:
        """Call `download` asynchronously."""
        target = self._target(path, is_folder=await completed(Path(path).is_dir))
        part = target.with_name(f".{uuid7_hex()}.part")
        try:
            await completed(partial(part.touch, exist_ok=False))
            async with aclosing(self.stream_async()) as chunks:
                async for chunk in chunks:
                    await completed(partial(_append, part, chunk))
            await completed(partial(os.replace, part, target))
        finally:
            await completed(partial(part.unlink, missing_ok=True))
        return target

    def _target(self, path: str | os.PathLike[str], *, is_folder: bool) -> Path:
        """Return the file that a download goes to: a cleaned name leads to no other folder."""
        if is_folder:
            return Path(path) / self.filename
        if os.fspath(path).endswith(os.sep):
            raise FileNotFoundError(f"there is no folder {os.fspath(path)!r} to download into; make it first")
        return Path(path)

    def exists(self) -> bool:
        """Return whether the content is in the storage; False for a file that is not saved."""
        if not self.is_saved:
            return False
        backend, key = self._located()
        return backend.exists(key)

    async def exists_async(self) -> bool:
        """Call `exists` asynchronously."""
        if not self.is_saved:
            return False
        backend, key = self._located()
        return await backend.exists_async(key)

    def refresh(self) -> None:
        """Read size, etag, version and time from the storage again; what differs is written by the next flush."""
        backend, key = self._located()
        self._refreshed(backend.stat(key))

    async def refresh_async(self) -> None:
        """Call `refresh` asynchronously."""
        backend, key = self._located()
        self._refreshed(await backend.stat_async(key))

    def verify(self) -> None:
        """Read the content and compare it with the facts; ChecksumMismatchError if they differ.

        Raises NotSupportedError for a row without a checksum, such as advanced-alchemy wrote.
        """
        meter = Meter()
        with closing(self._verifiable().stream()) as chunks:
            for chunk in chunks:
                meter.feed(chunk)
        self._compare(meter)

    async def verify_async(self) -> None:
        """Call `verify` asynchronously."""
        meter = Meter()
        async with aclosing(self._verifiable().stream_async()) as chunks:
            async for chunk in chunks:
                meter.feed(chunk)
        self._compare(meter)

    def _verifiable(self) -> ReadableFile:
        if self.checksum is None and self.is_saved:
            raise NotSupportedError(f"nothing to verify {self.filename!r} by: its row has no checksum")
        return self

    def _compare(self, meter: Meter) -> None:
        if (meter.checksum, meter.size) != (self.checksum, self.size):
            raise ChecksumMismatchError(
                f"the content of {self.filename!r} is {meter.size} bytes with {meter.checksum}, "
                f"and its facts say {self.size} bytes with {self.checksum}"
            )

    def _refreshed(self, stat: Stat) -> None:
        facts = self._known()
        self._change(
            replace(
                facts,
                size=stat.size,
                etag=stat.etag or facts.etag,
                version_id=stat.version_id or facts.version_id,
                last_modified=known_time(stat.last_modified, facts.last_modified),
            )
        )


def _check_mode(mode: str) -> None:
    if mode not in {"rb", "br"}:
        raise ValueError(
            f"a stored file opens in mode 'rb' only, not {mode!r}: io.TextIOWrapper(file.open(), encoding='utf-8') "
            "reads text, and new content is a new FileObject in the attribute"
        )


def _append(path: Path, chunk: bytes) -> None:
    # opened for each chunk: a file that is open between two of them would stay open after a cancellation
    with path.open("ab") as file:
        file.write(chunk)


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


class GrantedFile(SignableFile):
    """See `FileObject`."""

    __slots__ = ()

    @classmethod
    def from_grant(cls, token: str, *, subject: str | None = None) -> Self:
        """Make a file of what a client uploaded with `grant_upload`, and sent back as *token*.

        The flush copies the upload to a key that no client knows, by the storage itself where it can, and
        counts, hashes and judges the copy.  A refusal or a rollback deletes that copy, and the upload stays, so
        that the file can be used again.  A commit that attaches it uses the grant up: every other file of the
        same upload is refused with InvalidGrantError.

        Raises InvalidGrantError for a token that is not valid, not *subject*'s, or whose upload is
        another; FileTooLargeError; ObjectNotFoundError when nothing was uploaded, or it was used up.
        """
        claims = verified_grant(token, subject=subject)
        with _of_upload(claims):
            stat = storages.get(claims.backend).stat(claims.key)
        return cls._looked_up(claims, stat)

    @classmethod
    async def from_grant_async(cls, token: str, *, subject: str | None = None) -> Self:
        """Call `from_grant` asynchronously."""
        claims = verified_grant(token, subject=subject)
        with _of_upload(claims):
            stat = await storages.get(claims.backend).stat_async(claims.key)
        return cls._looked_up(claims, stat)

    @classmethod
    def _granted(cls, claims: Claims) -> Self:
        """Make a file of a verified grant without any I/O."""
        return cls._from_granted(granted_facts(claims), claims)

    @classmethod
    def _looked_up(cls, claims: Claims, stat: Stat) -> Self:
        check_size(claims, stat.size)
        return cls._from_granted(replace(granted_facts(claims), size=stat.size), claims)


@contextmanager
def _of_upload(claims: Claims) -> Generator[None]:
    try:
        yield
    except ObjectNotFoundError as error:
        raise missing_upload(claims) from error


class FileObject(GrantedFile):
    """A file: its facts, and content that is stored or waits to be.

    `FileObject("report.pdf", content=Path("report.pdf"))` in an attribute of a model is stored
    by the session's next flush.  The calls below reach the storage at once; each has an
    `_async` twin.  An object belongs to one task or thread at a time, as a session does.
    """

    __slots__ = ()

    @classmethod
    def from_upload(
        cls,
        upload: Upload,
        *,
        backend: str | StorageBackend | None = None,
        filename: str | None = None,
        metadata: JsonObject | None = None,
    ) -> Self:
        """Make a pending file of an upload: Litestar's and Starlette's `UploadFile`, Flask's `FileStorage`...

        Its name and its type are taken over, cleaned.  It is read when the file is saved or flushed,
        so within the request that brought it, and whole, whoever has read from it before.

        Raises ContentRejectedError (code `no_file`) for what a browser sends for an input that was left
        empty, an upload with neither a name nor content.  A named file may be empty.
        """
        return cls(
            name_of(upload) if filename is None else filename,
            backend=backend,
            content=cast("Content", upload),
            content_type=getattr(upload, "content_type", None) or None,
            metadata=metadata,
        )

    @classmethod
    def from_key(
        cls,
        key: str,
        *,
        backend: str | StorageBackend | None = None,
        filename: str | None = None,
        checksum: bool = False,
    ) -> Self:
        """Make a file of an object that lies in a storage already: one's own bucket, another library's.

        Its facts come from one look at the storage; with *checksum* it is read and hashed too.  Without
        *filename* it is called as the last part of the key.  A flush within 6 hours attaches it where
        it is, to one row: the ledger refuses a second one (ObjectExistsError).  Where a column has no
        ledger, the row gets a copy.  After a rollback the object stays, and can be attached again.

        The row owns the object from then on, so it is deleted with the row, unless another row names it.
        Never take *key* from a client: it could name anybody's file.

        Raises ObjectNotFoundError if nothing is there, InvalidKeyError for a key that no storage is
        given, such as those that filecolumn keeps for itself.
        """
        return cls._from_found(look_up(cls._found_plan(key, backend, filename, checksum=checksum)))

    @classmethod
    async def from_key_async(
        cls,
        key: str,
        *,
        backend: str | StorageBackend | None = None,
        filename: str | None = None,
        checksum: bool = False,
    ) -> Self:
        """Call `from_key` asynchronously."""
        plan = cls._found_plan(key, backend, filename, checksum=checksum)
        return cls._from_found(await look_up_async(plan))

    @staticmethod
    def _found_plan(
        key: str, backend: str | StorageBackend | None, filename: str | None, *, checksum: bool
    ) -> Found:
        name = storages.resolve(storage_name(backend) or storages.default)
        filename = clean_filename(check_key(key).rpartition("/")[2] if filename is None else filename)
        facts = FileFacts(filename=filename, key=key, backend=name, content_type=guess_content_type(filename))
        return Found(storages.get(name), facts, is_hashed=checksum)

    @classmethod
    def from_dict(cls, row: Mapping[str, Json]) -> Self:
        """Return the file that *row* describes, as a column does that loads it: the inverse of `to_dict`.

        A row owns its content, so an attribute that it is assigned to gets a copy, and its storage must
        be one of that column's (BackendMismatchError).  Raises CorruptFileMetadataError for what is
        no row of a file, or of one that was not saved.
        """
        if not isinstance(row, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CorruptFileMetadataError(
                f"a file's row is a mapping, not a {type(row).__name__}; of its JSON pass json.loads(text)"
            )
        facts = facts_from_row(deepcopy(dict(row)))
        if row.get("v") and facts.foreign and facts.size is None:
            # `to_dict` of a file without a key: it would be taken for one that advanced-alchemy has stored
            raise CorruptFileMetadataError(
                f"{facts.filename!r} was not saved, so the row describes no content"
            )
        return cls._from_facts(facts, Phase.STORED)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """Let pydantic models have files; pydantic calls it, and is imported by nothing else here."""
        return import_module("filecolumn.files._pydantic").file_schema()

    @property
    def backend(self) -> StorageBackend:
        """The storage, looked up in the registry now."""
        return self._storage()

    @property
    def protocol(self) -> str:
        """The kind of the storage, as in a URL: `file`, `s3`..."""
        return self._storage().protocol

    def save(self, data: Content | None = None) -> FileObject:
        """Store the content now ("stage" it), or *data* in its place; a later flush only attaches it.

        Nothing happens if there is no new content.  What came with a grant is copied.

        Raises ObjectExistsError instead of overwriting, OwnedFileError for a file in a row,
        PendingContentError without content.
        """
        if data is None and (taking := self._take_plan()) is not None:
            self._stage(take(taking))
        elif (op := self._save_plan(data)) is not None:
            replaced = self._place()
            with self._saving(op.source):
                self._stage(put(op))
            self._use_grant()
            if replaced is not None:
                replaced[0].delete([replaced[1]])
        return self

    async def save_async(self, data: Content | None = None) -> FileObject:
        """Call `save` asynchronously; a cancelled one leaves nothing behind."""
        if data is None and (taking := self._take_plan()) is not None:
            self._stage(await take_async(taking))
        elif (op := self._save_plan(data)) is not None:
            replaced = self._place()
            try:
                with self._saving(op.source):
                    self._stage(await put_async(op))
            except asyncio.CancelledError:
                await discard_async(op)
                raise
            self._use_grant()
            if replaced is not None:
                await replaced[0].delete_async([replaced[1]])
        return self

    def copy(self, *, backend: str | None = None, filename: str | None = None) -> FileObject:
        """Store a copy under a new key, by the storage itself where it can, and return its staged file.

        One of a file that a grant gives has the grant too: a row gets the one or the other.
        """
        if (taking := self._take_plan(backend, filename)) is not None:
            return self._from_staged(take(taking), self._grant)
        return self._from_staged(copy(self._copy_plan(backend, filename)), self._grant)

    async def copy_async(self, *, backend: str | None = None, filename: str | None = None) -> FileObject:
        """Call `copy` asynchronously; a cancelled one leaves nothing behind."""
        if (taking := self._take_plan(backend, filename)) is not None:
            return self._from_staged(await take_async(taking), self._grant)
        op = self._copy_plan(backend, filename)
        try:
            return self._from_staged(await copy_async(op), self._grant)
        except asyncio.CancelledError:
            await discard_async(op)
            raise

    def delete(self) -> None:
        """Delete the content of a file that no row owns; OwnedFileError if one does."""
        self._disowned()
        backend, key = self._located()
        backend.delete([key])
        self._remove()

    async def delete_async(self) -> None:
        """Call `delete` asynchronously."""
        self._disowned()
        backend, key = self._located()
        await backend.delete_async([key])
        self._remove()

    def _save_plan(self, data: Content | None) -> Put | None:
        if data is None and self._phase is Phase.STAGED:
            return None
        self._disowned()
        source = self._source if data is None else checked_source(data)
        if source is None:
            raise no_content(self)
        source.check()
        name = self._storage_name()
        key = self._given_key or new_key(self.filename)
        facts = replace(self._known(), backend=name)
        return Put(storages.get(name), key, source, facts, fresh=self._given_key is None)

    def _copy_plan(self, backend: str | None, filename: str | None) -> Copy:
        origin, origin_key = self._located()
        facts = self._known()
        name = facts.filename if filename is None else clean_filename(filename)
        target = storages.resolve(backend) if backend is not None else self._storage_name()
        copied = replace(facts, filename=name, backend=target)
        return Copy(origin, origin_key, storages.get(target), new_key(name), copied)

    def _take_plan(self, backend: str | None = None, filename: str | None = None) -> Take | None:
        """Return what copies an upload that no row has taken yet; None for any other file."""
        if self._grant is None or self._phase is not Phase.GRANTED:
            return None
        op = self._copy_plan(backend, filename)
        return Take(op.origin, op.origin_key, op.backend, op.key, op.facts, grant=self._grant)

    def _place(self) -> tuple[StorageBackend, str] | None:
        return self._located() if self.is_saved else None

    @contextmanager
    def _saving(self, source: Source) -> Generator[None]:
        """Keep the phase true when a save fails: content that can be read once only is gone."""
        try:
            yield
        except BaseException:
            if not self.is_saved and source.is_spent:
                self._consume()
            raise


name_methods_after(FileObject, GrantedFile, SignableFile, ReadableFile, FileValue, FileState, Described)


def no_content(file: FileObject) -> FileColumnError:
    """Return the error for a file that has nothing to store."""
    if file._phase is Phase.PENDING:
        return PendingContentError(f"{file.filename!r} has no content; pass content=... or source_path=...")
    if file._phase is Phase.REMOVED:
        return ObjectNotFoundError(
            f"the content of {file.filename!r} was deleted, perhaps with the row that had it; give each row a "
            "FileObject of its own, made by a function (default_factory=lambda: FileObject(name, content=data)), or "
            "where the row is made"
        )
    try:
        file._located()
    except FileColumnError as error:
        return error
    raise AssertionError(file)
