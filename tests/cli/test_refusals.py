"""What commands refuse, how they say it, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from litestar.cli.main import litestar_group

from filecolumn import storages
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.cli import main
from filecolumn.cli.words import FINDINGS, WORDS, spoken
from filecolumn.maintenance import CheckReport, FindingKind
from tests.maintenance.world import keys, lay, make_world

ROOT = Path(__file__).parents[2]
MODELS = "tests.maintenance.models:Base"

Run = Callable[..., Result]

SHOP = """
import os
from pathlib import Path
from litestar import Litestar
from sqlalchemy import NullPool
from sqlalchemy import create_engine as create_pooled_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from filecolumn import FileObject, StoredObject, storages
from filecolumn.litestar import FileColumnConfig, FileColumnPlugin

HERE = Path(__file__).parent

def create_engine(url):
    # nobody disposes of it, and from 3.13 on Python warns of a connection to SQLite that is forgotten
    return create_pooled_engine(url, poolclass=NullPool)

class Base(DeclarativeBase): ...

class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[FileObject | None] = mapped_column(StoredObject(backend="photos"))

def set_up():
    storages.register_backend(f"file://{HERE}/photos/", key="photos")

def fill():
    set_up()
    engine = create_engine(f"sqlite:///{HERE}/shop.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Product(id=n, photo=FileObject("a.txt", content=b"x")) for n in range(3)])
        session.commit()
    engine.dispose()

async def own_storages(app):
    set_up()

def made(engine, backends=None, **options):
    if backends is None:
        backends = {"photos": f"file://{HERE}/photos/"}
    models = [] if engine is None else [Base]
    config = FileColumnConfig(backends=backends, engine=engine, models=models, drain_interval=0.01)
    return Litestar([], plugins=[FileColumnPlugin(config)], **options)

def on_async():
    return made(create_async_engine(f"sqlite+aiosqlite:///{HERE}/shop.db"))

def on_sync():
    return made(create_engine(f"sqlite:///{HERE}/shop.db"))

def on_callable():
    return made(lambda: create_async_engine(f"sqlite+aiosqlite:///{HERE}/shop.db"))

async def fails(app):
    raise RuntimeError("no queue")

def fails_to_start():
    return made(create_engine(f"sqlite:///{HERE}/shop.db"), on_startup=[fails])

def leaves():
    raise SystemExit("no settings")

def with_own_storages():
    engine = create_engine(f"sqlite:///{HERE}/shop.db")
    return made(engine, backends={}, on_startup=[own_storages])

def without_engine():
    return made(None)

def unreachable():
    from filecolumn.backends.obstore import ObstoreBackend
    photos = ObstoreBackend(
        "photos",
        "s3://bucket/",
        endpoint="http://127.0.0.1:9",
        access_key_id="a",
        secret_access_key="S3CR3T",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    return made(create_engine(f"sqlite:///{HERE}/shop.db"), backends={"photos": photos})

app = on_async()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with three products, and no pyproject.toml."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    import shop  # noqa: PLC0415 - it is there only now

    shop.fill()
    storages.clear_backends()
    yield tmp_path
    # other tests have modules of this name
    sys.modules.pop("shop", None)


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environment)


def run_files(app: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("LITESTAR_APP", f"shop:{app}")
    return CliRunner().invoke(litestar_group, ["files", *arguments])


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


WITHOUT_STORAGES = (
    ("check",),
    ("check", "--repair"),
    ("sweep",),
    ("sweep", "--yes"),
    ("sweep", "--dry-run"),
    ("drain", "--yes"),
    ("drain", "--dry-run"),
    ("adopt",),
    ("triggers", "install"),
)


@pytest.mark.parametrize("arguments", WITHOUT_STORAGES, ids=" ".join)
def test_without_the_set_up_a_command_says_which_storages_are_missing(
    shop: Path, arguments: tuple[str, ...]
) -> None:
    before = (shop / "shop.db").read_bytes()
    result = run("--app", "shop:Base", "--url", "sqlite:///shop.db", *arguments)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert "'photos' is not registered" in result.stderr
    assert "--setup" in result.stderr
    assert (shop / "shop.db").read_bytes() == before


def test_options_stand_before_and_behind_a_command(shop: Path) -> None:
    where = ("--app", "shop:Base", "--url", "sqlite:///shop.db", "--setup", "shop:set_up", "--json")
    assert lines(run(*where, "check")) == lines(run("check", *where)) != []
    for arguments in (["triggers", "install", *where], ["triggers", *where, "install"]):
        assert run(*arguments).exit_code == 0
    result = run("--url", "sqlite:///elsewhere.db", "check", *where, FILECOLUMN_URL="sqlite:///other.db")
    assert result.exit_code == 0, "the last one on the command line counts"
    assert (
        run("--url", "sqlite:///shop.db", "status", "--app", "shop:Base", FILECOLUMN_URL="x").exit_code == 0
    )


COMMANDS = ("check", "sweep --dry-run", "drain --yes", "status", "triggers install", "adopt --yes", "columns")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there_is_one_sentence_and_stays_away(shop: Path, command: str) -> None:
    where = ("--app", "shop:Base", "--setup", "shop:set_up")
    for url, said in [
        ("sqlite:///none.db", "there is no database"),
        ("sqlite+aiosqlite:///none.db", "there is no database"),
        ("sqlite:///folder/none.db", "there is no database"),
        ("sqlite://", "create_all"),
        ("postgresql+psycopg://app:S3CR3T@127.0.0.1:9/app", "cannot be reached"),
    ]:
        result = run(*command.split(), *where, "--url", url)
        assert (result.exit_code, said in result.stderr) == (3, True), result.stderr
        assert result.stderr.count("\n") == 1
        assert not any(secret in result.output for secret in ("S3CR3T", "SELECT", "Traceback", "sqlalche.me"))
    assert not (shop / "none.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("sweep", "--yes"),
        ("drain", "--yes"),
        ("status",),
        ("adopt", "--yes"),
        ("migrate",),
        ("migrate", "--dry-run"),
        ("columns",),
        ("copy-files", "products.photo", "products.photo"),
        ("triggers", "install"),
        ("triggers", "remove"),
        ("undelete", "nothing"),
    ],
    ids=" ".join,
)
def test_each_command_speaks_json(shop: Path, arguments: tuple[str, ...]) -> None:
    result = run("--app", "shop:app", *arguments, "--json")
    found = lines(result)
    if arguments[0] == "undelete":
        assert (result.exit_code, found[-1]["exit_code"]) == (3, 3)
        assert found[-1]["error"] in result.stderr
    else:
        assert result.exit_code == 0, result.output
        assert found or arguments == ("triggers", "remove")


@pytest.mark.parametrize("app", ["app", "on_sync", "on_callable", "with_own_storages"])
def test_the_commands_of_litestar_know_what_the_plugin_knows(
    shop: Path, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--app", f"shop:{app}")
    for arguments, code in [
        (["check", "--json"], 0),
        (["status", "--json"], 0),
        (["--json", "sweep", "--dry-run"], 0),
        (["drain", "--yes", "--max-seconds", "1000", "--json"], 0),
        (["triggers", "install", "--json"], 0),
        (["adopt", "--yes", "--json"], 0),
        (["check", "--storage", "nowhere", "--json"], 3),
    ]:
        ours = run_files(app, *arguments, monkeypatch=monkeypatch)
        assert ours.exit_code == code, ours.output
        theirs = run(*where, *arguments)
        assert theirs.exit_code == code, theirs.output
        if "triggers" not in arguments:
            assert lines(ours) == lines(theirs)
    assert storages.registered_backends() == ([] if app != "with_own_storages" else ["photos"])


def test_a_plugin_without_a_database_says_what_it_needs(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_files("without_engine", "check", monkeypatch=monkeypatch)
    assert (result.exit_code, "FileColumnConfig(engine=" in result.stderr) == (2, True)
    assert run("--app", "shop:without_engine", "check").exit_code == 2
    known = run("--app", "shop:without_engine", "--app", "shop:Base", "--url", "sqlite:///shop.db", "check")
    assert known.exit_code == 0, known.output


def test_an_unreachable_storage_does_not_keep_an_application_from_being_checked(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_files("unreachable", "check", "--json", monkeypatch=monkeypatch)
    assert result.exit_code == 1, result.output
    found = [line["finding"] for line in lines(result) if "finding" in line]
    kinds = {(each["kind"], each["storage"], each["key"]) for each in found}  # type: ignore[index]
    assert ("unreachable", "photos", None) in kinds
    assert not [kind for kind, *_ in kinds if kind == "missing"]
    assert "S3CR3T" not in result.output
    swept = run_files("unreachable", "sweep", "--dry-run", "--json", monkeypatch=monkeypatch)
    [report] = lines(swept)
    assert (swept.exit_code, list(report["unreachable"])) == (1, ["photos"])  # type: ignore[call-overload]
    probed = run_files("unreachable", "probe", "--json", monkeypatch=monkeypatch)
    [line] = lines(probed)
    assert (probed.exit_code, line["probe"]["is_healthy"]) == (1, False)  # type: ignore[index]


@pytest.mark.parametrize("command", ["check", "storages", "probe"])
def test_an_application_that_does_not_start_is_one_sentence(
    shop: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_files("fails_to_start", command, monkeypatch=monkeypatch)
    assert result.exit_code == 3, result.output
    assert result.stderr == "Error: the application failed to start: RuntimeError: no queue\n"


def test_code_that_ends_the_process_has_not_found_anything(shop: Path) -> None:
    for arguments in (["--app", "shop:leaves"], ["--app", "shop:app", "--setup", "shop:leaves"]):
        result = run("check", *arguments)
        assert result.exit_code == 3, "and not 1, which says that something was found"
        assert result.stderr == "Error: the project's own code ended the process: no settings\n"


@pytest.mark.parametrize(
    "text",
    [
        "tool = 3",
        "tool.filecolumn = 3",
        "[tool.filecolumn]\napp = 3",
        "[tool.filecolumn]\napp = [3]",
        "[tool.filecolumn]\nurl = ['x']",
        "[tool.filecolumn]\nset_up = 'shop:set_up'",
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(shop: Path, text: str) -> None:
    (shop / "pyproject.toml").write_text(text)
    result = run("check")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "which models?" in result.stderr or "cannot be read" in result.stderr


@pytest.mark.parametrize("app", ["on_sync", "on_async"])
def test_an_interrupted_question_is_not_answered(
    shop: Path, app: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[bool] = []

    def confirm(*_: object, **__: object) -> bool:
        signal.raise_signal(signal.SIGINT)
        answered.append(True)
        return True

    monkeypatch.setattr("click.confirm", confirm)
    result = run("sweep", "--app", f"shop:{app}")
    assert (result.exit_code, result.stderr, answered) == (130, "Error: interrupted\n", [])


def test_words_are_those_of_the_reports_and_of_the_documentation() -> None:
    page = (ROOT / "docs" / "howto" / "operations.md").read_text()
    for report, words in WORDS.items():
        names = {field.name for field in fields(report)} - ({"findings"} if report is CheckReport else set())
        assert set(words) == names
        for name, meaning in words.items():
            assert f"| `{spoken(name)}` | {meaning} |" in page
    assert set(FINDINGS) == set(FindingKind)
    for kind, meaning in FINDINGS.items():
        assert f"| `{kind}` | {meaning} |" in page


def test_numbers_stand_with_what_they_mean(storage: StorageBackend, tmp_path: Path) -> None:
    with make_world("sqlite", "sync", tmp_path) as world:
        world.add(b"one")
        url = world.url(world.way)
    lay("lost")
    where = ("--app", MODELS, "--url", url)
    assert "keys that rows own" in run("status", *where).stdout
    assert "a row references an object that is not there" in run("check", *where).stdout
    swept = run("sweep", "--dry-run", "--grace", "0", *where)
    assert (swept.exit_code, "objects in neither a row nor the ledger" in swept.stdout) == (1, True)
    assert "lost" in keys()


def process(shop: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=shop,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{shop}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


HANGING = """
import sys, threading
import shop
from filecolumn import FileObject
from filecolumn.backends.obstore import ObstoreBackend

def slow(self, *arguments, **options):
    print("waits", file=sys.stderr, flush=True)
    threading.Event().wait(40)
    yield from ()

ObstoreBackend.list = slow
from filecolumn.cli import main
main(["check", "--app", sys.argv[1]])
"""


def test_signals_end_commands_without_a_traceback(shop: Path) -> None:
    """Ctrl-C while a thread of an event loop waits, and a reader that closed the pipe: both at a time."""
    with (
        process(shop, "-c", HANGING, "shop:on_async") as running,
        process(shop, "-m", "filecolumn", "--app", "shop:app", "status") as unread,
    ):
        assert unread.stdout is not None
        unread.stdout.close()
        assert running.stderr is not None
        assert "waits" in running.stderr.readline()
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=40)
        assert (running.returncode, stderr) == (130, "Error: interrupted\n")
        assert unread.stderr is not None
        assert unread.stderr.read() == ""
        assert unread.wait(40) == 141


def test_ctrl_c_ends_what_holds_up_the_event_loop(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    def listing(*_: object, **__: object) -> Iterator[object]:
        signal.raise_signal(signal.SIGINT)
        ended.append(True)
        yield from ()

    monkeypatch.setattr(ObstoreBackend, "list", listing)
    result = run("check", "--app", "shop:on_sync")
    assert (result.exit_code, result.stderr, ended) == (130, "Error: interrupted\n", [])
