"""A restore drill: a database goes back to its backup, its storage does not, and no file is lost."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, storages
from filecolumn.maintenance import adopt, check, status, sweep, undelete

WEEK = 7 * 24 * 3600.0


class Base(DeclarativeBase):
    """Knows the tables."""


class Document(Base):
    """A record with a file."""

    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject(backend="documents"))


def main(folder: Path) -> None:
    storages.register_backend(f"{folder.as_uri()}/uploads/", key="documents")
    storages.retention = WEEK  # commits leave content to the drains of next week
    database, backup = folder / "app.db", folder / "backup.db"
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)

    with Session(engine) as session:
        session.add_all(Document(id=n, file=FileObject("a.txt", content=b"text")) for n in (1, 2))
        session.commit()
    show("saved", engine)

    engine.dispose()
    shutil.copy(database, backup)
    sweep(engine, Base)  # as every night: it raises the number that tells a restored database
    delete(engine, 1)
    show("deleted 1", engine)

    engine.dispose()
    shutil.copy(backup, database)
    show("restored", engine)
    for storage, why in status(engine, Base).places.items():
        print(f"           {storage}: {why}")

    delete(engine, 2)  # the application runs on
    show("deleted 2", engine)

    adopt(engine, Base)
    show("adopted", engine)

    with engine.connect() as connection:
        key = connection.scalars(text("SELECT key FROM filecolumn_ledger WHERE state = 2")).one()
    undelete(engine, Base, key=key)
    with engine.connect() as connection:
        connection.execute(text("ATTACH :backup AS backup"), {"backup": str(backup)})
        connection.execute(text("INSERT INTO documents SELECT * FROM backup.documents WHERE id = 2"))
        connection.commit()
    show("undeleted", engine)
    with Session(engine) as session:
        print("read      ", [session.get_one(Document, n).file.get_content() for n in (1, 2)])
    engine.dispose()


def delete(engine: Engine, number: int) -> None:
    with Session(engine) as session:
        session.delete(session.get_one(Document, number))
        session.commit()


def show(step: str, engine: Engine) -> None:
    """Print what the ledger says, and how many faults a check finds in rows and objects."""
    now, found = status(engine, Base), check(engine, Base)
    doubts = len(now.places)
    faults = found.faults - doubts
    print(f"{step:10} live {now.live}, doomed {now.doomed}, faults {faults}, in doubt {doubts}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)  # warnings say the same as `status` does
    with tempfile.TemporaryDirectory() as name:
        main(Path(name).resolve())
