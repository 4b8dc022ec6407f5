"""`FileObject`: one file of a row, or on its way into one."""

# pyright: reportPrivateUsage=false
# functions beside the class are its friends, where no user sees them
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import SEEK_SET
from pathlib import Path
from types import EllipsisType
from typing import BinaryIO, Protocol, Self, cast

from filecolumn._threads import aclosing, closing, completed
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.backends.registry import storages
from filecolumn.backends.streams import NamedReader
from filecolumn.content.digest import Rechunker
from filecolumn.content.handles import local_path, name_of
from filecolumn.content.sources import CHUNK_SIZE, Content, Source, Upload, checked_source
from filecolumn.errors import (
    BackendNotRegisteredError,
    ChecksumMismatchError,
    CorruptFileMetadataError,
    FileColumnError,
    InvalidGrantError,
    NotSupportedError,
    ObjectNotFoundError,
    PendingContentError,
)
from filecolumn.files.facts import (
    FileFacts,
    Json,
    JsonObject,
    checked_metadata,
    facts_from_row,
    known_time,
    public_from_facts,
    read_only,
    row_from_facts,
)
from filecolumn.files.grants import (
    Disposition,
    Signing,
    UploadGrant,
    check_size,
    granted_facts,
    missing_upload,
    plan_download,
    plan_upload,
    public_url,
    verified_grant,
    verified_input,
)
from filecolumn.files.state import (
    LOADED,
    NOT_LOADED,
    AllowedBackends,
    Consumed,
    FileState,
    FromColumn,
    Granted,
    Origin,
    Parent,
    Pending,
    Removed,
    Staged,
    Stored,
)
from filecolumn.files.steps import Steps, either, run, run_async
from filecolumn.files.taking import Take, take
from filecolumn.files.transfer import (
    Copy,
    Found,
    Put,
    copy,
    discard,
    look_up,
    put,
    put_async,
    read_back,
)
from filecolumn.naming import (
    check_content_type,
    check_key,
    clean_filename,
    guess_content_type,
    new_key,
    uuid7_hex,
)
from filecolumn.signing import Claims, seconds_of

