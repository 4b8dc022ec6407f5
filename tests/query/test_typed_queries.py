"""The program that type checkers check runs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.typed.queries import Base, Report, lookups, work, work_async


async def test_a_typed_program_finds_rows(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Report(id=1, title="a"))
        session.commit()
        work(session)
    engine.dispose()
    async_engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    async with AsyncSession(async_engine) as session:
        await work_async(session)
    await async_engine.dispose()
    assert "longer" in lookups
