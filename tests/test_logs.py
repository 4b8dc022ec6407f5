"""What the library logs: a line each, of bounded length, that shows neither credentials nor tokens."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import filecolumn
from filecolumn.errors import ObjectNotFoundError, StorageError
from filecolumn.logs import LONGEST, line_of, note, warn
from filecolumn.signing import Claims, TokenSigner

TOKEN = TokenSigner("x" * 32).sign(
    Claims(purpose="download", method="GET", backend="files", key="a", expires_at=1)
)
SIGNED = "https://bucket.s3.amazonaws.com/a.txt?X-Amz-Credential=AKIA&X-Amz-Signature=5ec1e7"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a\nb\r\nc", r"a\nb\r\nc"),
        ("a\x85b\u2028c\u2029d", r"a\x85b\u2028c\u2029d"),
        ("\x1b[2Ka\x07\x00\x7f", r"\x1b[2Ka\x07\x00\x7f"),
        ("gpj\u202e.exe\u2066\u200b\ufeff", r"gpj\u202e.exe\u2066\u200b\ufeff"),
        ("\ud800\udc80", r"\ud800\udc80"),
        ("Überschrift 文書.pdf", "Überschrift 文書.pdf"),
        (ObjectNotFoundError("a\nb"), r"a\nb"),
        (OSError("first\nsecond [parameters: ('secret',)]"), "first"),
        (ValueError(), "ValueError"),
        (StorageError(""), "StorageError"),
        (f"GET /elsewhere/{TOKEN}", "GET /elsewhere/..."),
        (f"a grant {TOKEN!r} is no grant", "a grant '...' is no grant"),
        (StorageError(f"cannot read 'a': 403 of {SIGNED}"), "403 of https://bucket.s3.amazonaws.com/a.txt"),
        (OSError("no answer of https://user:pass/word@host/a"), "no answer of host/a"),
        (
            OSError('404: <?xml version="1.0"?><Code>NoSuchBucket'),
            '404: <?xml version="1.0"?><Code>NoSuchBucket',
        ),
        (OSError("Authorization: Bearer ya29.abc"), "Authorization: Bearer"),
        ("/admin" + "/x" * LONGEST, "/admin" + "/x" * 47 + " ..."),
        ("/a/" + TOKEN * 20, "/a/... ..."),
        ("no answer of " + "a" * LONGEST, "no answer of ..."),
        (r"C:\Users\Ännchen\'a' \"b\".txt", r"C:\Users\Ännchen\'a' \"b\".txt"),
    ],
)
def test_a_value_is_one_line_without_secrets(value: object, line: str) -> None:
    logged = line_of(value)
    assert logged.strip().endswith(line)
    assert logged.isprintable()
    for secret in (TOKEN, "AKIA", "5ec1e7", "pass/word", "ya29", "'secret'"):
        assert secret not in logged


@given(st.text() | st.text(min_size=LONGEST * 2).map(OSError) | st.lists(st.text(max_size=LONGEST * 2)))
def test_whatever_is_logged_is_one_line_of_bounded_length(value: object) -> None:
    line = line_of(value)
    assert line.isprintable()
    # an escape has at most ten characters
    assert len(line) <= 10 * (LONGEST + 4)


def test_a_collection_is_logged_by_its_first_members(caplog: pytest.LogCaptureFixture) -> None:
    warn("%s stay in %r, %d of them", [("files", f"{n}\n") for n in range(500)], "a\nb", 500)
    note("%s", {"a\n": "b\u2028"})
    [first] = [record for record in caplog.records if record.levelno == logging.WARNING]
    text = first.getMessage()
    assert text.startswith(r"('files', '0\n'), ('files', '1\n')")
    assert text.endswith("'19\\n'), and 480 more stay in 'a\\\\nb', 500 of them")
    assert first.funcName == test_a_collection_is_logged_by_its_first_members.__name__


def test_nothing_in_the_package_logs_by_another_way() -> None:
    package = Path(filecolumn.__file__).parent
    importing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        if "logging" in {getattr(node, "module", None), *(name.name for name in node.names)}
    }
    assert importing == {"logs.py"}
