"""Every kind of content becomes chunks of bytes, by either way of reading."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile
from typing import Any

import anyio
import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from filecolumn import FileObject, SourceConsumedError, storages
from filecolumn.content.digest import Meter, Rechunker
from filecolumn.content.sources import CHUNK_SIZE, Content, Source, source_of
from filecolumn.files.file import file_state

DATA = bytes(range(256)) * 12 * 1024  # 3 MiB


class Upload:
    """As an upload that shows no file behind it."""

    filename = "a.txt"

    def __init__(self, data: bytes) -> None:
        self.file: Any = None
        self._data = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._data.read(size)

    async def seek(self, offset: int) -> int:
        return self._data.seek(offset)


class UnseekableUpload:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Unseekable(io.BytesIO):
    """As a pipe or a response body."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("seek")


class OnlyRead:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class AsksAsynchronously(Upload):
    """As a file of aiofiles."""

    async def seekable(self) -> bool:
        return True


class AsyncPipe(AsksAsynchronously):
    async def seekable(self) -> bool:
        return False


class Repeatable:
    """An iterable that starts again; it does not look different from a `Body`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        return pieces(self._data)


class Body:
    """As a response of requests: an iterable that is no iterator, and is used up."""

    def __init__(self, data: bytes) -> None:
        self._pieces = pieces(data)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


class StreamReader(UnseekableUpload):
    """As aiohttp's and asyncio's: it is read in pieces, and by lines when it is iterated."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        raise ValueError("the line is too long")
        yield b""


class WholeParts:
    """As a part of aiohttp's multipart reader: `read` takes no size."""

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data

    async def read(self, *, decode: bool = False) -> bytes:
        raise NotImplementedError

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._data is not None:
            yield self._data
        self._data = None


class RepeatableAsync:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in pieces(self._data):
            yield piece


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def async_pieces(data: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(data):
        yield piece


opened: list[SpooledTemporaryFile[bytes]] = []


@pytest.fixture(autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def spooled(data: bytes) -> SpooledTemporaryFile[bytes]:
    file = SpooledTemporaryFile(max_size=1024)  # noqa: SIM115 - closed by the fixture
    opened.append(file)
    file.write(data)
    file.seek(0)
    return file


def on_disk(folder: Path, data: bytes) -> Path:
    path = folder / "content.bin"
    path.write_bytes(data)
    return path


Make = Callable[[Path, bytes], Any]


def stored(data: bytes) -> MemoryStore:
    store = MemoryStore()
    obstore.put(store, "a", data)
    return store


REPLAYABLE: dict[str, Make] = {
    "bytes": lambda _, data: data,
    "bytearray": lambda _, data: bytearray(data),
    "memoryview": lambda _, data: memoryview(data),
    "path": on_disk,
    "bytesio": lambda _, data: io.BytesIO(data),
    "spooled": lambda _, data: spooled(data),
    "list": lambda _, data: list(pieces(data)),
    "tuple": lambda _, data: tuple(pieces(data)),
    "bytes of obstore": lambda _, data: obstore.get(stored(data), "a").bytes(),
    "file of obstore": lambda _, data: obstore.open_reader(stored(data), "a"),
    "gappy memoryview": lambda _, data: memoryview(bytes(byte for byte in data for _ in "12"))[::2],
}
ONCE: dict[str, Make] = {
    "generator": lambda _, data: pieces(data),
    "unseekable": lambda _, data: Unseekable(data),
    "only read": lambda _, data: OnlyRead(data),
    "repeatable": lambda _, data: Repeatable(data),
    "body": lambda _, data: Body(data),
    "bytes of obstore in pieces": lambda _, data: map(obstore.Bytes, pieces(data)),
}
ASYNC_REPLAYABLE: dict[str, Make] = {
    "upload": lambda _, data: Upload(data),
    "async file": lambda _, data: anyio.wrap_file(io.BytesIO(data)),
}
ASYNC_ONCE: dict[str, Make] = {
    "async generator": lambda _, data: async_pieces(data),
    "unseekable upload": lambda _, data: UnseekableUpload(data),
    "async pipe": lambda _, data: anyio.wrap_file(Unseekable(data)),
    "async pipe that is asked": lambda _, data: AsyncPipe(data),
    "async iterable": lambda _, data: RepeatableAsync(data),
    "stream reader": lambda _, data: StreamReader(data),
    "whole parts": lambda _, data: WholeParts(data),
}
TWO_WAYS: dict[str, Make] = {
    "answer of obstore": lambda _, data: obstore.get(stored(data), "a"),
    "stream of obstore": lambda _, data: obstore.get(stored(data), "a").stream(),
}
SYNC = REPLAYABLE | ONCE | TWO_WAYS
ASYNC = ASYNC_REPLAYABLE | ASYNC_ONCE


def each(makers: dict[str, Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in makers.items()])


async def read_async(source: Source) -> bytes:
    return b"".join([chunk async for chunk in source.chunks_async()])


@each(SYNC)
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "small", "large"])
def test_each_kind_is_read_whole(make: Make, data: bytes, tmp_path: Path) -> None:
    chunks = list(source_of(make(tmp_path, data)).chunks())
    assert b"".join(chunks) == data
    assert all(type(chunk) is bytes for chunk in chunks)


