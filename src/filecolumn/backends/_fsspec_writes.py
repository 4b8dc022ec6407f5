"""Writes on fsspec that are all or nothing.

Object stores show an object when it is complete.  A filesystem that shows files while they are written,
such as SFTP, gets them under a temporary name, and a rename.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar, cast

from filecolumn.backends._errors import TAKEN
from filecolumn.backends._filesystems import (
    FileSystem,
    OpenFile,
    PlainFiles,
    bulk_delete,
    info_of,
    is_folder,
    pipe_options,
)
from filecolumn.backends._local import FOLDER_ATTEMPTS, FileChunks
from filecolumn.backends.base import PutOptions
from filecolumn.backends.streams import PART_SIZE, first_part
from filecolumn.naming import STAGE_FOLDER, uuid7_hex

__all__ = ("ObjectFiles", "StagedFiles", "object_files")

T = TypeVar("T")


class StagedFiles:
    """The files of one filesystem, by their paths in it; *prefix* is the folder that has the stage.

    *uploads_on_close* is true of a filesystem that finds out only then whether there is the folder.
    """

    def __init__(self, fs: PlainFiles, prefix: str, *, uploads_on_close: bool = False) -> None:
        self._fs = fs
        self._uploads_on_close = uploads_on_close
        self._folder = "/".join(filter(None, (prefix, STAGE_FOLDER)))

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Store *chunks* at *path*, all or nothing, in the place of what is there."""
        stage = f"{self._folder}/{uuid7_hex()}"
        try:
            if self._uploads_on_close:
                self._fs.makedirs(self._folder, exist_ok=True)
            with self._in_folder(stage, lambda: self._fs.open(stage, "wb")) as file:
                for chunk in chunks:
                    file.write(chunk)
            self._in_folder(path, lambda: self._fs.mv(stage, path))
        except BaseException:
            # what fails here, as after a lost connection, must not take the place of the first error
            with suppress(Exception):
                self._fs.rm_file(stage)
            raise

    def read(self, path: str, start: int, length: int | None) -> Iterator[bytes]:
        """Open the file and return its chunks."""
        file = self._fs.open(path, "rb")
        file.seek(start)
        return FileChunks(file, length)

    def remove(self, path: str) -> None:
        """Delete the file, if it is there and no folder."""
        try:
            # rm() would take the path for a pattern
            self._fs.rm_file(path)
        except FileNotFoundError:
            return
        except OSError:
            if not self._is_folder(path):
                raise

    def _is_folder(self, path: str) -> bool:
        try:
            info = info_of(self._fs, path)
        except Exception:  # noqa: BLE001 - the caller raises its own
            return False
        return info is not None and is_folder(info)

    def _in_folder(self, path: str, call: Callable[[], T]) -> T:
        """Return what *call* does at *path*, for which the folders are made, also if others remove them meanwhile."""
        for _ in range(FOLDER_ATTEMPTS - 1):
            try:
                return call()
            except FileNotFoundError:
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        return call()


Options = Mapping[str, object]
Description = Callable[[str, Mapping[str, str]], Options]
"""Makes the options that carry a media type and metadata."""
Tags = tuple[str | None, str | None]
"""The etag and the version of an object, as far as they are known."""


def _s3_description(content_type: str, metadata: Mapping[str, str]) -> Options:
    return {"ContentType": content_type, "Metadata": dict(metadata)}


def _gcs_description(content_type: str, metadata: Mapping[str, str]) -> Options:
    return {"content_type": content_type, "metadata": dict(metadata)}


def _azure_description(content_type: str, metadata: Mapping[str, str]) -> Options:
    # adlfs writes metadata of its own, and lets nobody add to it
    settings: Callable[..., object] = import_module("azure.storage.blob").ContentSettings
    return {"content_settings": settings(content_type=content_type)}


@dataclass(frozen=True, slots=True)
class _Kind:
    describe: Description
    create: Options
    """What makes a PUT fail if the key is taken."""
    etag: str
    version: str
    """What the answer to a PUT calls them."""
    sign_upload: Options | None = None
    """What makes a signature one for PUT, if it can be."""
    batch: int = 1
    """Keys that one request deletes."""


_KINDS: Mapping[str, _Kind] = {
    "s3": _Kind(
        _s3_description,
        {"mode": "create"},
        "ETag",
        "VersionId",
        {"client_method": "put_object"},
        batch=1000,
    ),
    "gs": _Kind(
        _gcs_description, {"mode": "create"}, "etag", "generation", {"method": "PUT", "version": "v4"}
    ),
    "abfs": _Kind(_azure_description, {"overwrite": False}, "etag", "version_id"),
}


