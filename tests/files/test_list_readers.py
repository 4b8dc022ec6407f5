"""What reads lists past their methods reads each file of a list that nothing has touched since it was loaded."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pydantic_core
import pytest
from advanced_alchemy.service import ResultConverter
from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, FileObjectList, StoredObject, storages
from filecolumn.files.interchange import dec_hook, enc_hook


class Base(DeclarativeBase): ...


class Album(Base):
    __tablename__ = "albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    photos: Mapped[FileObjectList] = mapped_column(StoredObject("docs", multiple=True), default=list)


class PlainStruct(msgspec.Struct):
    id: int
    photos: list[FileObject]


class Struct(msgspec.Struct):
    id: int
    photos: FileObjectList


@dataclasses.dataclass
class Record:
    id: int
    photos: FileObjectList


class PlainModel(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    photos: list[FileObject]


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    photos: FileObjectList = FileObjectList()


class Untyped(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    photos: Any


@pytest.fixture
def untouched() -> Iterator[Album]:
    """An album with the photos "a" and "b", loaded and not looked at."""
    storages.register_backend("memory://", key="docs")
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Album(id=1, photos=[FileObject(name, content=b"1") for name in "ab"]))
        session.commit()
    with Session(engine) as session:
        yield session.scalars(select(Album)).one()
    engine.dispose()


def converted(album: Album, kind: type[Any]) -> Any:
    return msgspec.convert(album, kind, from_attributes=True, dec_hook=dec_hook)


def dumped(album: Album, kind: type[BaseModel]) -> Any:
    return json.loads(kind.model_validate(album).model_dump_json(fallback=enc_hook))["photos"]


def match(album: Album) -> list[FileObject]:
    match album.photos:
        case [one, two]:
            return [one, two]
        case _:
            return []


def orjson(album: Album) -> Any:
    return json.loads(pytest.importorskip("orjson").dumps(album.photos, default=enc_hook))


def jsonable(album: Album) -> Any:
    encoders = pytest.importorskip("fastapi.encoders")
    return encoders.jsonable_encoder({"photos": album.photos}, custom_encoder={FileObject: enc_hook})[
        "photos"
    ]


READERS: dict[str, Callable[[Album], Any]] = {
    "list": lambda album: list(album.photos),
    "tuple": lambda album: tuple(album.photos),
    "[*x]": lambda album: [*album.photos],
    "[] + x": lambda album: [] + album.photos,  # noqa: RUF005 - `+` is tested
    "x + []": lambda album: album.photos + [],  # noqa: RUF005
    "x * 1": lambda album: album.photos * 1,
    "slice": lambda album: album.photos[:],
    "slice assignment": lambda album: (files := [], files.__setitem__(slice(None), album.photos))[0],
    "sorted": lambda album: sorted(album.photos, key=lambda file: file.filename),
    "reversed twice": lambda album: list(reversed(list(reversed(album.photos)))),
    "match": match,
    "copy": lambda album: album.photos.copy(),
    "copy.copy": lambda album: copy.copy(album.photos),
    "copy.deepcopy": lambda album: copy.deepcopy(album.photos),
    "pickle": lambda album: pickle.loads(pickle.dumps(album.photos)),
    "pickled instance": lambda album: pickle.loads(pickle.dumps(album)).photos,
    "dataclasses.asdict": lambda album: dataclasses.asdict(Record(1, album.photos))["photos"],
    "json": lambda album: json.loads(json.dumps(album.photos, default=enc_hook)),
    "json in Python": lambda album: json.loads(json.dumps(album.photos, default=enc_hook, indent=1)),
    "msgspec to list": lambda album: converted(album, PlainStruct).photos,
    "msgspec to FileObjectList": lambda album: converted(album, Struct).photos,
    "msgspec to a dataclass": lambda album: converted(album, Record).photos,
    "msgspec JSON": lambda album: msgspec.json.decode(msgspec.json.encode(album.photos, enc_hook=enc_hook)),
    "msgspec MessagePack": lambda album: msgspec.msgpack.decode(
        msgspec.msgpack.encode(album.photos, enc_hook=enc_hook)
    ),
    "msgspec builtins": lambda album: msgspec.to_builtins(album.photos, enc_hook=enc_hook),
    "advanced-alchemy and msgspec": lambda album: (
        ResultConverter().to_schema(album, schema_type=PlainStruct).photos
    ),
    "advanced-alchemy and pydantic": lambda album: (
        ResultConverter().to_schema(album, schema_type=PlainModel).photos
    ),
    "pydantic to list": lambda album: PlainModel.model_validate(album).photos,
    "pydantic to FileObjectList": lambda album: Model.model_validate(album).photos,
    "pydantic, strictly": lambda album: TypeAdapter(list[FileObject]).validate_python(
        album.photos, strict=True
    ),
    "pydantic dump": lambda album: Model.model_validate(album).model_dump()["photos"],
    "pydantic JSON of a list": lambda album: dumped(album, PlainModel),
    "pydantic JSON of a FileObjectList": lambda album: dumped(album, Model),
    "pydantic JSON of anything": lambda album: dumped(album, Untyped),
    "pydantic_core": lambda album: json.loads(pydantic_core.to_json(album.photos, fallback=enc_hook)),
}


@pytest.mark.parametrize(
    "read",
    [
        *(pytest.param(read, id=name) for name, read in READERS.items()),
        pytest.param(orjson, id="orjson", marks=pytest.mark.extended),
        pytest.param(jsonable, id="FastAPI", marks=pytest.mark.extended),
    ],
)
def test_an_untouched_list_is_read_whole(untouched: Album, read: Callable[[Album], Any]) -> None:
    names = [each["filename"] if isinstance(each, dict) else each.filename for each in read(untouched)]
    assert names == ["a", "b"]


def test_a_pydantic_field_with_a_plain_list_is_written() -> None:
    storages.register_backend("memory://", key="docs")
    file = FileObject("a", content=b"1").save()

    class Default(BaseModel):
        photos: FileObjectList = []  # type: ignore[assignment]

    assert json.loads(Default().model_dump_json()) == {"photos": []}
    given = Default.model_construct(photos=[file])
    assert given.model_dump(mode="json")["photos"][0]["filename"] == "a"


def test_what_msgspec_makes_of_a_list_is_a_list_of_its_own(untouched: Album) -> None:
    for kind in (PlainStruct, Struct):
        photos = converted(untouched, kind).photos
        photos.clear()
    assert len(untouched.photos) == 2
