"""Content is read from its beginning wherever it can be set back, and only whole content is stored."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import tarfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing, nullcontext
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile, TemporaryFile
from typing import Any, cast

import anyio
import obstore
import pytest
from obstore.store import LocalStore

from filecolumn import FileObject, FileTooLargeError, SourceConsumedError, SourceReadError
from filecolumn.backends.base import StorageBackend
from filecolumn.content.policy import ContentPolicy
from filecolumn.content.sources import CHUNK_SIZE
from filecolumn.files.file import file_state
from tests.scenarios.files import Call, call, keys, memory

__all__ = ("call", "memory")

DATA = bytes(range(256)) * 10_000  # 2.5 MB


class Unseekable(io.BytesIO):
    """As a pipe."""

    def seekable(self) -> bool:
        return False


class SaysNothing:
    """As a file that has no `seekable`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.read = self._file.read
        self.seek = self._file.seek
        self.close = self._file.close

    @property
    def closed(self) -> bool:
        return self._file.closed


class Raises(io.BytesIO):
    def seekable(self) -> bool:
        raise AttributeError("'_Stream' object has no attribute 'seekable'")


class Forwards:
    """As werkzeug's `FileStorage`: a protocol's `isinstance` does not see what it has."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def __iter__(self) -> object:
        raise NotImplementedError


class Stuck(io.BytesIO):
    """As a decompressor over a pipe."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


class StuckAndSaysNothing:
    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


class StuckUpload:
    filename = "a.bin"

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    async def seek(self, offset: int) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


def on_disk(folder: Path, data: bytes) -> Path:
    path = folder / "content.bin"
    path.write_bytes(data)
    return path


def zipped(folder: Path, data: bytes) -> Any:
    path = folder / "content.gz"
    path.write_bytes(gzip.compress(data, 1))
    return gzip.GzipFile(path)


WRITTEN: dict[str, Callable[[], Any]] = {
    "bytesio": io.BytesIO,
    "temporary": TemporaryFile,
    "named temporary": NamedTemporaryFile,
    "spooled": SpooledTemporaryFile,
    "rolled": partial(SpooledTemporaryFile, 10),
    "memory map": partial(mmap.mmap, -1, len(DATA)),
}
READ: dict[str, Callable[[Path, bytes], Any]] = {
    "opened": lambda folder, data: on_disk(folder, data).open("rb"),
    "unbuffered": lambda folder, data: on_disk(folder, data).open("rb", buffering=0),
    "gzip": zipped,
    "forwarding": lambda _, data: Forwards(data),
    "without seekable": lambda _, data: SaysNothing(data),
}


@pytest.mark.parametrize("kind", WRITTEN)
async def test_a_file_that_was_just_written_is_stored_whole(
    memory: StorageBackend, call: Call, kind: str
) -> None:
    with WRITTEN[kind]() as content:
        content.write(DATA)
        file = await call(FileObject("a.bin", content=content), "save")
        assert file.get_content() == DATA
        assert not content.closed


@pytest.mark.parametrize("kind", READ)
async def test_a_file_that_somebody_has_read_from_is_stored_whole(
    memory: StorageBackend, call: Call, tmp_path: Path, kind: str
) -> None:
    content = READ[kind](tmp_path, DATA)
    try:
        content.read(10)
        file = await call(FileObject("a.bin", content=content), "save")
        assert file.get_content() == DATA
        assert not content.closed
    finally:
        content.close()


@pytest.mark.parametrize("kind", [Unseekable, Raises])
async def test_a_file_that_cannot_seek_or_raises_when_asked_is_read_from_where_it_stands(
    memory: StorageBackend, call: Call, kind: Callable[[bytes], Any]
) -> None:
    content = kind(b"0123456789")
    content.read(4)
    file = await call(FileObject("a.bin", content=content), "save")
    assert file.get_content() == b"456789"


async def test_a_member_of_a_tar_stream_is_stored(memory: StorageBackend, call: Call, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("m")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"12345"))
    with tarfile.open(tmp_path / "a.tar.gz", "r|gz") as archive:
        found = archive.next()
        assert found is not None
        file = await call(FileObject("m", content=archive.extractfile(found)), "save")
        assert file.get_content() == b"12345"


