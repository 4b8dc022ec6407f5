"""URLs that a storage signs, and storages that cannot sign."""

from __future__ import annotations

from datetime import timedelta

import pytest

from filecolumn import FileObject, PendingContentError
from filecolumn.backends.base import StorageBackend
from tests.scenarios.files import SECRET, Call, call, s3, s3_file, storage, stored

__all__ = ("call", "s3", "storage")


@pytest.mark.parametrize("for_upload", [False, True])
async def test_a_storage_that_cannot_sign_says_so(
    storage: StorageBackend, call: Call, for_upload: bool
) -> None:
    with pytest.raises(NotImplementedError, match="sign"):
        await call(stored(b"x"), "sign", for_upload=for_upload)


@pytest.mark.parametrize("expires_in", [60, timedelta(minutes=1)])
async def test_a_storage_signs_a_url(s3: StorageBackend, call: Call, expires_in: float | timedelta) -> None:
    url = await call(s3_file(), "sign", expires_in=expires_in)
    assert "/prefix/k/a.txt?" in url
    assert "X-Amz-Expires=60" in url
    assert SECRET not in url


async def test_an_upload_url_is_made_for_a_given_key_before_the_file_is_saved(
    s3: StorageBackend, call: Call
) -> None:
    file = FileObject("a.txt", backend="s3", to_filename="up/a.txt")
    assert "/prefix/up/a.txt?" in await call(file, "sign", for_upload=True)
    url = await call(file, "sign", for_upload=True, expires_in=timedelta(minutes=1))
    assert "X-Amz-Expires=60" in url
    with pytest.raises(PendingContentError):
        await call(file, "sign")
