"""`assert_consistent` says what is wrong."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from filecolumn.backends.base import StorageBackend
from filecolumn.maintenance import FindingKind
from filecolumn.testing import assert_consistent, assert_consistent_async
from tests.maintenance.models import Base
from tests.maintenance.world import World


async def test_it_passes_fails_and_allows(world: World, storage: StorageBackend) -> None:
    [key] = world.add(b"one")
    assert assert_consistent(world.engine, Base).files == 1
    storage.put("x", [b"x"])
    storage.put(key, [b"eno"], mode="overwrite")
    with (
        Session(world.engine) as session,
        pytest.raises(AssertionError, match=r"2 findings:[^$]*corrupt") as error,
    ):
        assert_consistent(session, Base)
    assert "no row references it, and the ledger does not have it" in str(error.value)
    async with world.async_engine() as engine, AsyncSession(engine) as session:
        with pytest.raises(AssertionError, match="1 findings"):
            await assert_consistent_async(session, Base, allow={FindingKind.ORPHAN})
        await assert_consistent_async(engine, Base, allow={FindingKind.ORPHAN}, verify=False)
