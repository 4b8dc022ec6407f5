"""The oracle of tests: rows, ledger and storages agree."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import greenlet_spawn

from filecolumn.maintenance import CheckReport, FindingKind, Models, check
from filecolumn.orm.asynchronous import AsyncEngine, AsyncSession

__all__ = ("assert_consistent", "assert_consistent_async")

SKEW = 10.0
"""Seconds that a storage's clock may be ahead of the database's."""


def assert_consistent(
    session: Session | Engine,
    *models: Models,
    verify: bool = True,
    allow: Collection[FindingKind] = (FindingKind.UNRECORDED,),
) -> CheckReport:
    """Check all committed rows, the ledger and the storages; AssertionError lists each difference.

    *models* are the declarative bases (or `MetaData`) of all models in the database.  With *verify* all content is
    read and compared.  Findings of the kinds in *allow* are accepted; add `FindingKind.ORPHAN` for a test that kills
    a process and runs no sweep.
    """
    engine = session if isinstance(session, Engine) else session.get_bind().engine
    report = check(engine, *models, verify=verify, grace=-SKEW)
    wrong = [finding for finding in report.findings if finding.kind not in allow]
    if wrong:
        raise AssertionError("\n".join([f"{len(wrong)} findings:", *map(str, wrong)]))
    return report


async def assert_consistent_async(
    session: AsyncSession | AsyncEngine,
    *models: Models,
    verify: bool = True,
    allow: Collection[FindingKind] = (FindingKind.UNRECORDED,),
) -> CheckReport:
    """Call `assert_consistent` asynchronously."""
    target = session.sync_engine if isinstance(session, AsyncEngine) else session.sync_session
    return await greenlet_spawn(assert_consistent, target, *models, verify=verify, allow=allow)
