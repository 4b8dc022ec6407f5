"""The command `filecolumn`, in this process and as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete

import filecolumn
from filecolumn.backends.base import Stat, StorageBackend
from filecolumn.cli import main
from filecolumn.ledger.table import State
from filecolumn.testing import WrappedBackend
from tests.maintenance.models import Document
from tests.maintenance.world import World, keys, make_old, make_world

ROOT = Path(__file__).parents[2]

Run = Callable[..., Result]


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a project whose pyproject.toml says everything."""
    url = world.url(world.way)
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.filecolumn]\napp = "tests.maintenance.models:Base"\nurl = "{url}"\n'
    )
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(main, list(arguments), input=answer)

    return run


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_check_and_its_exit_codes(world: World, storage: StorageBackend, run: Run) -> None:
    [key] = world.add(b"one")
    assert run("check").exit_code == 0
    storage.delete([key])
    result = run("--json", "check")
    assert result.exit_code == 1
    [finding, report] = lines(result)
    assert finding["finding"] == {
        "kind": "missing",
        "detail": "the row references an object that is not there",
        "storage": "docs",
        "key": key,
        "row": {"table": "documents", "column": "file", "primary_key": [1]},
        "repaired": False,
    }
    assert report["counts"] == {**dict.fromkeys(report["counts"], 0), "missing": 1}  # type: ignore[call-overload]
    plain = run("check")
    assert f"missing  docs:{key}  documents.file 1" in plain.stdout


def test_sweep_asks_and_drain_asks(world: World, storage: StorageBackend, run: Run) -> None:
    [key] = world.add(b"one")
    storage.put("lost", [b"x"])
    assert run("sweep", "--grace", "0", "--dry-run").exit_code in {0, 1}
    assert run("sweep", "--grace", "0", answer="n\n").exit_code == 3
    assert run("sweep", "--grace", "0").exit_code == 3, "nobody answers"
    assert world.states() == {key: State.LIVE}
    os.utime(Path.cwd() / "docs" / "lost", (1, 1))
    assert run("sweep", "--dry-run").exit_code == 1
    assert run("sweep", answer="y\n").exit_code == 0
    waiting = run("--json", "drain", "--yes")
    assert (waiting.exit_code, lines(waiting)[-1]["deleted"]) == (0, 0), "it is in quarantine"
    assert "quarantine" in run("status").stdout
    world.make_due()
    assert run("drain", "--dry-run").exit_code == 1, "it would delete something"
    assert keys() == {key, "lost"}
    result = run("--json", "drain", "--yes")
    assert (result.exit_code, lines(result)[-1]["deleted"]) == (0, 1)
    assert keys() == {key}
    assert (run("drain", "--dry-run").exit_code, run("sweep", "--dry-run").exit_code) == (0, 0)


def test_a_refusal_is_3_and_a_stuck_key_is_1(world: World, storage: StorageBackend, run: Run) -> None:
    [key] = world.add(b"one")
    storage.put("inner/a", [b"x"])
    filecolumn.storages.register_backend(f"file://{Path.cwd()}/docs/inner/", key="inner")
    result = run("sweep", "--yes")
    assert result.exit_code == 3
    assert "lies inside" in result.stderr
    assert run("status").exit_code == 0
    world.set_entries(state=State.DOOMED.value, attempts=20, due_at=1)
    assert run("status").exit_code == 1
    assert key in keys()


def test_adopt_and_triggers(world: World, storage: StorageBackend, run: Run) -> None:
    [key] = world.add(b"one")
    assert run("adopt", "--yes").stderr == "adopted: docs\n"
    result = run("triggers", "install")
    assert (result.exit_code, "warning" in result.stderr) == (0, world.kind == "mariadb")
    with world.engine.begin() as connection:
        connection.execute(delete(Document))
    assert world.states() == {key: State.DOOMED}
    assert run("triggers", "remove").exit_code == 0


