"""512 MiB go up and down within 64 MiB of memory; 5 GiB in the nox session `soak`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import filecolumn
from tests.backends.places import BUCKET, S3Folder
from tests.profiles import PROFILE

MIB = 1024 * 1024
ALLOWED = 64 * MIB

SCRIPT = """
import asyncio, hashlib, os, sys
from filecolumn import FileObject, storages
from filecolumn.backends.fsspec import FSSpecBackend

library, way, folder = sys.argv[1:4]
MIB = 1024 * 1024
if library == "s3":
    endpoint, user, password = sys.argv[4:]
    backend = storages.register_backend(
        f"s3://{folder}/", "s", endpoint=endpoint, access_key_id=user, secret_access_key=password,
        region="us-east-1", client_options={"allow_http": True}, total_timeout=120, timeout=60)
elif library == "s3fs":
    import fsspec
    endpoint, user, password = sys.argv[4:]
    fs = fsspec.filesystem("s3", key=user, secret=password, endpoint_url=endpoint)
    backend = storages.register_backend(FSSpecBackend("s", fs, folder))
elif library == "obstore":
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
both(int(os.environ["STREAM_MIB"]))
print(peak() - before)
"""


@pytest.mark.sized
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the VmHWM of Linux")
@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("library", ["obstore", "fsspec"])
def test_large_content_is_streamed_in_bounded_memory(tmp_path: Path, library: str, way: str) -> None:
    assert growth(library, way, str(tmp_path / "s")) <= ALLOWED


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the VmHWM of Linux")
@pytest.mark.server
@pytest.mark.sized
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("server", "library", "way"),
    [
        ("moto", "s3", "sync"),
        ("moto", "s3", "async"),
        ("moto", "s3fs", "sync"),
        ("radosgw", "s3", "sync"),
        ("radosgw", "s3", "async"),
    ],
)
def test_large_content_goes_through_s3_in_bounded_memory(
    request: pytest.FixtureRequest, server: str, library: str, way: str
) -> None:
    place = S3Folder(request.getfixturevalue(server))
    endpoint = place.endpoint
    folder = f"{BUCKET}/{place.folder}"
    assert growth(library, way, folder, endpoint.url, endpoint.user, endpoint.password) <= ALLOWED
    place.close()


def growth(*arguments: str) -> int:
    """Return the bytes by which the memory of a process grows that sends and reads so much."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=390,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(filecolumn.__file__).parents[1]),
            "STREAM_MIB": str(PROFILE.stream_mib),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
