"""Save, replace and delete files of 4 KiB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as replaced
from typing import Any

from benchmarks.contenders.base import storing
from benchmarks.measuring import Measure, Sample, sampled

DELETED = 200


def save(contender: Any, times: int, files: int) -> Sample:
    with storing(contender, times * files), sampled(times * files) as sample:
        for _ in range(times):
            contender.save(files)
    return sample


async def save_async(contender: Any, times: int, files: int) -> Sample:
    with storing(contender, times * files), sampled(times * files) as sample:
        for _ in range(times):
            await contender.save_async(files)
    return sample


def replace(contender: Any, times: int, _amount: int) -> Sample:
    contender.save(times)
    keys = contender.keys(times)
    with sampled(times) as sample:
        for key in keys:
            contender.replace(key)
    return sample


async def replace_async(contender: Any, times: int, _amount: int) -> Sample:
    await contender.save_async(times)
    keys = contender.keys(times)
    with sampled(times) as sample:
        for key in keys:
            await contender.replace_async(key)
    return sample


def delete(contender: Any, _times: int, rows: int) -> Sample:
    contender.save(rows)
    keys = contender.keys(rows)
    with sampled(rows) as sample:
        contender.delete(keys)
    return sample


async def delete_async(contender: Any, _times: int, rows: int) -> Sample:
    await contender.save_async(rows)
    keys = contender.keys(rows)
    with sampled(rows) as sample:
        await contender.delete_async(keys)
    return sample


def sessions_async(sessions: int) -> Callable[..., Any]:
    """Return the work of saving the same number of files in that many sessions at a time."""

    async def work(contender: Any, times: int, _amount: int) -> Sample:
        each = max(1, times // sessions)
        with storing(contender, each * sessions), sampled(each * sessions) as sample:
            await contender.sessions_async(sessions, each)
        return sample

    return work


ONE = (
    Measure(name="save", title="save and commit one file", work=save, usual=60),
    Measure(
        name="save-async", title="save and commit one file, async", work=save_async, needs="async", usual=60
    ),
)
FIFTY = (
    Measure(name="save-50", title="save 50 files in one commit", work=save, usual=3, amount=50),
    Measure(
        name="save-50-async",
        title="save 50 files in one commit, async",
        work=save_async,
        needs="async",
        usual=3,
        amount=50,
    ),
)
MANY = (
    Measure(name="save-300", title="save 300 files in one commit", work=save, amount=300),
    Measure(
        name="save-300-async",
        title="save 300 files in one commit, async",
        work=save_async,
        needs="async",
        amount=300,
    ),
)
REPLACE = (
    Measure(name="replace", title="get a row, set another file, commit", work=replace, usual=40),
    Measure(
        name="replace-async",
        title="get a row, set another file, commit, async",
        work=replace_async,
        needs="async",
        usual=40,
    ),
)
DELETE = (
    Measure(name="delete-200", title="delete 200 rows in one transaction", work=delete, amount=DELETED),
    Measure(
        name="delete-200-async",
        title="delete 200 rows in one transaction, async",
        work=delete_async,
        needs="async",
        amount=DELETED,
    ),
)
MEASURES = (*ONE, *FIFTY, *MANY, *REPLACE, *DELETE)
IN_S3 = tuple(replaced(measure, metrics=("cpu", "wall", "requests")) for measure in (*ONE, *FIFTY))
SHORT = (*ONE, *FIFTY, REPLACE[0])
SESSIONS = tuple(
    Measure(
        name=f"sessions-{sessions}",
        title=f"save one file after the other in {sessions} async sessions at a time",
        work=sessions_async(sessions),
        needs="async",
        usual=64,
        contenders=("filecolumn", "filecolumn, fsync=False, ledger=False", "floor+L", "advanced-alchemy"),
    )
    for sessions in (1, 4, 16, 64)
)
