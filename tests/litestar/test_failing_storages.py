"""A storage that fails in the middle of an upload is said to the client, and leaves nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import pytest

from filecolumn.backends import _local
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.testing import Fault, FaultyBackend
from tests.litestar.application import application, objects
from tests.litestar.server import serve

BODY = b"x" * 3_000_000


def disk_is_full(file: object, chunk: bytes) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("kind", ["obstore", "fsspec"])
def test_a_disk_that_is_full_is_503_until_it_has_room(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    backend = (
        ObstoreBackend("files", f"file://{folder}/", fsync=False)
        if kind == "obstore"
        else FSSpecBackend("files", "file", str(folder), fsync=False)
    )
    with serve(application(tmp_path, backends={"files": backend})) as server, server.client() as http:
        with monkeypatch.context() as patch:
            patch.setattr(_local, "_write_all", disk_is_full)
            for answer in (
                http.put("/raw/a.bin", content=BODY),
                http.put("/stream/a.bin", content=BODY),
                http.post("/documents", files={"file": ("a.bin", BODY)}),
            ):
                assert answer.status_code == 503
                assert answer.headers["Retry-After"] == "5"
                assert "space" not in answer.text
        assert http.get("/count").json() == 0
        assert objects(tmp_path) == []
        assert http.put("/raw/a.bin", content=BODY).status_code == 200
    assert [path.stat().st_size for path in objects(tmp_path)] == [len(BODY)]


def test_any_storage_that_fails_inside_an_upload_is_503(tmp_path: Path) -> None:
    faulty = FaultyBackend(ObstoreBackend("files", "memory://"))
    with serve(application(tmp_path, backends={"files": faulty})) as server, server.client() as http:
        faulty.schedule(Fault("put", "fail_inside", chunks=2))
        assert http.put("/raw/a.bin", content=BODY).status_code == 503
        assert http.get("/count").json() == 0
        assert http.put("/raw/a.bin", content=BODY).status_code == 200
