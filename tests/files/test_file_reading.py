"""Reading a file: whole, in ranges, opened, downloaded, verified and refreshed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filecolumn import (
    ChecksumMismatchError,
    FileObject,
    NotSupportedError,
    ObjectNotFoundError,
    PendingContentError,
    storages,
)
from filecolumn.backends.base import StorageBackend
from filecolumn.files.file import file_from_row
from tests.scenarios.files import DATA, Call, call, fsspec_local, memory, storage, stored

__all__ = ("call", "memory", "storage")


# ---- reading


async def test_content_is_read_whole(storage: StorageBackend, call: Call) -> None:
    assert await call(stored(), "get_content") == DATA


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, None),
        (1, None),
        (0, 0),
        (0, 1),
        (100, 5000),
        (len(DATA) - 1, None),
        (len(DATA), None),
        (10**9, 5),
        (5, 10**9),
    ],
)
async def test_a_range_is_streamed(
    storage: StorageBackend, call: Call, start: int, length: int | None
) -> None:
    pieces = await call(stored(), "stream", start, length, 7000)
    assert b"".join(pieces) == DATA[start:][:length]
    assert all(len(piece) == 7000 for piece in pieces[:-1])


@pytest.mark.parametrize(("start", "length"), [(-1, None), (0, -1)])
async def test_a_negative_range_is_refused(
    storage: StorageBackend, call: Call, start: int, length: int | None
) -> None:
    with pytest.raises(ValueError):
        await call(stored(b"x"), "stream", start, length)


async def test_a_stream_ends_early_without_harm(storage: StorageBackend) -> None:
    file = stored(bytes(5_000_000))
    for _ in file.stream(chunk_size=1000):
        break
    stream = file.stream_async(chunk_size=1000)
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    assert file.get_content() == bytes(5_000_000)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
async def test_a_stream_that_is_left_holds_no_file_open(tmp_path: Path) -> None:
    storages.register_backend(fsspec_local(tmp_path))
    file = FileObject("a.bin", content=b"x" * 3_000_000).save()
    before = len(os.listdir("/proc/self/fd"))
    stream = file.stream_async()
    await anext(stream)
    await stream.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_opened_file_seeks_and_reads(storage: StorageBackend) -> None:
    with stored().open() as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.read(10) == DATA[:10]
        assert file.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert file.read() == DATA[-5:]
        assert file.read() == b""
        assert file.seek(1000) == 1000
        assert file.tell() == 1000
        assert file.read(70_000) == DATA[1000:71_000]
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)


async def test_a_file_opened_asynchronously_seeks_and_reads(storage: StorageBackend) -> None:
    async with stored().open_async() as file:
        assert await file.read(10) == DATA[:10]
        assert await file.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert await file.read() == DATA[-5:]
        assert await file.read() == b""
        assert await file.seek(1000) == 1000
        assert await file.tell() == 1000
        assert await file.seek(1, io.SEEK_CUR) == 1001
        assert await file.read(70_000) == DATA[1001:71_001]
        with pytest.raises(ValueError):
            await file.seek(-1)


async def test_an_opened_file_has_the_name_that_people_know(storage: StorageBackend) -> None:
    file = stored(name="Räport (1).bin")
    with file.open() as opened:
        assert opened.name == file.filename
        assert opened.mode == "rb"
    with file.open(mode="rb") as again, io.TextIOWrapper(again, "latin-1") as text:
        assert text.read(3) == DATA[:3].decode("latin-1")
    async with file.open_async("rb") as opened_async:
        assert opened_async.name == file.filename


@pytest.mark.parametrize("mode", ["r", "rt", "w", "wb", "ab", "r+b", "rb+", "x", ""])
async def test_a_file_opens_for_reading_bytes_only(memory: StorageBackend, mode: str) -> None:
    file = stored()
    with pytest.raises(ValueError, match=r"mode 'rb' only.*TextIOWrapper.*new FileObject"):
        file.open(mode)
    with pytest.raises(ValueError, match="mode 'rb' only"):
        async with file.open_async(mode):
            pass


STEPS = st.lists(
    st.tuples(st.just("read"), st.integers(-1, 400), st.just(0))
    | st.tuples(st.just("seek"), st.integers(-50, 400), st.sampled_from([0, 1, 2])),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS)
async def test_opened_files_behave_as_a_file_on_disk(
    memory: StorageBackend, steps: list[tuple[str, int, int]]
) -> None:
    memory.put("model", [DATA[:300]], mode="overwrite")
    file = file_from_row({"filename": "m", "to_filename": "model", "backend": "docs"})
    model = io.BytesIO(DATA[:300])
    async with file.open_async() as ours:
        with file.open() as other:
            for step, number, whence in steps:
                if step == "read":
                    expected = model.read(number)
                    assert await ours.read(number) == expected
                    assert other.read(number) == expected
                    continue
                position = number + (0, model.tell(), 300)[whence]
                if position >= 0:
                    model.seek(position)
                    assert await ours.seek(number, whence) == position
                    assert other.seek(number, whence) == position


@pytest.mark.parametrize(
    "name", ["get_content", "stream", "verify", "refresh", "delete", "copy", "sign", "download"]
)
async def test_a_pending_file_says_that_it_is_not_stored(
    memory: StorageBackend, call: Call, name: str
) -> None:
    file = FileObject("a.txt", content=b"x")
    with pytest.raises(PendingContentError, match="not stored yet"):
        await call(file, name, *([Path("x")] if name == "download" else []))


async def test_opening_a_pending_file_says_that_it_is_not_stored(memory: StorageBackend) -> None:
    file = FileObject("a.txt", content=b"x")
    with pytest.raises(PendingContentError):
        file.open()
    with pytest.raises(PendingContentError):
        async with file.open_async():
            pass


async def test_content_that_is_gone_is_not_found(storage: StorageBackend, call: Call) -> None:
    file = stored()
    assert file.path is not None
    storage.delete([file.path])
    for name in ("get_content", "stream", "verify", "refresh", "copy"):
        with pytest.raises(ObjectNotFoundError):
            await call(file, name)
    assert await call(file, "exists") is False


async def test_exists_tells(storage: StorageBackend, call: Call) -> None:
    assert await call(FileObject("a.txt", content=b"x"), "exists") is False
    assert await call(stored(), "exists") is True


# ---- download


async def test_a_download_is_whole(storage: StorageBackend, call: Call, tmp_path: Path) -> None:
    await call(stored(), "download", tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == DATA
    await call(stored(b"new"), "download", str(tmp_path / "out.bin"))
    assert (tmp_path / "out.bin").read_bytes() == b"new"


async def test_a_download_into_a_folder_is_called_as_the_file_is(
    storage: StorageBackend, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = stored(name="Report (1).bin")
    for path in (folder, str(folder), f"{folder}/"):
        assert await call(file, "download", path) == folder / "Report (1).bin"
        assert [found.name for found in folder.iterdir()] == ["Report (1).bin"]
        assert (folder / "Report (1).bin").read_bytes() == DATA
    assert await call(file, "download", folder / "b.bin") == folder / "b.bin"


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "..", "a/../../evil", "..\\evil", "C:\\evil", "\x00../evil"]
)
async def test_a_name_leads_a_download_to_no_other_folder(
    memory: StorageBackend, call: Call, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    memory.put("k", [b"x"])
    for file in (
        stored(b"x", name),
        file_from_row({"filename": name, "to_filename": "k", "backend": "docs"}),
    ):
        written = await call(file, "download", folder)
        assert written.parent == folder
        assert os.listdir(tmp_path) == ["folder"]
        assert os.listdir(folder) == [written.name]
        written.unlink()


async def test_a_download_into_a_folder_replaces_a_link_and_not_what_it_points_to(
    memory: StorageBackend, call: Call, tmp_path: Path
) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.write_bytes(b"kept")
    (folder / "a.bin").symlink_to(other)
    await call(stored(b"new"), "download", folder)
    assert other.read_bytes() == b"kept"
    assert (folder / "a.bin").read_bytes() == b"new"
    assert not (folder / "a.bin").is_symlink()


async def test_a_download_into_a_folder_that_is_missing_makes_no_file_of_its_name(
    memory: StorageBackend, call: Call, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        await call(stored(), "download", f"{tmp_path}/missing/")
    assert os.listdir(tmp_path) == []


async def test_a_failed_download_keeps_the_old_file_and_leaves_no_part(
    storage: StorageBackend, call: Call, tmp_path: Path
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "out.bin").write_bytes(b"old")
    file = stored()
    assert file.path is not None
    storage.delete([file.path])
    with pytest.raises(ObjectNotFoundError):
        await call(file, "download", folder / "out.bin")
    assert [path.name for path in folder.iterdir()] == ["out.bin"]
    assert (folder / "out.bin").read_bytes() == b"old"


async def test_a_download_into_a_missing_folder_is_refused(
    memory: StorageBackend, call: Call, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await call(stored(), "download", tmp_path / "missing" / "out.bin")


# ---- verify and refresh


async def test_verify_accepts_what_was_stored(storage: StorageBackend, call: Call) -> None:
    await call(stored(), "verify")


@pytest.mark.parametrize("changed", [DATA[:-1], DATA + b"x", b"y" + DATA[1:], b""])
async def test_verify_finds_other_bytes(storage: StorageBackend, call: Call, changed: bytes) -> None:
    file = stored()
    assert file.path is not None
    storage.put(file.path, [changed], mode="overwrite")
    with pytest.raises(ChecksumMismatchError):
        await call(file, "verify")


async def test_verify_without_a_checksum_is_not_supported(memory: StorageBackend, call: Call) -> None:
    memory.put("a.txt", [b"x"])
    file = file_from_row({"filename": "a.txt", "backend": "docs"})
    with pytest.raises(NotSupportedError, match="no checksum"):
        await call(file, "verify")


async def test_refresh_takes_the_facts_of_the_storage(storage: StorageBackend, call: Call) -> None:
    file = stored()
    assert file.path is not None
    storage.put(file.path, [b"shorter"], mode="overwrite")
    checksum = file.checksum
    await call(file, "refresh")
    assert file.size == 7
    assert file.etag == storage.stat(file.path).etag or storage.stat(file.path).etag is None
    assert file.checksum == checksum
    with pytest.raises(ChecksumMismatchError):
        await call(file, "verify")