class InOrder(WrappedBackend):
    """A folder that lists its keys in order, as a bucket does."""

    def __init__(self, backend: StorageBackend) -> None:
        super().__init__(backend)
        self.capabilities = replace(backend.capabilities, lists_in_order=True)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[Stat]:
        found = sorted(self.backend.list(prefix), key=lambda stat: stat.key)
        return iter([stat for stat in found if after is None or stat.key > after])


def test_a_run_whose_time_is_over_is_no_fault_and_the_next_goes_on(
    storage: StorageBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make_world("sqlite", "sync", tmp_path) as world:
        world.add(*(b"%d" % number for number in range(1100)))
        where = ("--json", "--app", "tests.maintenance.models:Base", "--url", world.url())
        make_old(*keys())
        filecolumn.storages.unregister_backend("docs")
        filecolumn.storages.register_backend(InOrder(storage))

        def run(*arguments: str) -> dict[str, object]:
            result = CliRunner().invoke(main, [*where, *arguments])
            assert result.exit_code == 0, result.output
            return lines(result)[-1]

        limit = ("--max-seconds", "0.0001")
        seen = [run("check", *limit)["is_complete"] for _ in range(3)]
        assert (seen[0], True in seen) == (False, True)
        seen = [run("sweep", "--yes", *limit)["is_complete"] for _ in range(3)]
        assert (seen[0], True in seen) == (False, True)
        world.sql("DELETE FROM documents")
        world.set_entries(state=State.DOOMED.value, due_at=1)
        first = run("drain", "--yes", *limit)
        assert first["left"] == 1100 - first["deleted"] > 0  # type: ignore[operator]
        second = run("drain", "--yes", "--max-seconds", "1000")
        assert (second["left"], first["deleted"] + second["deleted"]) == (0, 1100)  # type: ignore[operator]


@pytest.mark.parametrize("command", ["check", "sweep", "drain"])
@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_a_time_that_is_none_is_wrong_usage(command: str, seconds: str) -> None:
    result = CliRunner().invoke(main, [command, "--max-seconds", seconds])
    assert (result.exit_code, "--max-seconds" in result.stderr) == (2, True)


def test_wrong_usage_is_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, message in [
        (["check"], "which models?"),
        (["--app", "tests.maintenance.models:Base", "check"], "which database?"),
        (
            ["--app", "tests.maintenance.models:Base", "--url", "postgres:/app:S3CR3T@host/db", "check"],
            "percent-encoded",
        ),
        (["--app", "tests.maintenance.models", "check"], "write package.module:name"),
        (["--app", "tests.maintenance.models:Nothing", "check"], "cannot be imported"),
        (["--app", "tests.maintenance.models:ForeignKey", "check"], "is not a declarative base"),
        (["check", "--grace", "-1"], "-1"),
    ]:
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n"
        "from filecolumn import FileObject, StoredObject, storages\n"
        "class Base(DeclarativeBase): ...\n"
        "class Product(Base):\n"
        "    __tablename__ = 'products'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    photo: Mapped[FileObject | None] = mapped_column(StoredObject(backend='photos'))\n"
        "async def set_up():\n"
        f"    storages.register_backend('file://{tmp_path}/photos/', key='photos')\n"
    )
    (tmp_path / "pyproject.toml").write_text(
        "[tool.filecolumn]\napp = ['shop:Base']\nsetup = 'shop:set_up'\nurl = 'sqlite+aiosqlite:///shop.db'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    failed = run("-m", "filecolumn", "status")
    assert failed.returncode == 3
    assert "create_all()" in failed.stderr
    create = (
        "import shop, sqlalchemy as sa; shop.Base.metadata.create_all(sa.create_engine('sqlite:///shop.db'))"
    )
    assert run("-c", create).returncode == 0
    done = run("-m", "filecolumn", "--json", "status")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["live"] == 0


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['rich_click'] = None\n"
        "import filecolumn\n"
        "try:\n    import filecolumn.cli\n"
        "except filecolumn.MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert "pip install 'filecolumn[cli]'" in done.stdout
