"""What holds for every test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from filecolumn import storages
from filecolumn.ledger import deletion

pytest_plugins = ("tests.profiles", "tests.promises", "tests.scenarios.fixtures", "tests.servers.fixtures")

BROWSER_PACKAGES = ("PIL", "av", "axe_playwright_python", "litestar", "playwright", "schemathesis", "uvicorn")
# the dependency group "browser", which only `make test-all` installs
collect_ignore = [] if all(map(find_spec, BROWSER_PACKAGES)) else ["gallery"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `--timeout=0` lift the limits that tests set for themselves, too, as the nox session `soak` needs."""
    if config.getoption("timeout", None) == 0:
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking through thousands of tests, again in each of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    """Give each test the global registry empty."""
    storages.clear_backends()
    yield
    storages.clear_backends()


@pytest.fixture
def recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each commit record at once which objects it has deleted, for tests that read the ledger's table."""
    monkeypatch.setattr(deletion, "RECORDED_AT_ONCE", 1)
