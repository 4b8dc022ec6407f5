"""`FileObject`: one file of a row, or on its way into one."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from typing import Self, cast

from filecolumn.backends.base import StorageBackend
from filecolumn.content import Content, Upload, checked_source
from filecolumn.described import Described
from filecolumn.errors import (
    CorruptFileMetadataError,
    FileColumnError,
    ObjectNotFoundError,
    PendingContentError,
)
from filecolumn.facts import FileFacts, Json, JsonObject, facts_from_row
from filecolumn.granted import GrantedFile
from filecolumn.handles import name_of
from filecolumn.naming import check_key, clean_filename, guess_content_type, new_key
from filecolumn.public import name_methods_after
from filecolumn.reading import ReadableFile
from filecolumn.registry import storages
from filecolumn.signed import SignableFile
from filecolumn.source import Source
from filecolumn.state import FileState, Phase
from filecolumn.taking import Take, take, take_async
from filecolumn.transfer import (
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
from filecolumn.value import FileValue, storage_name

__all__ = ("FileObject",)


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
        return import_module("filecolumn.pydantic_schema").file_schema()

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
