"""Every example runs, and the demo's own check can fail."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import filecolumn

pytest.importorskip("rich")
pytest.importorskip("aiosqlite")

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS = 9


def run(name: str, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONPATH": str(Path(filecolumn.__file__).parent.parent),
            "PYTHONIOENCODING": "utf-8",
        },
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example_runs_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_quickstart_takes_files_and_folders_and_keeps_what_it_made(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "[red] one.jpg").write_bytes(b"\xff\xd8 one")
    (photos / ".hidden").write_bytes(b"not this")
    (photos / "link").symlink_to(tmp_path)
    (tmp_path / "large.bin").write_bytes(os.urandom(3_000_000))
    (tmp_path / "empty").write_bytes(b"")
    done = run(
        "quickstart.py", tmp_path, "--keep", "kept here", tmp_path / "large.bin", photos, tmp_path / "empty"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("they agree, and all checksums are right") == STEPS
    assert "[red] one.jpg" in done.stdout
    assert "hidden" not in done.stdout
    assert (tmp_path / "kept here" / "demo.db").is_file()
    assert (tmp_path / "large.bin").stat().st_size == 3_000_000


@pytest.mark.parametrize("arguments", [["nothing-there"], ["--keep", "."]])
def test_quickstart_refuses_what_it_cannot_take(arguments: list[str], tmp_path: Path) -> None:
    done = run("quickstart.py", tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def quickstart(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("witness", "quickstart"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("quickstart")


def uploads(folder: Path) -> list[Path]:
    files = (path for path in (folder / "uploads").rglob("*") if path.is_file())
    return sorted(path for path in files if ".filecolumn" not in path.parts)


def a_missing_object(folder: Path) -> None:
    uploads(folder)[0].unlink()


def an_object_without_a_row(folder: Path) -> None:
    uploads(folder)[0].with_name("stray").write_bytes(b"?")


def other_content_of_the_same_size(folder: Path) -> None:
    path = max(uploads(folder), key=lambda path: path.stat().st_size)
    path.write_bytes(bytes(path.stat().st_size))


TAMPERINGS = {
    a_missing_object: "which is not stored",
    an_object_without_a_row: "no row has it",
    other_content_of_the_same_size: "is not what its row says",
}


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_check_sees_a_tampered_folder(tamper, quickstart: ModuleType, tmp_path: Path) -> None:
    assert asyncio.run(quickstart.run([Path(__file__)] * 3, tmp_path))
    check, storage = sys.modules["witness"].check, filecolumn.storages.get("documents")
    assert check(tmp_path / "demo.db", storage)[1] == []
    tamper(tmp_path)
    [fault] = check(tmp_path / "demo.db", storage)[1]
    assert TAMPERINGS[tamper] in fault


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_demo_fails_if_a_step_leaves_a_disagreement(
    tamper, quickstart: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    async def sabotage(session: object) -> None:
        tamper(tmp_path / "kept")

    monkeypatch.setattr(quickstart, "save_again", sabotage)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--keep", str(tmp_path / "kept")])
    assert quickstart.main() == 1
    assert "DISAGREE" in capsys.readouterr().out
