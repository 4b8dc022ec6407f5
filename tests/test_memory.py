"""512 MiB go up and down within 64 MiB of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import filecolumn

MIB = 1024 * 1024
ALLOWED = 64 * MIB

SCRIPT = """
import asyncio, hashlib, os, sys
from filecolumn import FileObject, storages
from filecolumn.backends.fsspec import FSSpecBackend

library, way, folder = sys.argv[1:]
MIB = 1024 * 1024
if library == "obstore":
    backend = storages.register_backend(f"file://{folder}/", "s", fsync=False)
else:
    backend = storages.register_backend(FSSpecBackend("s", "file", folder, fsync=False))

def peak():
    "The high-water mark of this program alone: ru_maxrss would include the parent's, before exec."
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def chunks(number):
    for _ in range(number):
        yield os.urandom(MIB)

async def chunks_async(number):
    for chunk in chunks(number):
        yield chunk

def up_and_down(number):
    file = FileObject("a.bin", content=chunks(number)).save()
    digest, size = hashlib.sha256(), 0
    for chunk in file.stream():
        digest.update(chunk)
        size += len(chunk)
    assert size == number * MIB and file.checksum == "sha256:" + digest.hexdigest()
    file.delete()

async def up_and_down_async(number):
    file = await FileObject("a.bin", content=chunks_async(number)).save_async()
    digest, size = hashlib.sha256(), 0
    async for chunk in file.stream_async():
        digest.update(chunk)
        size += len(chunk)
    assert size == number * MIB and file.checksum == "sha256:" + digest.hexdigest()
    await file.delete_async()

def both(number):
    up_and_down(number) if way == "sync" else asyncio.run(up_and_down_async(number))

both(1)
before = peak()
both(512)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the VmHWM of Linux")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("library", ["obstore", "fsspec"])
def test_large_content_is_streamed_in_bounded_memory(tmp_path: Path, library: str, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, library, way, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=170,
        env={**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= ALLOWED
