"""Cases of `BackendSuite`: keys, signed URLs, waits and the rest of the contract."""

from __future__ import annotations

import gc
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest

from filecolumn.backends.base import SignMethod, StorageBackend
from filecolumn.errors import InvalidKeyError, NotSupportedError
from filecolumn.testing.harness import SuiteHarness, whole

__all__ = ("IdentityCases",)

BAD_KEYS = [
    "",
    "../x",
    "/x",
    "a//b",
    "a/./b",
    "a/..",
    "a\\b",
    "a\x00b",
    "CON",
    "x#1",
    ".filecolumn/stage/x",
    "x\u202e",
    "é" * 128,
]


class IdentityCases(SuiteHarness):
    """A key is exactly itself or refused; a URL is signed or not supported."""

    def test_every_call_checks_its_key(self, storage: StorageBackend) -> None:
        storage.put("good", [b"x"])
        for key in BAD_KEYS:
            for call in self._calls(storage, key):
                with pytest.raises(InvalidKeyError):
                    call()
        assert self.keys(storage) == ["good"]

    def _calls(self, storage: StorageBackend, key: str) -> list[Callable[[], object]]:
        return [
            lambda: storage.put(key, [b"x"]),
            lambda: storage.put(key, self.pieces(self.large)),
            lambda: storage.get(key),
            lambda: storage.get(key, length=0),
            lambda: storage.stat(key),
            lambda: storage.exists(key),
            lambda: storage.delete([key]),
            lambda: storage.copy(key, "other"),
        ]

    def test_a_copy_checks_the_new_key_before_it_opens_anything(self, storage: StorageBackend) -> None:
        storage.put("good", [b"x"])
        with pytest.raises(InvalidKeyError):
            storage.copy("good", "../x")
        gc.collect()
        assert self.keys(storage) == ["good"]

    def test_an_unusual_key_is_kept_exactly_or_refused(self, storage: StorageBackend) -> None:
        for key in self.unusual_keys:
            try:
                storage.put(key, [b"x"])
            except InvalidKeyError:
                assert self.keys(storage) == [], key
                continue
            assert (key, whole(storage.get(key))) == (key, b"x")
            assert self.keys(storage) == [key]
            storage.copy(key, f"copy/{key}")
            assert self.keys(storage, "copy") == [f"copy/{key}"]
            storage.delete([key, f"copy/{key}"])
            assert self.keys(storage) == [], key

    def test_an_unusual_key_lies_there_as_it_is(self, backend: StorageBackend) -> None:
        kept: dict[str, bytes] = {}
        for key in self.unusual_keys:
            with suppress(InvalidKeyError):
                backend.put(key, [key.encode()])
                kept[key] = key.encode()
        assert self.look(backend) == kept

    def test_a_key_with_glob_characters_is_only_itself(self, storage: StorageBackend) -> None:
        for key in ("a", "b", "ab"):
            storage.put(key, [key.encode()])
        hostile: list[str] = []
        for key in ("*", "?", "[ab]", "{a,b}", "**", "a*"):
            with suppress(InvalidKeyError):
                storage.put(key, [key.encode()])
                hostile.append(key)
        for key in hostile:
            assert whole(storage.get(key)) == key.encode()
            assert storage.stat(key).size == len(key)
        storage.delete(hostile)
        assert self.keys(storage) == ["a", "ab", "b"]

    def test_keys_that_differ_in_case_or_composition_are_two(self, storage: StorageBackend) -> None:
        for key in self.distinct_keys:
            storage.put(key, [key.encode()])
        assert [whole(storage.get(key)) for key in self.distinct_keys] == [
            key.encode() for key in self.distinct_keys
        ]

    def test_what_is_not_signed_is_not_supported(self, storage: StorageBackend) -> None:
        methods: dict[SignMethod, bool] = {
            "GET": storage.capabilities.signs,
            "PUT": storage.capabilities.signs_uploads,
        }
        for method, signs in methods.items():
            if not signs:
                with pytest.raises(NotSupportedError):
                    storage.sign("a", method=method)

    def test_a_signed_url_reads(self, storage: StorageBackend) -> None:
        if not storage.capabilities.signs:
            pytest.skip("the storage makes no signed URLs")
        storage.put("a/b1", [b"content"])
        assert _fetch(storage.sign("a/b1", expires_in=60)) == (200, b"content")

    def test_a_signed_url_for_an_unusual_key_reads_or_is_refused(self, backend: StorageBackend) -> None:
        if not backend.capabilities.signs:
            pytest.skip("the storage makes no signed URLs")
        for key in self.unusual_keys:
            try:
                backend.put(key, [key.encode()])
                url = backend.sign(key, expires_in=60)
            except (InvalidKeyError, NotSupportedError):
                continue
            assert _fetch(url) == (200, key.encode())

    def test_a_signed_url_writes(self, storage: StorageBackend) -> None:
        if not storage.capabilities.signs_uploads:
            pytest.skip("the storage makes no signed URLs for uploads")
        url = storage.sign("a/b1", expires_in=60, method="PUT")
        status, _ = _fetch(url, method="PUT", body=b"theirs", headers=self.upload_headers)
        assert status in {200, 201}
        assert storage.get_bytes("a/b1") == b"theirs"

    def test_a_signed_url_expires_and_reads_one_key_only(self, backend: StorageBackend) -> None:
        if not (backend.capabilities.signs and self.proves_signatures):
            pytest.skip("the server does not check signatures")
        for key in ("akey", "bkey"):
            backend.put(key, [b"content"])
        url = backend.sign("akey", expires_in=1)
        time.sleep(2.1)
        assert _fetch(url)[0] in {400, 403}
        forged = backend.sign("akey", expires_in=60).replace("akey", "bkey")
        assert _fetch(forged)[0] in {400, 403}

    def test_closing_twice_does_no_harm(self, storage: StorageBackend) -> None:
        storage.close()
        storage.close()

    def test_its_description_names_key_and_location(self, backend: StorageBackend) -> None:
        assert repr(backend.key) in repr(backend)
        assert backend.location in repr(backend)
        assert backend.protocol


def _fetch(
    url: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    kind = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, method=method, headers={**kind, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
