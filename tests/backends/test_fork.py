"""Storages in a process that was forked: they work, or say at once that they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import filecolumn

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.timeout(60),
]

HEAD = """
import asyncio, os, signal, sys, time
from filecolumn import StorageError
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.backends.fsspec import FSSpecBackend

folder = sys.argv[1]

def local():
    return ObstoreBackend("s", f"file://{folder}/s/")

def in_child(work):
    "Run work in a fork; return what it printed, or how it died."
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        os.close(read)
        try:
            text = repr(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return text or f"died: {os.waitstatus_to_exitcode(status)}"
"""


def run(folder: Path, script: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parents[1])}
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:This process:DeprecationWarning",
            "-c",
            HEAD + script,
            str(folder),
        ],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


CALLS = [
    "backend.put('b', [b'x'])",
    "backend.put('b', [bytes(20_000_000)])",
    "backend.get_bytes('a')",
    "backend.stat('a')",
    "backend.delete(['a'])",
    "backend.copy('a', 'b')",
    "asyncio.run(backend.put_async('b', [b'x']))",
    "asyncio.run(backend.get_bytes_async('a'))",
    "asyncio.run(backend.stat_async('a'))",
    "asyncio.run(backend.delete_async(['a']))",
    "local().put('b', [b'x'])",
    "ObstoreBackend('m', 'memory://').put('b', [b'x'])",
]


@pytest.mark.parametrize("used", ["backend.put('a', [b'x'])", "asyncio.run(backend.put_async('a', [b'x']))"])
def test_a_child_of_a_process_that_used_obstore_gets_an_error_at_once(tmp_path: Path, used: str) -> None:
    script = f"backend = local()\n{used}\n"
    for call in CALLS:
        script += (
            f"start = time.monotonic()\nprint(in_child(lambda: {call}), '|', time.monotonic() - start)\n"
        )
    script += "print(backend.get_bytes('a'))"
    *answers, parent = run(tmp_path, script)
    for call, answer in zip(CALLS, answers, strict=True):
        text, _, seconds = answer.rpartition("|")
        assert text.startswith("StorageError:"), call
        assert "spawn" in text, call
        assert float(seconds) < 2, call
    assert parent == "b'x'"


def test_a_child_works_if_the_storage_was_made_but_not_used(tmp_path: Path) -> None:
    answers = run(
        tmp_path,
        """
backend = local()
def work():
    backend.put("a", [b"x"])
    asyncio.run(backend.put_async("large", [bytes(20_000_000)]))
    return backend.get_bytes("a"), backend.stat("large").size
print(in_child(work))
print(backend.get_bytes("a"))
""",
    )
    assert answers == ["(b'x', 20000000)", "b'x'"]


def test_a_grandchild_of_a_child_that_used_obstore_gets_an_error(tmp_path: Path) -> None:
    answers = run(
        tmp_path,
        """
backend = local()
def work():
    backend.put("a", [b"x"])
    return in_child(lambda: backend.get_bytes("a"))
print(in_child(work))
""",
    )
    assert "StorageError" in answers[0]


def test_fsspec_on_a_local_folder_works_in_a_child(tmp_path: Path) -> None:
    answers = run(
        tmp_path,
        """
backend = FSSpecBackend("s", "file", folder + "/f")
backend.put("a", [b"x"])
asyncio.run(backend.put_async("b", [b"y"]))
def work():
    backend.put("c", [b"z"])
    asyncio.run(backend.put_async("large", [bytes(20_000_000)]))
    return backend.get_bytes("a"), asyncio.run(backend.get_bytes_async("b")), backend.stat("large").size
print(in_child(work))
print(backend.get_bytes("c"))
""",
    )
    assert answers == ["(b'x', b'y', 20000000)", "b'z'"]


def test_keys_made_in_parent_and_child_differ(tmp_path: Path) -> None:
    answers = run(
        tmp_path,
        """
from filecolumn.naming import new_key
new_key("a")
print(in_child(lambda: [new_key("a")[-15:] for _ in range(50)]))
print([new_key("a")[-15:] for _ in range(50)])
""",
    )
    assert not set(eval(answers[0])) & set(eval(answers[1]))