async def test_the_rest_of_a_file_is_stored_by_an_iterator(memory: StorageBackend, call: Call) -> None:
    content = io.BytesIO(DATA)
    content.seek(1000)
    rest = iter(partial(content.read, 1 << 20), b"")
    file = await call(FileObject("a.bin", content=rest), "save")
    assert file.get_content() == DATA[1000:]


@pytest.mark.parametrize("kind", [Stuck, StuckAndSaysNothing, StuckUpload])
async def test_a_file_that_does_not_go_back_is_refused_before_anything_is_stored(
    memory: StorageBackend, kind: Callable[[bytes], Any]
) -> None:
    file = FileObject("a.bin", content=kind(b"x"))
    with pytest.raises(SourceReadError, match=f"{kind.__name__} cannot be set back.*iter\\(partial"):
        await file.save_async()
    assert keys(memory) == []


async def test_nothing_is_moved_or_read_before_the_save_and_then_not_on_the_event_loop(
    memory: StorageBackend,
) -> None:
    moved: set[threading.Thread] = set()

    class Watched(io.BytesIO):
        def seek(self, *arguments: int) -> int:
            moved.add(threading.current_thread())
            return super().seek(*arguments)

        def tell(self) -> int:
            moved.add(threading.current_thread())
            return super().tell()

        def read(self, size: int | None = -1, /) -> bytes:
            moved.add(threading.current_thread())
            return super().read(size)

    file = FileObject("a.bin", content=Watched(DATA))
    assert not moved
    await file.save_async()
    assert moved
    assert threading.current_thread() not in moved


class ClosedUpload:
    """As those of Litestar and Starlette after the response."""

    filename = "a.bin"

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    async def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("kind", [io.BytesIO, ClosedUpload])
async def test_what_was_closed_before_the_save_says_so(
    memory: StorageBackend, call: Call, kind: Callable[[bytes], Any]
) -> None:
    content = kind(b"x")
    file = FileObject("a.bin", content=content)
    getattr(content, "file", content).close()
    with pytest.raises(SourceConsumedError, match=f"{kind.__name__} is closed"):
        await call(file, "save")
    with pytest.raises(SourceConsumedError, match="before that"):
        FileObject("a.bin", content=content)
    assert keys(memory) == []


async def test_what_is_closed_while_it_is_read_says_so(memory: StorageBackend, call: Call) -> None:
    class Closing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            chunk = super().read(size)
            self.close()
            return chunk

    with pytest.raises(SourceConsumedError, match="is closed"):
        await call(FileObject("a.bin", content=Closing(DATA)), "save")
    assert keys(memory) == []


async def test_a_file_that_is_asynchronous_without_showing_it_says_what_to_pass(
    memory: StorageBackend, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    await obstore.put_async(store, "a", DATA)
    opened = await obstore.open_reader_async(store, "a")
    file = FileObject("a.bin", content=opened)  # type: ignore[arg-type]
    with pytest.raises(SourceReadError, match="asynchronous generator"):
        await file.save_async()
    assert keys(memory) == []

    async def pieces() -> AsyncIterator[bytes]:
        while chunk := await opened.read(1 << 20):
            yield chunk  # type: ignore[misc]

    assert (await FileObject("a.bin", content=pieces()).save_async()).get_content() == DATA


# ---- content that is cut short


class Socket:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._answer))  # type: ignore[arg-type]


def response(length: int | None, body: bytes) -> HTTPResponse:
    """Return what `urllib.request.urlopen` returns."""
    header = "" if length is None else f"Content-Length: {length}\r\n"
    made = HTTPResponse(cast("Any", Socket(f"HTTP/1.1 200 OK\r\n{header}\r\n".encode() + body)))
    made.begin()
    return made


async def test_a_response_that_was_cut_is_not_stored(memory: StorageBackend, call: Call) -> None:
    file = FileObject("a.bin", content=response(len(DATA) + 1, DATA))
    with pytest.raises(SourceReadError, match=rf"ended after {len(DATA)} of {len(DATA) + 1} bytes"):
        await call(file, "save")
    assert keys(memory) == []
    assert not file.has_pending_data


@pytest.mark.parametrize("length", [len(DATA), None])
async def test_a_whole_response_is_stored(memory: StorageBackend, call: Call, length: int | None) -> None:
    assert (await call(FileObject("a.bin", content=response(length, DATA)), "save")).size == len(DATA)


async def test_a_response_that_was_begun_is_stored_from_there(memory: StorageBackend, call: Call) -> None:
    begun = response(10, b"0123456789")
    begun.read(4)
    assert (await call(FileObject("a.bin", content=begun), "save")).get_content() == b"456789"


