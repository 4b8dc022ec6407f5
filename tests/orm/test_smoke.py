from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, contents
from tests.scenarios.models import Document


async def test_commit_stores_and_rollback_removes(driver: Driver, storage: StorageBackend) -> None:
    async with driver.session() as session:
        document = Document(id=1, file=FileObject("a.txt", content=b"one"))
        session.add(document)
        await session.commit()
        assert contents() == [b"one"]
        document.file = FileObject("a.txt", content=b"two")
        await session.flush()
        assert contents() == [b"one", b"two"]
        await session.rollback()
    assert contents() == [b"one"]
    async with driver.session() as session:
        loaded = await session.one(Document, 1)
        assert await driver.content(loaded.file) == b"one"
