# ruff: noqa: RUF001 - letters that look like others are what is tested
"""Hostile file names from clients, and keys from code: what is stored and shown stays inside its storage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, InvalidKeyError, ObjectExistsError, StorageError, StoredObject, storages
from filecolumn.backends.base import StorageBackend
from tests.scenarios.drivers import Driver, SyncDriver, contents, stored
from tests.scenarios.fixtures import STORAGES, make_storage
from tests.scenarios.models import Document
from tests.scenarios.sqlite import driver

__all__ = ("driver",)

KEY = re.compile(r"\d{8}/\d\d/[0-9a-f]{32}(?:\.[a-z0-9]{1,8})?", re.ASCII)


async def kept_names(driver: Driver, names: list[str]) -> list[str]:
    """Commit a file under each name and return what a new session shows, after looking at the keys."""
    async with driver.session() as session:
        files = [FileObject(name, content=name.encode()) for name in names]
        session.add(*(Document(id=number, file=file) for number, file in enumerate(files, 1)))
        await session.commit()
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document).order_by(Document.id)).all())
        loaded = [document.file for document in documents if document.file is not None]
        assert [await driver.content(file) for file in loaded] == [name.encode() for name in names]
    keys = [file.path or "" for file in loaded]
    assert [key for key in keys if not KEY.fullmatch(key)] == []
    assert sorted(keys) == sorted(stored())
    return [file.filename for file in loaded]


def files_outside(folder: Path) -> list[str]:
    """Return what lies beside the storage "docs" and the database."""
    return sorted(path.name for path in folder.iterdir() if path.name not in {"docs", "test.db"})


async def test_climbing_names_are_base_names(driver: Driver, local: StorageBackend, tmp_path: Path) -> None:
    names = ["../../etc/passwd", "..\\..\\x", "....//x", "../" * 40 + "x", "a/../../b.txt", "..\\"]
    assert await kept_names(driver, names) == ["passwd", "x", "x", "x", "b.txt", "file"]
    assert files_outside(tmp_path) == []


async def test_absolute_names_and_urls_are_base_names(
    driver: Driver, local: StorageBackend, tmp_path: Path
) -> None:
    names = ["/etc/passwd", "C:\\x", "C:x", "\\\\srv\\share\\x", "file:///x", "s3://other/x", "C:C:x"]
    assert await kept_names(driver, names) == ["passwd", "x", "x", "x", "x", "x", "x"]
    assert files_outside(tmp_path) == []


async def test_encoded_names_are_never_decoded(driver: Driver, local: StorageBackend) -> None:
    names = ["%2e%2e%2fx", "%252e%252e%252fx", "..%c0%afx", "&#46;&#46;&#47;x", "%00.txt"]
    assert await kept_names(driver, names) == names
    for key in names[:3]:
        with pytest.raises(OSError):
            local.get(key)


CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]


async def test_control_characters_are_removed(driver: Driver, local: StorageBackend) -> None:
    names = [f"a{control}b.txt" for control in CONTROLS]
    assert set(await kept_names(driver, names)) == {"ab.txt"}
    for control in CONTROLS:
        with pytest.raises(InvalidKeyError):
            local.put(f"a{control}b", [b""])


async def test_a_name_of_nothing_is_file(driver: Driver, local: StorageBackend) -> None:
    names = ["", ".", "..", "   ", "...", ". . .", "/", "\\", "\u200b", "\x00", "C:", "\u3000"]
    assert set(await kept_names(driver, names)) == {"file"}


EDGES = [254, 255, 256, 257, 300, 5_000]


async def test_long_names_are_cut_to_255_bytes(driver: Driver, local: StorageBackend) -> None:
    names = [
        (letter * 5_000)[: size // len(letter.encode())] + extension
        for letter in ("a", "é", "漢", "😀", "e\u0301")
        for size in EDGES
        for extension in ("", ".pdf", ".é")
    ]
    for name, kept in zip(names, await kept_names(driver, names), strict=True):
        assert len(kept.encode()) <= 255
        assert (kept.endswith(".pdf"), kept.endswith(".é")) == (name.endswith(".pdf"), name.endswith(".é"))
        assert len(kept.encode()) > 240 or len(name.encode()) <= 255


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_long_keys_are_refused_at_their_byte_edges(local: StorageBackend, letter: str) -> None:
    width = len(letter.encode())
    segment = letter * (240 // width)
    local.put(segment, [b"x"])
    assert local.get_bytes(segment) == b"x"
    with pytest.raises(InvalidKeyError, match="240 bytes"):
        local.put(letter * (240 // width + 1), [b"x"])
    whole = "/".join([letter * (120 // width)] * 9)[:1024]
    with pytest.raises(InvalidKeyError, match="1024"):
        local.put(f"{whole}/{'x' * (1025 - len(whole.encode()) - 1)}", [b"x"])


DEVICES = ["CON", "con.txt", "NUL.tar.gz", "COM¹", "aux ", "sub/NUL", "LPT9.pdf", "prn.", "nul:", "CON .txt"]


async def test_device_names_are_shown_and_never_in_keys(driver: Driver, local: StorageBackend) -> None:
    shown = await kept_names(driver, DEVICES)
    assert shown == [
        "CON",
        "con.txt",
        "NUL.tar.gz",
        "COM¹",
        "aux",
        "NUL",
        "LPT9.pdf",
        "prn.",
        "nul:",
        "CON .txt",
    ]
    for device in DEVICES:
        with pytest.raises(InvalidKeyError):
            local.put(f"a/{device}", [b"x"])
    assert len(stored()) == len(DEVICES)


async def test_names_are_composed_and_keys_are_ascii(driver: Driver, local: StorageBackend) -> None:
    names = ["e\u0301.txt", "é.txt", "ﬁle.txt", "．．／x", "Å", "A\u030a", "K"]
    shown = await kept_names(driver, names)
    assert shown == ["é.txt", "é.txt", "ﬁle.txt", "．．／x", "Å", "Å", "K"]
    assert len(stored()) == len(names)


INVISIBLE = [
    "\u202e",
    "\u202a",
    "\u2066",
    "\u200b",
    "\u200d",
    "\u200f",
    "\ufeff",
    "\u2028",
    "\u061c",
    "\u00ad",
]


async def test_direction_and_zero_width_are_removed(driver: Driver, local: StorageBackend) -> None:
    names = [f"invoice{mark}fdp.exe" for mark in INVISIBLE]
    assert set(await kept_names(driver, names)) == {"invoicefdp.exe"}


@pytest.mark.parametrize("surrogate", ["\ud800", "\ude00\ud83d"], ids=ascii)
def test_a_lone_surrogate_is_refused_where_it_comes_in(local: StorageBackend, surrogate: str) -> None:
    with pytest.raises(InvalidKeyError, match="not valid Unicode"):
        FileObject(f"a{surrogate}.txt", content=b"x")
    with pytest.raises(InvalidKeyError, match="not valid Unicode"):
        FileObject("a.txt", content=b"x", to_filename=f"a{surrogate}")
    with pytest.raises(InvalidKeyError, match="not valid Unicode"):
        local.delete([f"a{surrogate}"])
    assert contents() == []


RUNNABLE = {
    "a.jpg.php": "", "a.php%00.jpg": ".jpg", "a.jpg ": ".jpg", "a.jpg::$DATA": "", ".htaccess": "",
    "web.config": "", "a.HTML": "", "a.svg": "", "a.php\x00.jpg": ".jpg", "a.JPG": ".jpg", "a.jpg.": "",
    "a.php5": "", "a.phar": "", "a.jpg/": ".jpg", "a.js": "", "a.exe": "", "a.png;.php": "", "a.ｐｈｐ": "",
}  # fmt: skip


async def test_only_a_harmless_last_extension_goes_into_the_key(
    driver: Driver, local: StorageBackend
) -> None:
    await kept_names(driver, list(RUNNABLE))
    async with driver.session() as session:
        documents = await session.run(lambda s: s.scalars(select(Document).order_by(Document.id)).all())
        keys = [document.file.path or "" for document in documents if document.file is not None]
    assert [Path(key).suffix for key in keys] == list(RUNNABLE.values())


async def test_twins_in_case_are_two_files(driver: Driver, local: StorageBackend) -> None:
    assert await kept_names(driver, ["A.TXT", "a.txt", "a.TXT"]) == ["A.TXT", "a.txt", "a.TXT"]
    assert len({key.casefold() for key in stored()}) == 3


BAD_KEYS = [
    "../x",
    "//",
    "a/./b",
    "",
    "/x",
    "a//b",
    "a/",
    "..",
    "a\\b",
    "C:x",
    ".filecolumn/stage/x",
    "a/../b",
]


class Keyed(DeclarativeBase):
    pass


class Chosen(Keyed):
    __tablename__ = "chosen"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    file: Mapped[FileObject | None] = mapped_column(
        StoredObject(backend="docs", key_template=lambda record, _: record.key)
    )


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_from_code_is_checked_wherever_it_comes_from(
    local: StorageBackend, tmp_path: Path, key: str
) -> None:
    with pytest.raises(InvalidKeyError):
        FileObject("a.txt", content=b"x", to_filename=key)
    driver = SyncDriver("sqlite://")
    Keyed.metadata.create_all(driver.engine)
    with Session(driver.engine) as session, pytest.raises(InvalidKeyError):
        session.add(Chosen(key=key, file=FileObject("a.txt", content=b"x")))
        session.commit()
    driver.engine.dispose()
    assert contents() == []
    assert files_outside(tmp_path) == []


@pytest.mark.parametrize("key", [None, b"a", 1, Path("a")])
def test_what_is_no_text_is_no_key(local: StorageBackend, key: object) -> None:
    """A callable may return anything; a storage gets text that was checked, or nothing."""
    column = Chosen.__table__.c.file.type
    assert isinstance(column, StoredObject)
    with pytest.raises(InvalidKeyError, match="not a str"):
        local.put(key, [b"x"])  # type: ignore[arg-type]
    driver = SyncDriver("sqlite://")
    Keyed.metadata.create_all(driver.engine)
    with Session(driver.engine) as session, pytest.raises(InvalidKeyError, match="not a str"):
        session.add(Chosen(key=key, file=FileObject("a.txt", content=b"x")))
        session.commit()
    driver.engine.dispose()
    assert contents() == []


GLOBS = ["a*", "a?", "a[bc]", "{ab,ac}", "**", "a!", "[!x]"]


@pytest.mark.parametrize("kind", STORAGES)
def test_a_pattern_is_a_name_and_nothing_else(kind: str, tmp_path: Path) -> None:
    storage = storages.register_backend(make_storage(kind, tmp_path))
    others = ["ab", "ac", "abc", "a/b", "x"]
    for key in [*others, *(f"{glob}/z" for glob in GLOBS)]:
        storage.put(key, [key.encode()])
    for glob in GLOBS:
        assert [stat.key for stat in storage.list(glob)] == [f"{glob}/z"]
        assert not storage.exists(glob)
        assert storage.get_bytes(f"{glob}/z") == f"{glob}/z".encode()
        storage.delete([glob, f"{glob}/z"])
    assert sorted(stored()) == sorted(others)


async def test_what_is_there_is_never_overwritten(driver: Driver, local: StorageBackend) -> None:
    local.put("taken", [b"first"])
    with pytest.raises(ObjectExistsError):
        await driver.save(FileObject("a.txt", backend="docs", content=b"second", to_filename="taken"))
    async with driver.session() as session:
        session.add(Document(file=FileObject("a.txt", content=b"third", to_filename="taken")))
        with pytest.raises(ObjectExistsError):
            await session.commit()
        await session.rollback()
    assert stored() == {"taken": b"first"}


@pytest.mark.parametrize("key", ["../docs-secret/x", "..", "../docs-secret", "a/../../docs-secret/x"])
def test_a_folder_with_a_longer_name_is_another_place(
    local: StorageBackend, root: Path, tmp_path: Path, key: str
) -> None:
    beside = tmp_path / "docs-secret"
    beside.mkdir()
    (beside / "x").write_bytes(b"secret")
    (root / "link").symlink_to(beside)
    for call in (local.get, local.stat, lambda key: local.delete([key]), local.open):
        with pytest.raises(InvalidKeyError):
            call(key)
        with pytest.raises(StorageError):
            call("link/x")
    assert (beside / "x").read_bytes() == b"secret"
