"""A pytest plugin: one line for each test that failed, with the promise that broke and what was seen.

The promise is the marker `promise`, or the first line of the test's docstring, or its name as a sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator

import pytest

LIMIT = 160
"""Characters of what was seen."""


def promise_of(item: pytest.Item) -> str:
    """Return what a test holds, as a sentence."""
    marker = item.get_closest_marker("promise")
    if marker is not None:
        return str(marker.args[0])
    described = inspect.getdoc(getattr(item, "function", None)) or ""
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    return described.partition("\n")[0].rstrip(".") or name


def seen(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the first line of what a report says of a failure."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash is not None else str(report.longrepr)).splitlines() or [""]
    return lines[0] if len(lines[0]) <= LIMIT else lines[0][: LIMIT - 3] + "..."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the promise with a report, which may go to another process."""
    report = yield
    if report.failed:
        report.user_properties.append(("promise", promise_of(item)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the lines."""
    failures = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    if failures:
        terminalreporter.section("promises that broke")
    for report in failures:
        promise = dict(getattr(report, "user_properties", ())).get("promise", "the tests can be collected")
        terminalreporter.write_line(f"{promise} | {report.nodeid} | {seen(report)}")
