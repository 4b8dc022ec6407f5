"""A worker on rows that others change at the same time, and workers that clean up after all of them.

Run as `python -m tests.faults.hot URL FOLDER KIND SEED SECONDS`.  Each content says which row it is
for and has its own hash, so that a reader can tell foreign and torn content by itself.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from filecolumn import FileObject, ObjectExistsError, ObjectNotFoundError, storages
from filecolumn.backends.obstore import ObstoreBackend
from filecolumn.maintenance import drain
from tests.faults.due import make_due, sweep_all_now
from tests.scenarios.models import Base, Document

ROWS = 20
RETRIED = {"40001", "40P01", "23505", "55P03"}
"""SQLSTATEs that PostgreSQL gives to the loser of a race."""


def content(row: int, chosen: random.Random) -> bytes:
    body = f"{row}:".encode() + chosen.randbytes(chosen.choice([20, 2_000, 200_000]))
    return hashlib.sha256(body).hexdigest().encode() + body


def is_right(row: int, found: bytes) -> bool:
    digest, body = found[:64], found[64:]
    return hashlib.sha256(body).hexdigest().encode() == digest and body.startswith(f"{row}:".encode())


@contextmanager
def forgiving_lost_races(counts: Counter[str]) -> Generator[None]:
    """Count what PostgreSQL undoes in favour of others."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in RETRIED:
            raise
        counts["lost a race"] += 1


class HotRows:
    """Replaces, deletes, lists and reads, until its time is over."""

    forgiven: tuple[type[Exception], ...] = ()
    """What of the storage may go wrong."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter(wrong=0)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with Session(self._engine) as session:
                self.step(session)
        self._engine.dispose()

    def step(self, session: Session) -> None:
        """Do one thing in a transaction of a new session."""
        what = self._random.choice(["replace", "replace", "append", "pop", "delete", "read", "read", "read"])
        try:
            with forgiving_lost_races(self.counts):
                self._do(session, what, self._random.randint(1, ROWS))
                session.commit()
                self.counts[what] += 1
        except ObjectExistsError:
            self.counts["swept before its row was written"] += 1
        except (StaleDataError, ObjectDeletedError):
            self.counts["lost a race"] += 1
        except self.forgiven:
            self.counts["refused"] += 1

    def _do(self, session: Session, what: str, row: int) -> None:
        document = session.get(Document, row)
        if document is None:
            session.add(Document(id=row, file=self._file(row)))
        elif what == "replace":
            document.file = self._file(row)
        elif what == "append":
            document.pages.append(self._file(row))
        elif what == "pop":
            document.pages[:] = document.pages[1:]
        elif what == "delete":
            session.delete(document)
        else:
            self._read(session, document)

    def _read(self, session: Session, document: Document) -> None:
        for file in (document.file, *document.pages):
            if file is None:
                continue
            try:
                found = self._content(file)
            except ObjectNotFoundError:
                # right if the row, read again, has another file
                self.counts["wrong"] += self._still_has(document.id, file.path)
            else:
                self.counts["wrong"] += not is_right(document.id, found)

    def _content(self, file: FileObject) -> bytes:
        return file.get_content()

    def _still_has(self, row: int, key: str | None) -> bool:
        with Session(self._engine) as session:
            now = session.get(Document, row)
            return now is not None and key in {
                file.path for file in (now.file, *now.pages) if file is not None
            }

    def _file(self, row: int) -> FileObject:
        return FileObject("same.bin", content=content(row, self._random))


def clean_up(url: str, kind: str, seconds: float) -> Counter[str]:
    """Drain, or sweep without any grace, again and again."""
    engine = create_engine(url)
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if kind == "drain":
            with forgiving_lost_races(counts):
                make_due(engine)
            counts["deleted"] += drain(engine, Base).deleted
        else:
            sweep_all_now(engine, Base, grace=0)
        time.sleep(0.05)
    engine.dispose()
    return counts


def main() -> None:
    url, folder, kind, seed, seconds = sys.argv[1:]
    storages.register_backend(ObstoreBackend("docs", f"file://{folder}/", fsync=False))
    if kind == "work":
        rows = HotRows(create_engine(url), int(seed))
        rows.run(float(seconds))
        counts = rows.counts
    else:
        counts = clean_up(url, kind, float(seconds))
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main()
