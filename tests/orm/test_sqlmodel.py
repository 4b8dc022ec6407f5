"""SQLModel writes the value that was given over the one that the attribute's events made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, create_engine, text

from filecolumn import CorruptFileMetadataError, FileObject, FileObjectList, StoredObject, storages

sqlmodel = pytest.importorskip("sqlmodel")

pytestmark = pytest.mark.extended


class Album(sqlmodel.SQLModel, table=True):  # type: ignore[misc, name-defined]
    __tablename__ = "sqlmodel_albums"

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    cover: FileObject | None = sqlmodel.Field(default=None, sa_column=Column(StoredObject("docs")))
    photos: FileObjectList = sqlmodel.Field(
        default_factory=list, sa_column=Column(StoredObject("docs", multiple=True), nullable=True)
    )


def photo(name: str) -> FileObject:
    return FileObject(name, content=name.encode())


@pytest.fixture
def session() -> Iterator[Any]:
    storages.register_backend("memory://", key="docs", replace=True)
    engine = create_engine("sqlite://")
    sqlmodel.SQLModel.metadata.create_all(engine)
    with sqlmodel.Session(engine) as session:
        yield session
    engine.dispose()


def names(album: Any) -> list[str]:
    return [file.filename for file in album.photos]


def stored() -> list[bytes]:
    backend = storages.get("docs")
    return sorted(backend.get_bytes(stat.key) for stat in backend.list())


def held(session: Any, album: Any) -> list[str]:
    """Commit, and return what the row has."""
    session.commit()
    session.refresh(album)
    assert stored() == sorted(file.get_content() for file in album.photos)
    return names(album)


MADE: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "nothing": (Album, []),
    "list": (lambda: Album(photos=[photo("a"), photo("b")]), ["a", "b"]),
    "tuple": (lambda: Album(photos=(photo("a"),)), ["a"]),
    "FileObjectList": (lambda: Album(photos=FileObjectList([photo("a")])), ["a"]),
    "None": (lambda: Album(photos=None), []),
}


@pytest.mark.parametrize(("make", "expected"), MADE.values(), ids=MADE)
@pytest.mark.parametrize("appended", [False, True])
def test_a_new_record_is_written(
    session: Any, make: Callable[[], Any], expected: list[str], appended: bool
) -> None:
    session.add(album := make())
    if appended and isinstance(album.photos, list):
        album.photos.append(photo("late"))
        expected = [*expected, "late"]
    assert held(session, album) == expected


def assign(files: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda album: setattr(album, "photos", files(album))


CHANGED: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "new ones": (assign(lambda _: [photo("x"), photo("y")]), ["x", "y"]),
    "none": (assign(lambda _: []), []),
    "None": (assign(lambda _: None), []),
    "one of its own": (assign(lambda album: [album.photos[1]]), ["b"]),
    "its own in another order": (assign(lambda album: album.photos[::-1]), ["b", "a"]),
    "its own and a new one": (assign(lambda album: album.photos + [photo("x")]), ["a", "b", "x"]),  # noqa: RUF005
    "its own list": (assign(lambda album: album.photos), ["a", "b"]),
    "a copy of its own list": (assign(lambda album: FileObjectList(album.photos)), ["a", "b"]),
    "append": (lambda album: album.photos.append(photo("x")), ["a", "b", "x"]),
    "twice": (
        lambda album: (assign(lambda _: [photo("x")])(album), assign(lambda _: [photo("y")])(album)),
        ["y"],
    ),
}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(("change", "expected"), CHANGED.values(), ids=CHANGED)
def test_a_list_that_is_assigned_is_written(
    session: Any, change: Callable[[Any], Any], expected: list[str], loaded: bool
) -> None:
    session.add(album := Album(photos=[photo("a"), photo("b")]))
    session.commit()
    if loaded:
        assert names(album) == ["a", "b"]
    change(album)
    assert held(session, album) == expected


def test_an_assigned_list_is_tracked_after_the_flush(session: Any) -> None:
    session.add(album := Album(photos=[photo("a")]))
    session.commit()
    album.photos = [album.photos[0]]
    session.flush()
    album.photos.append(photo("b"))
    session.flush()
    album.photos[0].update_metadata({"seen": True})
    assert held(session, album) == ["a", "b"]
    assert album.photos[0].metadata == {"seen": True}


def test_the_list_of_another_record_is_copied(session: Any) -> None:
    one, two = Album(photos=[photo("a")]), Album()
    session.add_all([one, two])
    session.commit()
    two.photos = one.photos
    session.commit()
    assert names(one) == names(two) == ["a"]
    assert one.photos is not two.photos
    assert one.photos[0].path != two.photos[0].path
    two.photos.clear()
    session.commit()
    assert stored() == [b"a"]
    assert names(one) == ["a"]


def test_what_is_no_file_is_refused_before_anything_is_stored(session: Any) -> None:
    session.add(album := Album(photos=[photo("a")]))
    album.photos.append(b"x")
    with pytest.raises(TypeError, match="FileObject"):
        session.commit()
    session.rollback()
    assert stored() == []


def test_one_file_is_assigned_replaced_and_cleared(session: Any) -> None:
    session.add(album := Album(cover=photo("a")))
    session.commit()
    assert stored() == [b"a"]
    album.cover = photo("b")
    session.commit()
    assert stored() == [b"b"]
    album.cover = None
    session.commit()
    assert stored() == []


def test_a_damaged_list_is_replaced(session: Any) -> None:
    session.add(album := Album(photos=[photo("a")]))
    session.commit()
    session.execute(text("UPDATE sqlmodel_albums SET photos = '{}'"))
    session.commit()
    with pytest.raises(CorruptFileMetadataError):
        _ = album.photos[0].filename
    album.photos = [photo("b")]
    session.commit()
    assert names(album) == ["b"]
    assert stored() == [b"a", b"b"]