class ObjectFiles:
    """The objects of one filesystem, by their paths in it."""

    def __init__(self, fs: FileSystem, kind: _Kind) -> None:
        self._fs = fs
        self._kind = kind
        self.batch: int = kind.batch
        self.sign_upload: Options | None = kind.sign_upload
        self.creates_atomically: bool = pipe_options(fs) >= kind.create.keys()
        """Whether this version of the filesystem knows the condition."""

    def write(
        self,
        path: str,
        chunks: Iterable[bytes],
        options: PutOptions,
        *,
        conditional: bool,
    ) -> Tags:
        """Store *chunks* and return the object's tags; FileExistsError for a path that must not be overwritten.

        Small content goes in one request, which is *conditional* where the service can be told so;
        else, and before large content, it is asked whether the path is free.
        """
        whole, rest = first_part(chunks, PART_SIZE)
        creates = options.get("mode", "create") == "create"
        if creates and (rest is not None or not conditional) and self._is_taken(path):
            raise FileExistsError(TAKEN)
        description = self._kind.describe(
            options.get("content_type") or "application/octet-stream", options.get("metadata") or {}
        )
        if rest is not None:
            return self._write_parts(path, rest, description)
        if creates and conditional:
            return self._create(path, whole, description)
        return self._tags_in(self._fs.pipe_file(path, whole, **description))

    def read(self, path: str, start: int, length: int | None) -> Iterator[bytes]:
        """Return the content in parts; the first is read at once, so small content is one request."""
        wanted = PART_SIZE if length is None else min(length, PART_SIZE)
        return self._parts(path, self._part(path, start, wanted), start, length)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete at most `batch` objects, in one request."""
        if self.batch > 1:
            # `rm` would take the paths for patterns, and ask for each whether it is there
            bulk_delete(self._fs, paths)
        else:
            for path in paths:
                self._fs.rm_file(path)

    def _is_taken(self, path: str) -> bool:
        info = info_of(self._fs, path)
        return info is not None and not is_folder(info)

    def _create(self, path: str, content: bytes, options: Options) -> Tags:
        try:
            return self._tags_in(self._fs.pipe_file(path, content, **options, **self._kind.create))
        except OSError as error:
            # s3fs makes EINVAL of "precondition failed"
            refused = isinstance(error, FileExistsError) or error.errno == errno.EINVAL
            if refused and self._is_taken(path):
                raise FileExistsError(TAKEN) from error
            if not isinstance(error, FileExistsError):
                raise
            # parts of a failed upload, which Azure keeps for a week, are no object
            return self._tags_in(self._fs.pipe_file(path, content, **options))

    def _write_parts(self, path: str, chunks: Iterable[bytes], options: Options) -> Tags:
        file = self._fs.open(path, "wb", block_size=PART_SIZE, autocommit=False, **options)
        answers = _noted_answers(file)
        try:
            for chunk in chunks:
                file.write(chunk)
            file.close()
            file.commit()
        except BaseException:
            # else the parts are kept, and paid for; its own error must not take the place of the first
            with suppress(Exception):
                file.discard()
            # or a forgotten file confirms what was written so far
            file.closed = True
            raise
        # the last answer is that to the completion; other files remember the version, if anything
        return self._tags_in(
            answers[-1] if answers else {self._kind.version: getattr(file, self._kind.version, None)}
        )

    def _tags_in(self, answer: object) -> Tags:
        """Return what the answer to a PUT tells of the object."""
        facts: Mapping[str, object] = cast("Options", answer) if isinstance(answer, Mapping) else {}
        etag, version = facts.get(self._kind.etag), facts.get(self._kind.version)
        # what adlfs says of an object has its version only if it was told so
        is_known = self._kind.version != "version_id" or getattr(self._fs, "version_aware", False)
        return str(etag) if etag else None, str(version) if version and is_known else None

    def _parts(self, path: str, first: bytes, start: int, length: int | None) -> Iterator[bytes]:
        part, at, left = first, start, length
        while part:
            yield part
            at += len(part)
            left = None if left is None else left - len(part)
            if len(part) < PART_SIZE or left == 0:
                return
            part = self._part(path, at, PART_SIZE if left is None else min(left, PART_SIZE))

    def _part(self, path: str, start: int, wanted: int) -> bytes:
        try:
            return self._fs.cat_file(path, start=start, end=start + wanted)
        except FileNotFoundError:
            raise
        except Exception:
            # a range past the end, which each service refuses in a way of its own
            info = self._fs.info(path)
            size = info.get("size")
            if not is_folder(info) and isinstance(size, int) and start >= size:
                return b""
            raise


def _noted_answers(file: OpenFile) -> list[object]:
    """Return where the answers to the requests of *file* are noted: s3fs keeps nothing of them."""
    answers: list[object] = []
    call: Callable[..., object] | None = getattr(file, "_call_s3", None)
    if call is None:
        return answers

    def noted(*arguments: object, **options: object) -> object:
        answer = call(*arguments, **options)
        answers.append(answer)
        return answer

    setattr(file, "_call_s3", noted)  # noqa: B010 - no protocol has it
    return answers


def object_files(fs: FileSystem) -> ObjectFiles | None:
    """Return the objects of *fs*, or None if it is not over an object store that is known here."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}
    kind = next((kind for protocol, kind in _KINDS.items() if protocol in protocols), None)
    return None if kind is None else ObjectFiles(fs, kind)
