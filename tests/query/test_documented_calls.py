"""The calls of Doqu's storage and query adapters, as its documentation has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from filecolumn.query import (
    AsyncFileQuery,
    AsyncFileStore,
    ConverterManager,
    DataProcessorDoesNotExist,
    FileQuery,
    FileStore,
    LookupManager,
    LookupProcessorDoesNotExist,
    ProcessorDoesNotExist,
)
from tests.query.models import Base, Label
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with own_database(request.param, tmp_path, Base.metadata) as made:
        yield made


def test_a_storage_has_the_documented_calls(engine: Engine) -> None:
    with Session(engine) as session:
        storage = FileStore(session, Label)
        with pytest.raises(RuntimeError):
            storage.connect()
        key = storage.save(None, {"name": "john", "colour": "red"})
        assert storage.save(key, {"colour": "blue"}) == key
        assert storage.get(key).colour == "blue"
        assert storage.get(key, dict) == (key, {"id": key, "name": "john", "colour": "blue"})
        assert [label.name for label in storage.get_many([key])] == ["john"]
        assert storage.get_many([key], dict) == [storage.get(key, dict)]
        assert list(storage.find(dict, name="john", colour__in=["red", "blue"])) == [storage.get(key, dict)]
        label, created = storage.get_or_create(Label, name="john")
        assert (label.id, created) == (key, False)
        label, created = storage.get_or_create(Label, name="mary")
        assert (label.name, created) == ("mary", True)
        storage.sync()
        storage.delete(key)
        with pytest.raises(KeyError):
            storage.get(key)
        storage.clear()
        assert len(storage) == 0
        session.commit()
        storage.reconnect()
        storage.disconnect()
        with pytest.raises(RuntimeError):
            storage.find()


def test_a_query_has_the_documented_calls(engine: Engine) -> None:
    with Session(engine) as session:
        storage = FileStore(session, Label)
        for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
            storage.save(None, {"name": name, "colour": colour})
        query = FileQuery(storage, Label)
        red = query.where(colour="red")
        assert red.count() == len(red) == 2
        assert [label.name for label in query.where_not(colour="red")] == ["c"]
        assert [label.name for label in query.order_by(["colour", "name"], reverse=True)] == ["b", "a", "c"]
        assert [label.name for label in query.order_by("name", reverse=False)] == ["a", "b", "c"]
        assert query.values("colour") == query.values(name="colour") == ["blue", "red"]
        red.delete()
        assert query.count() == 1


def test_managers_have_the_documented_calls() -> None:
    lookup_manager = LookupManager()

    @lookup_manager.register("equals", default=True)
    def exact_match(name: Any, value: object) -> Any:
        if isinstance(value, str):
            return (name == value,)
        raise ValueError(value)

    assert str(lookup_manager.resolve(Label.name, "equals", "a")) == "labels.name = :name_1"
    assert str(lookup_manager.resolve(name=Label.name, operation=None, value="a")) == "labels.name = :name_1"
    with pytest.raises(LookupManager.exception):
        lookup_manager.resolve(Label.name, "gt", 90)
    converters = ConverterManager()
    with pytest.raises(ConverterManager.exception):
        converters.to_db(value="a", storage=None)
    with pytest.raises(ProcessorDoesNotExist):
        converters.from_db(datatype=str, value="a")
    assert {LookupProcessorDoesNotExist, DataProcessorDoesNotExist} == {
        *ProcessorDoesNotExist.__subclasses__()
    }


@pytest.mark.parametrize(("kind", "twin"), [(FileStore, AsyncFileStore), (FileQuery, AsyncFileQuery)])
def test_a_twin_has_each_call_with_the_same_parameters(kind: type, twin: type) -> None:
    internal = {"fields", "mapper", "session", "wrapped", "storage", "criteria"}
    for name, method in inspect.getmembers(
        kind, lambda member: inspect.isfunction(member) or isinstance(member, property)
    ):
        if name[0] == "_" or name in internal:
            continue
        other = getattr(twin, name)
        assert type(other) is type(method), name
        if inspect.isfunction(method):
            assert list(inspect.signature(other).parameters.values()) == list(
                inspect.signature(method).parameters.values()
            ), name


def test_two_sessions_create_one_row(engine: Engine) -> None:
    barrier = Barrier(2, timeout=10)
    found: list[tuple[int, bool]] = []

    class Slow(FileStore[Label]):
        def _creating(self, conditions: Any) -> dict[str, object]:
            if engine.dialect.name != "sqlite":
                # both have looked, and found nothing
                barrier.wait()
            return super()._creating(conditions)

    def create() -> None:
        with Session(engine) as session:
            label, created = Slow(session, Label).get_or_create(name="one")
            session.commit()
            found.append((label.id, created))

    threads = [Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({key for key, _ in found}) == 1
    assert sorted(created for _, created in found) == [False, True]


def test_a_conflict_with_another_row_is_raised(engine: Engine) -> None:
    with Session(engine) as session:
        storage = FileStore(session, Label)
        storage.save(None, {"name": "a", "colour": "red"})
        with pytest.raises(IntegrityError):
            storage.get_or_create(name="a", colour="blue")
        assert storage.find(colour="red").count() == 1
