"""The commands of the page about production, in cron, systemd and Kubernetes, as they are written there."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

from filecolumn import storages
from filecolumn.cli.commands import main
from tests.project.test_docs import ROOT, blocks, module

__all__ = ("module",)

PAGE = ROOT / "docs/howto/production.md"
TEXT = PAGE.read_text(encoding="utf-8")


def written() -> Iterator[tuple[str, ...]]:
    """Yield the words of each command of the page, in whatever notation it is."""
    for block in blocks(TEXT):
        for line in block.text.splitlines():
            # cron calls a script of the page, which is `filecolumn`
            if found := re.search(
                r"(?:^|/)(?:filecolumn|files) ((?:drain|sweep|status|check|columns)\b[^>#]*)", line
            ):
                yield tuple(shlex.split(found[1]))
    for found in re.finditer(r'\["filecolumn", [^]]*\]', TEXT):
        yield tuple(json.loads(found[0])[1:])


COMMANDS = sorted(set(written()))

pytestmark = pytest.mark.usefixtures("module")


def test_the_page_has_every_job_in_every_notation() -> None:
    jobs = {"drain": 3, "sweep": 2, "status": 3, "check": 3}
    counts = {job: sum(words[0] == job for words in written()) for job in jobs}
    assert all(counts[job] >= least for job, least in jobs.items()), counts


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_page_finds_nothing_wrong_in_a_new_installation(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    monkeypatch.setenv("FILECOLUMN_URL", url)
    write_models()
    (tmp_path / "pyproject.toml").write_text(toml_of_the_page(), encoding="utf-8")
    engine = create_engine(url)
    shop_files = importlib.import_module("shop_files")
    # the page's storage is a bucket on the network
    monkeypatch.setattr(shop_files, "register", lambda: register_folder(tmp_path))
    shop_files.Base.metadata.create_all(engine)
    engine.dispose()
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 0, result.output


def test_the_storage_of_the_page_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOP_REGION", "SHOP_KEY_ID", "SHOP_SECRET"):
        monkeypatch.setenv(name, "x")
    write_models()
    importlib.import_module("shop_files").register()
    try:
        assert storages.registered_backends() == ["documents"]
        assert storages.get("documents").total_timeout == 50
    finally:
        storages.retention = 0.0
        storages.clear_backends()


def write_models() -> None:
    """Write the page's module into the folder in which the test runs."""
    first = next(block for block in blocks(TEXT) if block.file_name == "shop_files.py")
    Path("shop_files.py").write_text(first.text, encoding="utf-8")


def toml_of_the_page() -> str:
    return next(block.text for block in blocks(TEXT) if block.language == "toml")


def register_folder(folder: Path) -> None:
    storages.register_backend(f"file://{folder}/uploads/", key="documents", replace=True)