def opened_anew(path: Path) -> Any:
    return path.open("rb")


@pytest.mark.parametrize("kind", [Path, opened_anew], ids=["path", "opened"])
@pytest.mark.parametrize("size", [len(DATA) // 2, len(DATA) + 1])
async def test_a_file_that_shrinks_meanwhile_is_refused_and_one_that_grows_is_not(
    memory: StorageBackend, call: Call, tmp_path: Path, kind: Callable[[Path], Any], size: int
) -> None:
    path = on_disk(tmp_path, DATA)
    content = kind(path)
    file = FileObject("a.bin", content=content)
    source = file_state(file).source
    assert source is not None
    chunks = source.chunks

    def disturbed() -> Any:
        for number, chunk in enumerate(chunks()):
            if number == 1:
                os.truncate(path, size)
            yield chunk

    source.chunks = disturbed  # type: ignore[method-assign]
    with closing(content) if hasattr(content, "close") else nullcontext():
        if size > len(DATA):
            assert (await call(file, "save")).size == size
            return
        with pytest.raises(SourceReadError, match="cut short"):
            await call(file, "save")
    assert keys(memory) == []
    assert file.has_pending_data


@pytest.mark.parametrize("name", ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/self/status"])
async def test_files_of_the_kernel_are_stored_whatever_size_they_say_to_have(
    memory: StorageBackend, call: Call, name: str
) -> None:
    if not await anyio.Path(name).is_file():
        pytest.skip("this kernel has no such file")
    assert (await call(FileObject(source_path=name), "save")).size > 0


def test_what_says_its_size_is_refused_for_it_unread(tmp_path: Path) -> None:
    policy = ContentPolicy(max_size=CHUNK_SIZE)
    for content in (response(len(DATA), b""), on_disk(tmp_path, DATA).open("rb")):
        source = file_state(FileObject("a.bin", content=content)).source
        assert source is not None
        with content, pytest.raises(FileTooLargeError):
            policy.check_size(source.known_size(), None)


# ---- names that content has


def named(name: object) -> Any:
    file = io.BytesIO(b"x")
    file.name = name  # type: ignore[attr-defined]
    return file


class Form:
    """An upload, of which `name` is the field of the form."""

    name = "field"

    def __init__(self, filename: str | None) -> None:
        self.filename = filename
        self.read = io.BytesIO(b"x").read


async def test_a_name_may_be_left_out_where_the_content_has_one(tmp_path: Path) -> None:
    path = tmp_path / "Report.pdf"
    path.write_bytes(b"x")
    files = [
        FileObject(content=path),
        FileObject(source_path=path),
        FileObject(source_path=str(path)),
        FileObject(content=named(str(path))),
        FileObject(content=named(path)),
        FileObject(content=named(os.fsencode(path))),
        FileObject(content=Form("Report.pdf")),
        FileObject(content=Form("..\\..\\C:\\Report.pdf")),
    ]
    with path.open("rb") as opened:
        files.append(FileObject(content=opened))
    async with await anyio.open_file(path, "rb") as opened_async:
        files.append(FileObject(content=opened_async))
    assert {str(file) for file in files} == {"Report.pdf"}
    assert {file.content_type for file in files} == {"application/pdf"}


@pytest.mark.parametrize("filename", ["", None])
def test_an_upload_without_a_name_is_a_file_all_the_same(filename: str | None) -> None:
    assert FileObject(content=Form(filename)).filename == "file"


@pytest.mark.parametrize(
    "content",
    [None, b"x", [b"x"], io.BytesIO(b"x"), named(3), named("<fdopen>"), named(""), named(None)],
)
def test_content_without_a_name_needs_one(content: Any) -> None:
    with pytest.raises(TypeError, match=r"FileObject\('report.pdf', content="):
        FileObject(content=content)


def test_the_name_of_an_archive_is_not_that_of_what_is_in_it(tmp_path: Path) -> None:
    with zipped(tmp_path, b"x") as content, pytest.raises(TypeError, match="needs a filename"):
        FileObject(content=content)


def test_a_given_name_comes_first(tmp_path: Path) -> None:
    assert FileObject("b.txt", source_path=on_disk(tmp_path, b"x")).filename == "b.txt"
    assert FileObject(None, source_path=on_disk(tmp_path, b"x")).filename == "file"
