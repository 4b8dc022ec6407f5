"""A column's policy holds for ORM statements as it does for flushes."""

from __future__ import annotations

import pytest
from sqlalchemy import Executable, insert, update

from filecolumn import ContentTypeRejectedError, FileObject, FileTooLargeError
from filecolumn.backends.base import StorageBackend
from tests.samples import GIF, HTML, PNG
from tests.scenarios.drivers import Driver, contents, stored
from tests.scenarios.gates import LIMIT, commit, rows
from tests.scenarios.more_models import Gated
from tests.scenarios.tables import tables

__all__ = ("tables",)
pytestmark = pytest.mark.usefixtures("tables")


async def execute(
    driver: Driver, statement: Executable, parameters: list[dict[str, object]] | None = None
) -> None:
    async with driver.session() as session:
        await session.run(lambda s: s.execute(statement, parameters))
        await session.commit()


async def test_a_bulk_insert_is_refused_as_a_whole(driver: Driver, storage: StorageBackend) -> None:
    good = FileObject("a.png", content=PNG)
    records = [
        {"id": 1, "picture": good, "pictures": []},
        {"id": 2, "picture": FileObject("b.png", content=HTML), "pictures": []},
    ]
    with pytest.raises(ContentTypeRejectedError) as caught:
        await execute(driver, insert(Gated), records)
    assert (caught.value.field, caught.value.code) == ("picture", "type_mismatch")
    assert stored() == {}
    assert await rows(driver) == 0
    assert good.has_pending_data


async def test_a_bulk_insert_stores_what_is_accepted(driver: Driver, storage: StorageBackend) -> None:
    records = [
        {"id": 1, "picture": FileObject("a", content=PNG), "pictures": []},
        {"id": 2, "picture": FileObject("b", content=GIF), "pictures": []},
    ]
    await execute(driver, insert(Gated), records)
    async with driver.session() as session:
        kinds = [(await session.one(Gated, number)).picture.content_type for number in (1, 2)]  # type: ignore[union-attr]
    assert kinds == ["image/png", "image/gif"]


@pytest.mark.parametrize("is_staged", [False, True])
async def test_an_update_is_refused(driver: Driver, storage: StorageBackend, is_staged: bool) -> None:
    await commit(driver, Gated(id=1, small=FileObject("a.bin", content=b"old")))
    large = FileObject("b.bin", content=iter([b"\0" * (LIMIT + 1)]))
    if is_staged:
        await driver.save(large)
    with pytest.raises(FileTooLargeError):
        await execute(driver, update(Gated).where(Gated.id == 1).values(small=large))
    assert b"old" in contents()
    assert len(contents()) == 1 + is_staged
    async with driver.session() as session:
        record = await session.one(Gated, 1)
        assert await driver.content(record.small) == b"old"


async def test_a_copy_by_a_statement_is_judged_by_its_bytes(driver: Driver, storage: StorageBackend) -> None:
    await commit(driver, Gated(id=1, anything=FileObject("a.png", content=b"no picture")))
    async with driver.session() as session:
        anything = (await session.one(Gated, 1)).anything
        with pytest.raises(ContentTypeRejectedError):
            await session.execute(update(Gated).where(Gated.id == 1).values(picture=anything))
    assert contents() == [b"no picture"]