__all__ = (
    "AsyncFile",
    "FileObject",
    "FileReader",
    "file_from_row",
    "file_reader",
    "file_state",
    "file_with",
    "files_from_rows",
    "freed",
    "is_from_other",
    "is_untouched",
    "no_content",
    "row_facts",
    "set_parent",
    "storage_name",
    "take_file",
    "undecoded",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FileObject:
    """A file: its facts, and its content, which is stored or waits to be.

    `FileObject("report.pdf", content=Path("report.pdf"))`, assigned to an attribute of a model, is stored
    by the session's next flush.  Give *content*, or *source_path* as the path of a local file, not both.

    *filename* may be left out where the content has a name of its own, else TypeError.  *content_type* is
    guessed from the name if it is not given.  *backend* is the key of a storage, by default the column's;
    *to_filename* is a key that you choose, by default filecolumn makes one.  *metadata* is your own data:
    a JSON object of at most 64 KiB and 8 levels, else ContentRejectedError.

    A file belongs to one task or thread at a time, as a session does.
    """

    __slots__ = ("__weakref__", "_holder", "_origin", "_row", "_state")

    # A loaded file has the first three, and `_state` is None: most rows are loaded and never looked at.  `file_state`
    # makes the state of them when more is needed than facts.  Any other file has its state from the beginning, and
    # only that.
    _holder: object
    """What the origin makes the parent of."""
    _origin: Origin
    _row: object
    """The JSON of the row; its facts once it is decoded."""
    _state: FileState | None

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
        self._state = FileState(Pending(source), facts, given_key=given_key)

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

        The file gets the upload's name and media type, cleaned.  The upload is read when the file is saved or
        flushed, which must be within its request, and from its beginning, whatever was read from it before.

        Raises ContentRejectedError (code `no_file`) for an upload with neither a name nor content: browsers send
        that for a file input in which nothing was chosen.  A file with a name may be empty.
        """
        return cls(
            name_of(upload) if filename is None else filename,
            backend=backend,
            content=cast("Content", upload),
            content_type=getattr(upload, "content_type", None) or None,
            metadata=metadata,
        )

    @classmethod
    def from_input(cls, value: object) -> FileObject:
        """Make a file of what a client sent: an upload object, or the token of a grant.

        A grant with a subject must be that of the current one (`subject_source`).  Raises ValueError for anything
        else, so a client cannot choose a key or a storage.
        """
        match value:
            case FileObject():
                return value
            case str() if value:
                try:
                    claims = verified_input(value)
                except InvalidGrantError as error:
                    raise ValueError(str(error)) from error
                except NotSupportedError as error:
                    # without a signing key no text is a grant
                    raise ValueError(_EXPECTED) from error
                return cls._of(FileState(Granted(), granted_facts(claims), grant=claims))
            case list():
                raise ValueError("one file is expected here, and several were sent")
            case _ if callable(getattr(value, "read", None)) and hasattr(value, "filename"):
                return cls.from_upload(cast("Upload", value))
            case _:
                raise ValueError(_EXPECTED)

    @classmethod
    def from_grant(cls, token: str, *, subject: str | None = None) -> Self:
        """Make a file of what a client uploaded with `grant_upload`; the client sends *token* back.

        This call only looks whether the upload is there and small enough.  The flush copies it to a key that no
        client knows, by the storage itself where it can, and counts, hashes and validates the copy.  If the column
        refuses it, or the transaction is rolled back, the copy is deleted and the upload stays, so the token can be
        used again.  A commit uses the grant up: another file of the same upload raises InvalidGrantError.

        Raises InvalidGrantError for a token that is not valid, or is not *subject*'s; FileTooLargeError for an
        upload above the grant's `max_size`; ObjectNotFoundError if nothing was uploaded, or it was used up.
        """
        return run(cls._from_grant(token, subject))

    @classmethod
    async def from_grant_async(cls, token: str, *, subject: str | None = None) -> Self:
        """Call `from_grant` asynchronously."""
        return await run_async(cls._from_grant(token, subject))

    @classmethod
    def _from_grant(cls, token: str, subject: str | None) -> Steps[Self]:
        claims = verified_grant(token, subject=subject)
        try:
            backend = storages.get(claims.backend)
            stat = yield from either(backend.stat, backend.stat_async, claims.key)
        except ObjectNotFoundError as error:
            raise missing_upload(claims) from error
        check_size(claims, stat.size)
        facts = replace(granted_facts(claims), size=stat.size)
        return cls._of(FileState(Granted(), facts, grant=claims))

    @classmethod
    def from_key(
        cls,
        key: str,
        *,
        backend: str | StorageBackend | None = None,
        filename: str | None = None,
        checksum: bool = False,
    ) -> Self:
        """Make a file of an object that is in a storage already, such as one that another program stored.

        One request asks the storage for its facts; with *checksum* the content is read and hashed too.  Without
        *filename* the file is named by the last part of the key.  *backend* is the key of the storage, by default
        `storages.default`.

        A flush within 6 hours attaches the object to one row, without a copy; later it raises StaleUploadError.
        A second row that gets it raises ObjectExistsError.  Where the column has no ledger, the row gets a copy.
        After a rollback the object stays, and can be attached again.

        From the commit on the row owns the object, so it is deleted with the row, unless another row names it.
        Never take *key* from a client: it could name anybody's file.

        Raises ObjectNotFoundError if there is no such object, and InvalidKeyError for a key that is not valid
        or is in filecolumn's own folder.
        """
        return cls._found(run(look_up(_look_up_plan(key, backend, filename, checksum=checksum))))

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
        return cls._found(await run_async(look_up(_look_up_plan(key, backend, filename, checksum=checksum))))

    @classmethod
    def _found(cls, facts: FileFacts) -> Self:
        return cls._of(FileState(Staged(time.time(), is_found=True), facts))

    @classmethod
    def from_dict(cls, row: Mapping[str, Json]) -> Self:
        """Return the file that *row* describes, as if a column had loaded it: the inverse of `to_dict`.

        The file counts as owned by a row: an attribute that gets it stores a copy, and its storage must be one of
        that column's, else BackendMismatchError.

        Raises CorruptFileMetadataError if *row* does not describe a file, or describes one that was not saved.
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
        return cls._of(FileState(LOADED, facts))

    @classmethod
    def _of(cls, state: FileState) -> Self:
        self = cls.__new__(cls)
        self._state = state
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        """Let pydantic models have files; pydantic calls it, and is imported by nothing else here."""
        from filecolumn.files._pydantic import file_schema  # noqa: PLC0415 - pydantic may be missing

        return file_schema(cls.from_input, FileObject.public_dict)

    # Facts

    @property
    def _facts(self) -> FileFacts:
        if self._state is not None:
            return self._state.facts
        row = self._row
        if isinstance(row, FileFacts):
            return row
        try:
            facts = self._row = facts_from_row(row)
        except CorruptFileMetadataError:
            # the state says which row it is
            return file_state(self).facts
        return facts

    @property
    def filename(self) -> str:
        """The name that the user gave the file, cleaned and without folders; never None."""
        return self._facts.filename

    @property
    def path(self) -> str | None:
        """The key in the storage; None before the file is saved, unless you chose one."""
        return self._facts.key

    @property
    def backend_key(self) -> str | None:
        """The key of the storage in the registry; None if the column's, or else the default, will be used."""
        return self._facts.backend

    @property
    def size(self) -> int | None:
        """Bytes of the content, as they were stored; None before the file is saved."""
        return self._facts.size

    @property
    def checksum(self) -> str | None:
        """`sha256:<hex>` of the bytes that were stored; None before the file is saved."""
        return self._facts.checksum

    @property
    def content_type(self) -> str:
        """The media type: the declared one, else that of the file name; corrected if the stored bytes disprove it."""
        return self._facts.content_type

    @property
    def etag(self) -> str | None:
        """The storage's own tag of the content; None if it gave none."""
        return self._facts.etag

    @property
    def version_id(self) -> str | None:
        """The storage's own version of the object; None if it keeps no versions."""
        return self._facts.version_id

    @property
    def last_modified(self) -> float | None:
        """When the content was stored, in seconds since the epoch, UTC; None before the file is saved."""
        return self._facts.last_modified

    @property
    def modified_at(self) -> datetime | None:
        """`last_modified` as a `datetime` in UTC; None if it is not known, or Python has no such date."""
        seconds = self._facts.last_modified
        if seconds is None:
            return None
        try:
            return _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            # another program may have written milliseconds
            return None

    @property
    def metadata(self) -> Mapping[str, Json]:
        """Your own data, a JSON object.

        What you read is read-only, nested values too.  To change it, assign a new mapping or call
        `update_metadata`; the next flush writes it.  An assignment raises TypeError for what is not
        JSON-serialisable, and ContentRejectedError above 64 KiB or 8 levels.
        """
        return read_only(self._facts.metadata)

    @metadata.setter
    def metadata(self, metadata: JsonObject) -> None:
        self._change(replace(self._facts, metadata=checked_metadata(metadata)))

    def update_metadata(self, metadata: JsonObject) -> None:
        """Add the items of *metadata*, replacing those of the same names; the next flush writes them.

        Raises TypeError for what is not JSON-serialisable, and ContentRejectedError above 64 KiB or 8 levels.
        """
        self.metadata = {**self._facts.metadata, **metadata}

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON object that a row has for this file."""
        return row_from_facts(self._facts)

    def public_dict(self) -> dict[str, Json]:
        """Return the JSON object for clients: `filename, content_type, size, checksum, last_modified, url`.

        `url` reads the content for an hour, or up to 15 minutes more.  It is None without a signing key
        (`storages.signer`) and for a file that is not saved.
        """
        return public_from_facts(self._facts, public_url(file_state(self)))

    @property
    def backend(self) -> StorageBackend:
        """The storage, looked up in the registry; BackendNotRegisteredError if it is not there."""
        return storages.get(file_state(self).storage_name())

    @property
    def protocol(self) -> str:
        """The kind of the storage, as in a URL: `file`, `s3`..."""
        return self.backend.protocol

    @property
    def has_pending_data(self) -> bool:
        """Whether content waits to be stored; `b""` is content too."""
        return file_state(self).source is not None

    @property
    def is_saved(self) -> bool:
        """Whether the content is in the storage."""
        return file_state(self).content.is_saved

    def _change(self, facts: FileFacts) -> None:
        state = file_state(self)
        if facts != state.facts:
            if state.parent is not None:
                state.parent.changed(self)
            state.change(facts)

    # Reading

    def get_content(self) -> bytes:
        """Return the whole content as `bytes`; ObjectNotFoundError if the object is missing."""
        backend, key = file_state(self).located()
        return backend.get_bytes(key)

    async def get_content_async(self) -> bytes:
        """Call `get_content` asynchronously."""
        backend, key = file_state(self).located()
        return await backend.get_bytes_async(key)

    def stream(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> Iterator[bytes]:
        """Yield the content from byte *start* on, at most *length* bytes, in chunks of *chunk_size* bytes.

        The last chunk may be shorter.  ValueError for a negative *start* or *length*.
        """
        backend, key = file_state(self).located()
        cut = Rechunker(chunk_size)
        with closing(backend.get(key, start=start, length=length)) as chunks:
            for chunk in chunks:
                yield from cut.feed(chunk)
        yield from cut.end()

    async def stream_async(
        self, start: int = 0, length: int | None = None, chunk_size: int = CHUNK_SIZE
    ) -> AsyncGenerator[bytes]:
        """Call `stream` asynchronously."""
        backend, key = file_state(self).located()
        cut = Rechunker(chunk_size)
        # else it holds its descriptor or connection until the event loop comes to it
        async with aclosing(await backend.get_async(key, start=start, length=length)) as chunks:
            async for chunk in chunks:
                for piece in cut.feed(chunk):
                    yield piece
        for piece in cut.end():
            yield piece

    def open(self, mode: str = "rb") -> BinaryIO:
        """Return a seekable, read-only binary file, whose `name` is the file name; close it after use.

        ValueError for any *mode* but `rb`.
        """
        _check_mode(mode)
        backend, key = file_state(self).located()
        return NamedReader.over(backend.open(key), self.filename)

    @asynccontextmanager
    async def open_async(self, mode: str = "rb") -> AsyncGenerator[AsyncFile]:
        """Open asynchronously: `async with file.open_async() as f`, with `read`, `seek` and `tell`."""
        _check_mode(mode)
        backend, key = file_state(self).located()
        yield AsyncFile(backend, key, (await backend.stat_async(key)).size, self.filename)

    def download(self, path: str | os.PathLike[str]) -> Path:
        """Write the content to the local *path* and return the path of the file; it appears whole or not at all.

        If *path* is an existing folder, the file is written into it under its `filename`.  An existing file is
        replaced; of a symbolic link the link is replaced, not its target.

        Raises FileNotFoundError for a folder that does not exist, and OSError if the file cannot be written.
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
        """Return whether the object is in the storage; False for a file that is not saved."""
        if not self.is_saved:
            return False
        backend, key = file_state(self).located()
        return backend.exists(key)

    async def exists_async(self) -> bool:
        """Call `exists` asynchronously."""
        if not self.is_saved:
            return False
        backend, key = file_state(self).located()
        return await backend.exists_async(key)

    def refresh(self) -> None:
        """Read size, etag, version and time from the storage again; the next flush writes what differs.

        The checksum stays: `verify` compares it with the content.
        """
        backend, key = file_state(self).located()
        self._refreshed(backend.stat(key))

    async def refresh_async(self) -> None:
        """Call `refresh` asynchronously."""
        backend, key = file_state(self).located()
        self._refreshed(await backend.stat_async(key))

    def _refreshed(self, stat: Stat) -> None:
        facts = self._facts
        self._change(
            replace(
                facts,
                size=stat.size,
                etag=stat.etag or facts.etag,
                version_id=stat.version_id or facts.version_id,
                last_modified=known_time(stat.last_modified, facts.last_modified),
            )
        )

    def verify(self) -> None:
        """Read the whole content; ChecksumMismatchError if its size or checksum is not that of the row.

        Raises NotSupportedError for a row without a checksum, such as advanced-alchemy wrote.
        """
        run(self._verify())

    async def verify_async(self) -> None:
        """Call `verify` asynchronously."""
        await run_async(self._verify())

    def _verify(self) -> Steps[None]:
        if self.checksum is None and self.is_saved:
            raise NotSupportedError(f"nothing to verify {self.filename!r} by: its row has no checksum")
        meter = yield from read_back(*file_state(self).located())
        if (meter.checksum, meter.size) != (self.checksum, self.size):
            raise ChecksumMismatchError(
                f"the content of {self.filename!r} is {meter.size} bytes with {meter.checksum}, "
                f"and its facts say {self.size} bytes with {self.checksum}"
            )

    # Storing

    def save(self, data: Content | None = None) -> FileObject:
        """Store the content now, or *data* in its place, and return this file; a later flush only attaches it.

        This is called staging.  A file that is staged already stays as it is, unless *data* is given.  The
        upload of a grant is copied.

        Raises ObjectExistsError if a key that you chose is taken, OwnedFileError for a file of a row, and
        PendingContentError without content.
        """
        run(self._save(data))
        return self

    async def save_async(self, data: Content | None = None) -> FileObject:
        """Call `save` asynchronously; a cancelled one leaves nothing behind."""
        await run_async(self._save(data))
        return self

    def _save(self, data: Content | None) -> Steps[None]:
        state = file_state(self)
        if data is None and (taking := self._take_plan()) is not None:
            state.stage((yield from take(taking)))
        elif (op := self._save_plan(data)) is not None:
            replaced = self._place()
            try:
                with self._saving(op.source):
                    state.stage((yield from either(put, put_async, op)))
            except asyncio.CancelledError:
                yield from discard(op)
                raise
            state.grant = None
            if replaced is not None:
                backend, key = replaced
                yield from either(backend.delete, backend.delete_async, [key])

    def copy(self, *, backend: str | None = None, filename: str | None = None) -> FileObject:
        """Store a copy of the content under a new key, and return its staged file.

        The storage copies by itself where it can.  *backend* is the key of the storage for the copy, by default
        this file's; *filename* is the copy's name.  A copy of a file from a grant shares the grant: a row can get
        the file or the copy, not both.
        """
        return run(self._copy(backend, filename))

    async def copy_async(self, *, backend: str | None = None, filename: str | None = None) -> FileObject:
        """Call `copy` asynchronously; a cancelled one leaves nothing behind."""
        return await run_async(self._copy(backend, filename))

    def _copy(self, backend: str | None, filename: str | None) -> Steps[Self]:
        if (taking := self._take_plan(backend, filename)) is not None:
            return self._copied((yield from take(taking)))
        op = self._copy_plan(backend, filename)
        try:
            return self._copied((yield from copy(op)))
        except asyncio.CancelledError:
            yield from discard(op)
            raise

    def delete(self) -> None:
        """Delete the content of a file that no row owns; OwnedFileError if a row owns it.

        An object that is missing already is no error.
        """
        backend, key = self._deletable()
        backend.delete([key])
        file_state(self).remove()

    async def delete_async(self) -> None:
        """Call `delete` asynchronously."""
        backend, key = self._deletable()
        await backend.delete_async([key])
        file_state(self).remove()

    def _save_plan(self, data: Content | None) -> Put | None:
        state = file_state(self)
        if data is None and isinstance(state.content, Staged):
            return None
        state.check_unowned()
        source = state.source if data is None else checked_source(data)
        if source is None:
            raise no_content(self)
        source.check()
        name = state.storage_name()
        key = state.given_key or new_key(self.filename)
        facts = replace(state.facts, backend=name)
        return Put(storages.get(name), key, source, facts, fresh=state.given_key is None)

    def _copy_plan(self, backend: str | None, filename: str | None) -> Copy:
        state = file_state(self)
        origin, origin_key = state.located()
        name = self.filename if filename is None else clean_filename(filename)
        target = storages.resolve(backend) if backend is not None else state.storage_name()
        copied = replace(state.facts, filename=name, backend=target)
        return Copy(origin, origin_key, storages.get(target), new_key(name), copied)

    def _take_plan(self, backend: str | None = None, filename: str | None = None) -> Take | None:
        """Return what copies an upload that no row has taken yet; None for any other file."""
        state = file_state(self)
        if state.grant is None or not isinstance(state.content, Granted):
            return None
        op = self._copy_plan(backend, filename)
        return Take(op.origin, op.origin_key, op.backend, op.key, op.facts, grant=state.grant)

    def _copied(self, facts: FileFacts) -> Self:
        return self._of(FileState(Staged(time.time()), facts, grant=file_state(self).grant))

    def _place(self) -> tuple[StorageBackend, str] | None:
        return file_state(self).located() if self.is_saved else None

    def _deletable(self) -> tuple[StorageBackend, str]:
        file_state(self).check_unowned()
        return file_state(self).located()

    @contextmanager
    def _saving(self, source: Source) -> Generator[None]:
        """Keep the state true when a save fails: content that can be read once only is gone."""
        try:
            yield
        except BaseException:
            if not self.is_saved and source.is_spent:
                file_state(self).consume()
            raise

    # Signing

    def sign(
        self,
        *,
        expires_in: float | timedelta = 3600,
        for_upload: bool = False,
        disposition: Disposition | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> str:
        """Return a URL that reads the content for *expires_in*, or with *for_upload* one that accepts a PUT.

        *expires_in* is in seconds, or a `timedelta`; ValueError for more than 7 days.

        The storage signs if it can and no option but *expires_in* is given.  Else the URL leads to the route of
        the Litestar plugin (`storages.signer`), which works on every storage.  NotSupportedError if neither
        can sign.

        *disposition* (`inline` or `attachment`), *filename* and *content_type* are what the reader gets, by
        default the file's own.  *subject* is whom the URL is for.  *max_size*, in bytes, and *column* are for
        uploads: see `grant_upload`, which returns the token too.
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
        expires_in: float | timedelta = 3600,
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
        expires_in: float | timedelta = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> UploadGrant:
        """Return what a client needs to upload this file's content by itself, within *expires_in*.

        *expires_in* is in seconds, or a `timedelta`.  The content goes straight to the storage if it can sign,
        else through the plugin's route.  The client then sends the token back, for `from_grant`.

        The grant is limited to at most *max_size* bytes, to the declared *content_type*, to *column* (such as
        `Document.file`, or its name), and to *subject* (such as a user's id).  The column's own limits count
        too: its `max_size` if that is smaller, and its storage if the file names none.

        Raises ContentTypeRejectedError for a *content_type* that the column does not accept, NotSupportedError
        without a signing key, TypeError for a *column* that is not a file column, and ValueError for more than
        7 days or a *max_size* below 0.
        """
        plan = plan_upload(
            file_state(self),
            expires_in,
            content_type=content_type,
            max_size=max_size,
            column=column,
            subject=subject,
        )
        return plan.grant(plan.signing.url())

    async def grant_upload_async(
        self,
        *,
        expires_in: float | timedelta = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        column: object = None,
        subject: str | None = None,
    ) -> UploadGrant:
        """Call `grant_upload` asynchronously."""
        plan = plan_upload(
            file_state(self),
            expires_in,
            content_type=content_type,
            max_size=max_size,
            column=column,
            subject=subject,
        )
        return plan.grant(await plan.signing.url_async())

    def _sign_plan(
        self,
        expires_in: float | timedelta,
        *,
        for_upload: bool,
        disposition: Disposition | None,
        filename: str | None,
        content_type: str | None,
        max_size: int | None,
        column: object,
        subject: str | None,
    ) -> Signing:
        state = file_state(self)
        if not for_upload:
            return plan_download(
                state,
                expires_in,
                disposition=disposition,
                filename=filename,
                content_type=content_type,
                subject=subject,
            )
        if self.is_saved:
            return Signing(*state.located(), "PUT", seconds_of(expires_in))
        if state.given_key is not None:
            return Signing(self.backend, state.given_key, "PUT", seconds_of(expires_in))
        plan = plan_upload(
            state,
            expires_in,
            content_type=content_type,
            max_size=max_size,
            column=column,
            subject=subject,
        )
        return plan.signing

    # Identity

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FileObject):
            return NotImplemented
        own, others = file_state(self), file_state(other)
        return own.content.has_key and others.content.has_key and own.identity() == others.identity()

    def __hash__(self) -> int:
        if not file_state(self).content.has_key:
            raise TypeError("a FileObject is hashable once it is saved")
        # without the storage, of which the name may become an alias
        return hash(self._facts.key)

    def __str__(self) -> str:
        """Return the file's name, as templates show it."""
        try:
            return self.filename
        except CorruptFileMetadataError:
            return repr(self)

    def __repr__(self) -> str:
        try:
            facts = self._facts
        except CorruptFileMetadataError as error:
            return f"<{type(self).__name__} corrupt: {error}>"
        content = file_state(self).content
        place = _printable(f"{facts.backend}:{facts.key}") if content.is_saved else content.name
        return f"<{type(self).__name__} {facts.filename!r} {place} {facts.size} bytes {facts.content_type}>"

    def __reduce__(self) -> tuple[object, ...]:
        # Never content, credentials or a backend.  A copy of a staged file is not attachable: two rows could come to
        # share one object; it is copied instead, as a stored one is.  A copy of what a grant has given is no second
        # file
        state = file_state(self)
        match state.content:
            case Pending():
                content = Consumed.name
            case Staged():
                content = Stored.name
            case _:
                content = state.content.name
        facts = state.unflushed or state.known
        return _restored, (type(self), content, facts, state.row, state.allowed, state.grant)


def _restored(  # noqa: PLR0917 - what `__reduce__` passes
    cls: type[FileObject],
    content: str,
    facts: FileFacts | None,
    row: object,
    allowed: AllowedBackends | None,
    grant: Claims | None,
) -> FileObject:
    return cls._of(FileState(_RESTORED[content], facts, row, allowed, grant=grant))


_RESTORED: Mapping[str, Granted | Stored | Consumed | Removed] = {
    content.name: content for content in (Granted(), LOADED, Consumed(), Removed())
}


# What the ORM and other parts of the library do with a file.  They are friends of the class: a user has no need of them


def file_state(file: FileObject) -> FileState:
    """Return the state of a file, made on first use."""
    if (state := file._state) is None:
        row, origin = file._row, file._origin
        facts, row = (row, None) if isinstance(row, FileFacts) else (None, row)
        state = file._state = FileState(LOADED, facts, row, origin.allowed, origin.parent_of(file._holder))
        del file._row, file._origin, file._holder
    return state


def file_with(state: FileState, cls: type[FileObject] = FileObject) -> FileObject:
    """Return a file with this state."""
    return cls._of(state)


def file_from_row(
    row: object, allowed: AllowedBackends | None = None, parent: Parent | None = None
) -> FileObject:
    """Return the file of a row's JSON, text or decoded by the driver, which is read on first use."""
    (file,) = files_from_rows((row,), FromColumn(allowed), parent)
    return file


def files_from_rows(rows: Iterable[object], origin: FromColumn, parent: Parent | None) -> list[FileObject]:
    """Return the files of several rows' JSON."""
    new = FileObject.__new__
    files: list[FileObject] = []
    for row in rows:
        file = new(FileObject)
        file._row = row
        file._origin = origin
        file._holder = parent
        file._state = None
        files.append(file)
    return files


class FileReader(Protocol):
    """Makes the value of a row's column; None for SQL NULL."""

    def __call__(self, value: object) -> FileObject | None: ...


def file_reader(allowed: AllowedBackends) -> FileReader:
    """Return what makes the file of each row that a column with these storages loads."""
    new = FileObject.__new__
    origin = FromColumn(allowed)

    def read(value: object) -> FileObject | None:
        # Every SELECT comes here for every row, so it calls nothing of ours.  advanced-alchemy writes JSON's null
        # for None
        if value is None or value == "null":
            return None
        file = new(FileObject)
        file._row = value
        file._origin = origin
        file._holder = NOT_LOADED
        file._state = None
        return file

    return read


def take_file(file: FileObject, origin: Origin, holder: object) -> bool:
    """Take note that an attribute has loaded the file, of which *origin* makes the parent on first use.

    Returns false, and leaves the file as it is, if it is looked at already, or another column has loaded it.
    """
    if file._state is not None or file._origin.allowed is not origin.allowed:
        return False
    file._origin, file._holder = origin, holder
    return True


def row_facts(file: FileObject) -> FileFacts:
    """Return the facts that the row has; CorruptFileMetadataError if it has none."""
    return file._facts if file._state is None else file._state.row_facts


def is_untouched(file: FileObject) -> bool:
    """Return whether a row has the file just as it is."""
    return file._state is None or file._state.is_untouched


def undecoded(file: FileObject) -> object:
    """Return the JSON of the row that the file was loaded from; None once it is decoded."""
    if file._state is not None:
        return file._state.row
    return None if isinstance(file._row, FileFacts) else file._row


def is_from_other(file: FileObject, allowed: AllowedBackends) -> bool:
    """Return whether another column than the one with these storages has just loaded the file."""
    state = file_state(file)
    return state.parent is NOT_LOADED and state.allowed is not allowed


def set_parent(file: FileObject, parent: Parent | None) -> None:
    """Tell *parent* of changes from now on."""
    if file._state is None and isinstance(file._origin, FromColumn):
        file._holder = parent
    else:
        file_state(file).parent = parent


def freed(file: FileObject) -> FileObject:
    """Return the file, free for another attribute if the instance that it was loaded with is gone."""
    state = file_state(file)
    if state.parent is not None and state.parent.is_gone:
        state.parent = None
    return file


def no_content(file: FileObject) -> FileColumnError:
    """Return the error for a file that has nothing to store."""
    state, name = file_state(file), file.filename
    match state.content:
        case Pending():
            return PendingContentError(f"{name!r} has no content; pass content=... or source_path=...")
        case Removed():
            return ObjectNotFoundError(
                f"the content of {name!r} was deleted, perhaps with the row that had it; give each row a FileObject "
                "of its own, made by a function (default_factory=lambda: FileObject(name, content=data)), or where "
                "the row is made"
            )
        case _:
            pass
    try:
        state.located()
    except FileColumnError as error:
        return error
    raise AssertionError(file)


class AsyncFile:
    """A seekable, read-only binary file whose methods are awaited, from `FileObject.open_async`."""

    def __init__(self, backend: StorageBackend, key: str, size: int, name: str) -> None:
        self.name: str = name
        self._backend = backend
        self._key = key
        self._size = size
        self._position = 0

    async def read(self, size: int = -1) -> bytes:
        """Return the next *size* bytes, or fewer at the end; all the rest if *size* is negative."""
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
        """Move to a position and return it, in bytes from the start; *whence* as for `io.IOBase.seek`."""
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise ValueError(f"cannot seek to byte {position}")
        self._position = position
        return position

    async def tell(self) -> int:
        """Return the position at which the next `read` starts, in bytes from the start."""
        return self._position


_EXPECTED = (
    "a file is sent as a part of a multipart form, or as the grant of an upload; nothing else is accepted"
)


def storage_name(backend: str | StorageBackend | None) -> str | None:
    """Return the key of the storage that a caller named; BackendNotRegisteredError for an unregistered backend."""
    if not isinstance(backend, StorageBackend):
        return backend
    if not storages.is_registered(backend.key) or storages.get(backend.key) is not backend:
        raise BackendNotRegisteredError(
            f"{backend!r} is not registered; call storages.register_backend(...) first"
        )
    return backend.key


def _look_up_plan(
    key: str, backend: str | StorageBackend | None, filename: str | None, *, checksum: bool
) -> Found:
    name = storages.resolve(storage_name(backend) or storages.default)
    filename = clean_filename(check_key(key).rpartition("/")[2] if filename is None else filename)
    facts = FileFacts(filename=filename, key=key, backend=name, content_type=guess_content_type(filename))
    return Found(storages.get(name), facts, is_hashed=checksum)


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
