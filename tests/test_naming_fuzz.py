# ruff: noqa: RUF001 - letters that look like others are what is tested
"""Hostile file names and keys: what is shown, what is stored under, and where that ends up."""

from __future__ import annotations

import os
import random
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filecolumn import FileObject, InvalidKeyError, StorageError
from filecolumn.backends.base import StorageBackend
from filecolumn.naming import check_key, clean_filename, new_key
from tests.profiles import PROFILE

PIECES = [
    "..", ".", "/", "\\", "//", "%2e", "%2f", "\x00", "\r\n", "\x1b", "\x7f", "\x85", "\u202e", "\u200b", "\ufeff",
    "C:", "::$DATA", "CON", "aux", "COM¹", "#1", "#", " ", "\u3000", "é", "e\u0301", "ﬁ", "．", "／", "😀", "漢",
    "\ud800", "~", "*", "?", "[", "]", "{", "}", "<", ">", "|", '"', "'", ";", "$", "`", "-", "a", "B", ".php",
    ".jpg", ".tar.gz", ".html", ".filecolumn", ".htaccess", "x" * 100, "é" * 130, "://", "::", "\t", "\u2028",
]  # fmt: skip
KEY = re.compile(r"\d{8}/\d\d/[0-9a-f]{32}(?:\.[a-z0-9]{1,8})?", re.ASCII)


def hostile_names(count: int) -> list[str]:
    chance = random.Random(20260101)
    return ["".join(chance.choices(PIECES, k=chance.randrange(8))) for _ in range(count)]


@pytest.mark.sized
def test_hostile_file_names_are_shown_flat_and_visible() -> None:
    cleaned = 0
    for name in hostile_names(PROFILE.fuzzed):
        try:
            shown = clean_filename(name)
        except InvalidKeyError:
            assert any(unicodedata.category(letter) == "Cs" for letter in name)
            continue
        cleaned += 1
        assert 0 < len(shown.encode()) <= 255
        assert shown.strip(". ")
        assert not {"/", "\\"} & set(shown)
        assert not [letter for letter in shown if unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp"}]
        assert clean_filename(shown) == shown
        assert KEY.fullmatch(new_key(shown))
    assert cleaned > 0.8 * PROFILE.fuzzed


@pytest.mark.sized
def test_hostile_keys_are_refused_or_stay_below_any_root() -> None:
    accepted = 0
    messages: list[str] = []
    for key in hostile_names(PROFILE.fuzzed):
        try:
            check_key(key)
        except InvalidKeyError as error:
            messages.append(str(error))
            continue
        accepted += 1
        assert os.path.normpath(f"/root/{key}") == f"/root/{key}"
        assert key.encode().decode() == key
        assert not key.startswith(".filecolumn/")
        assert not re.search(r"[\x00-\x1f\x7f-\x9f:\\]|#\d+(/|$)", key)
    assert accepted > 0.05 * PROFILE.fuzzed
    assert all(map(str.isprintable, messages))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join) | st.text(max_size=40))
def test_a_key_is_refused_or_holds_its_content_in_the_folder(
    local: StorageBackend, root: Path, tmp_path: Path, key: str
) -> None:
    beside = {path for path in tmp_path.iterdir() if path != root}
    with suppress(InvalidKeyError, StorageError):
        content = key.encode("utf-8", "surrogatepass")
        file = FileObject("a", content=content, backend="docs", to_filename=key).save()
        assert file.get_content() == key.encode()
        assert [stat.key for stat in local.list()] == [key]
        assert (root / key).read_bytes() == key.encode()
        file.delete()
    assert list(local.list()) == []
    assert {path for path in tmp_path.iterdir() if path != root} == beside