@each(SYNC | ASYNC)
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "small", "large"])
async def test_each_kind_is_read_whole_asynchronously(make: Make, data: bytes, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, data))
    chunks = [chunk async for chunk in source.chunks_async()]
    assert b"".join(chunks) == data
    assert all(type(chunk) is bytes for chunk in chunks)


@pytest.mark.parametrize(
    "name", ["bytes", "bytearray", "memoryview", "path", "bytesio", "spooled", "only read"]
)
def test_chunks_are_bounded(name: str, tmp_path: Path) -> None:
    source = source_of(SYNC[name](tmp_path, DATA))
    assert max(map(len, source.chunks())) <= CHUNK_SIZE


@each(REPLAYABLE)
def test_a_replayable_source_gives_the_same_twice(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    assert source.replayable
    assert b"".join(source.chunks()) == b"".join(source.chunks()) == DATA


@each(REPLAYABLE | ASYNC_REPLAYABLE)
async def test_a_replayable_source_gives_the_same_twice_asynchronously(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    assert source.replayable
    assert await read_async(source) == await read_async(source) == DATA


@each(ONCE | TWO_WAYS)
def test_a_source_for_one_pass_refuses_a_second(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    assert not source.replayable
    assert b"".join(source.chunks()) == DATA
    with pytest.raises(SourceConsumedError):
        next(source.chunks())


@each(ONCE | TWO_WAYS | ASYNC_ONCE)
async def test_a_source_for_one_pass_refuses_a_second_asynchronously(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    assert not source.replayable
    assert await read_async(source) == DATA
    with pytest.raises(SourceConsumedError):
        await read_async(source)


def test_a_source_for_one_pass_is_not_resumed_half_way() -> None:
    source = source_of(pieces(DATA))
    next(source.chunks())
    with pytest.raises(SourceConsumedError):
        next(source.chunks())


@each({name: ONCE[name] for name in ("generator", "body")})
def test_a_source_is_not_spent_before_it_is_opened(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    unread = source.chunks()
    assert not source.is_spent
    next(unread)
    assert source.is_spent


@pytest.mark.skipif(sys.platform == "win32", reason="pipes block")
def test_a_file_without_bytes_yet_is_not_taken_for_an_empty_one() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=0) as file, open(writer, "wb", buffering=0) as other:
        source = source_of(file)
        chunks = source.chunks()
        with pytest.raises(BlockingIOError, match="set_blocking"):
            next(chunks)
        other.write(b"x")
        assert source.is_spent


def test_an_empty_memoryview_of_wider_items_is_empty() -> None:
    assert b"".join(source_of(memoryview(b"").cast("I")).chunks()) == b""  # type: ignore[arg-type]


def test_an_asynchronous_read_without_a_size_is_refused_at_once() -> None:
    class Unbounded:
        async def read(self) -> bytes:
            raise NotImplementedError

    with pytest.raises(TypeError, match="Unbounded; pass bytes"):
        source_of(Unbounded())  # type: ignore[arg-type]


def test_an_open_file_is_not_closed(tmp_path: Path) -> None:
    with on_disk(tmp_path, DATA).open("rb") as file:
        assert b"".join(source_of(file).chunks()) == DATA
        assert not file.closed


@each(ASYNC)
def test_asynchronous_content_says_what_to_do_in_a_sync_session(make: Make, tmp_path: Path) -> None:
    source = source_of(make(tmp_path, DATA))
    assert source.is_async
    with pytest.raises(TypeError, match="save_async"):
        source.chunks()


def test_a_memoryview_of_wider_items_is_read_as_its_bytes() -> None:
    view = memoryview(DATA).cast("I")
    assert b"".join(source_of(view).chunks()) == DATA  # type: ignore[arg-type]


def test_empty_bytes_are_content() -> None:
    assert FileObject("a.txt", content=b"").has_pending_data
    assert not FileObject("a.txt").has_pending_data


def test_chunks_that_may_change_later_are_copied() -> None:
    buffer = bytearray(b"one")

    def reused() -> Iterator[bytearray]:
        yield buffer
        buffer[:] = b"two"
        yield buffer

    assert list(source_of(reused()).chunks()) == [b"one", b"two"]  # type: ignore[arg-type]


def test_empty_chunks_do_not_end_the_content() -> None:
    assert b"".join(source_of([b"a", b"", b"b"]).chunks()) == b"ab"


async def test_empty_chunks_do_not_end_asynchronous_content() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b""
        yield b"b"

    assert await read_async(source_of(chunks())) == b"ab"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("report.pdf", r"Path\(.*encode"),
        (io.StringIO("text"), "mode='rb'"),
        ({"a": 1}, "dict"),
        (42, "int; pass bytes"),
        (None, "NoneType; pass bytes"),
        (object(), "object; pass bytes"),
    ],
)
def test_what_is_no_content_is_refused_with_a_hint(content: Content, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        source_of(content)


def test_a_text_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    with on_disk(tmp_path, b"x").open() as file, pytest.raises(TypeError, match="mode='rb'"):
        FileObject("a.txt", content=file)  # type: ignore[arg-type]


def text_kinds(folder: Path) -> Iterator[Any]:
    """Yield files in text mode, each of them also behind something else."""
    yield (folder / "text").open("w+")
    yield io.TextIOWrapper(io.BytesIO(b"text"))
    for kind in (NamedTemporaryFile, SpooledTemporaryFile):
        yield kind(mode="w+")
    yield anyio.wrap_file(io.StringIO("text"))
    upload = Upload(b"")
    upload.file = io.StringIO("text")
    yield upload


def test_a_file_in_text_mode_is_refused_at_once_whatever_wraps_it(tmp_path: Path) -> None:
    with ExitStack() as opened:
        for file in text_kinds(tmp_path):
            if hasattr(type(file), "__exit__"):
                opened.enter_context(file)
            with pytest.raises(TypeError, match="mode='rb'"):
                FileObject("a.txt", content=file)


def test_text_of_a_file_that_hides_it_is_refused_when_it_is_read() -> None:
    class Decoded:
        def read(self, size: int = -1) -> str:
            return "text"

    with pytest.raises(TypeError, match="yielded a str; every chunk must be bytes"):
        list(source_of(Decoded()).chunks())  # type: ignore[arg-type]


@pytest.mark.parametrize("chunks", [["text"], [b"a", 1], [None]])
def test_a_chunk_that_is_not_bytes_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(TypeError, match="every chunk must be bytes"):
        list(source_of(chunks).chunks())


def test_a_missing_path_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileObject("a.txt", content=tmp_path / "missing")


def test_a_missing_source_path_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileObject("a.txt", source_path=tmp_path / "missing")


def test_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        FileObject("a.txt", content=tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
@pytest.mark.timeout(10)
def test_a_fifo_is_refused_at_once_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        FileObject("a.txt", content=tmp_path / "fifo")


def test_a_device_is_refused_at_once() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        FileObject("a.txt", content=Path(os.devnull))


def test_a_symbolic_link_is_refused_at_once_with_a_hint(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(on_disk(tmp_path, b"x"))
    with pytest.raises(OSError, match=r"path\.resolve\(\)"):
        FileObject("a.txt", content=link)
    assert FileObject("a.txt", content=link.resolve()).has_pending_data


class OtherPath:
    """As the paths of other libraries."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)

    def read(self) -> bytes:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [str, Path, OtherPath, anyio.Path])
def test_a_source_path_is_any_path(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    path = kind(on_disk(tmp_path, b"x"))
    sources = [file_state(FileObject("a.txt", source_path=path)).source]
    if kind is not str:
        sources.append(file_state(FileObject("a.txt", content=path)).source)
    for source in sources:
        assert source is not None
        assert b"".join(source.chunks()) == b"x"


@pytest.mark.parametrize("wrong", [b"/etc/passwd", 3, io.BytesIO(b"x")])
def test_a_source_path_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"source_path is a path.*content="):
        FileObject("a.txt", source_path=wrong)


def test_content_and_source_path_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        FileObject("a.txt", content=b"x", source_path=on_disk(tmp_path, b"x"))


def test_checking_a_path_leaves_no_descriptor_open(tmp_path: Path) -> None:
    path = on_disk(tmp_path, b"x")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        source_of(path).check()
    with pytest.raises(OSError):
        source_of(tmp_path).check()
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


CHUNKS = st.lists(st.binary(max_size=6000), max_size=8)


@given(CHUNKS)
def test_a_meter_passes_counts_and_hashes(chunks: list[bytes]) -> None:
    meter = Meter()
    whole = b"".join(chunks)
    assert b"".join(map(meter.feed, chunks)) == whole
    assert meter.size == len(whole)
    assert meter.checksum == f"sha256:{hashlib.sha256(whole).hexdigest()}"


@given(CHUNKS, st.integers(min_value=1, max_value=5000))
def test_a_rechunker_keeps_the_bytes_and_cuts_them_evenly(chunks: list[bytes], size: int) -> None:
    cut = Rechunker(size)
    out = [piece for chunk in chunks for piece in cut.feed(chunk)]
    assert all(len(piece) == size for piece in out)
    rest = list(cut.end())
    assert all(0 < len(piece) < size for piece in rest)
    assert b"".join(out + rest) == b"".join(chunks)


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        Rechunker(size)


class Form:
    """An upload of a framework."""

    # as the class of a framework
    __module__ = "starlette.datastructures"
    filename = "a.bin"

    def __init__(self, file: Any) -> None:
        self.file = file

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def seek(self, offset: int) -> int:
        return self.file.seek(offset)


def filled(content: bytes, most: int) -> SpooledTemporaryFile[bytes]:
    file = SpooledTemporaryFile[bytes](max_size=most)
    file.write(content)
    return file


@pytest.mark.parametrize("wrap", [Form, lambda file: file], ids=["upload", "file"])
def test_a_file_in_memory_is_in_one_piece(wrap: Callable[[Any], Any]) -> None:
    for content in (b"", b"abc", b"x" * CHUNK_SIZE):
        assert source_of(wrap(io.BytesIO(content))).whole == content
        with filled(content, CHUNK_SIZE) as file:
            assert source_of(wrap(file)).whole == content


@pytest.mark.parametrize("wrap", [Form, lambda file: file], ids=["upload", "file"])
def test_a_file_that_is_large_or_on_disk_or_closed_is_not(wrap: Callable[[Any], Any]) -> None:
    with filled(b"abc", 2) as rolled, filled(b"abc", 10) as later:
        assert source_of(wrap(rolled)).whole is None
        source = source_of(wrap(later))
        later.rollover()
        assert source.whole is None
    large, closed = io.BytesIO(b"x" * (CHUNK_SIZE + 1)), io.BytesIO(b"abc")
    closed.close()
    assert source_of(wrap(large)).whole is None
    assert source_of(wrap(closed)).whole is None


def test_a_file_that_changes_what_it_reads_is_not_looked_into() -> None:
    class Upper(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size).upper()

    class Decrypted(Form):
        async def read(self, size: int = -1) -> bytes:
            return (await super().read(size)).upper()

    changed = Form(io.BytesIO(b"abc"))
    changed.read = Decrypted(io.BytesIO(b"abc")).read  # type: ignore[method-assign]
    for file in (Upper(b"abc"), Form(Upper(b"abc")), Decrypted(io.BytesIO(b"abc")), changed):
        assert source_of(file).whole is None


async def test_what_an_upload_of_the_application_reads_is_stored() -> None:
    class Decrypted(Form):
        async def read(self, size: int = -1) -> bytes:
            return (await super().read(size)).upper()

    storages.register_backend("memory://", key="docs")
    saved = FileObject(content=Decrypted(io.BytesIO(b"abc")), backend="docs")
    await saved.save_async()
    assert await saved.get_content_async() == b"ABC"
