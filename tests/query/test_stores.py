"""Rows are saved, found, counted and deleted through a store, sync and async, on every database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import or_, sub
from typing import Any

import pytest
from sqlalchemy.orm import aliased

from filecolumn import FileObject
from filecolumn.backends.base import StorageBackend
from filecolumn.query import (
    DataProcessorDoesNotExist,
    FileQuery,
    FileStore,
    InvalidConditionError,
    LookupManager,
    LookupProcessorDoesNotExist,
    ProcessorDoesNotExist,
    RecordNotFoundError,
    StoreConnectionError,
    UnknownFieldError,
)
from filecolumn.query.queries import _MAX_OFFSET
from tests.query.faces import Store, got, has, ids, is_any, item, keys, length, statements, store_of
from tests.scenarios.drivers import Driver, DriverSession, contents
from tests.scenarios.models import Document, Media, Video

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("storage")


@pytest.fixture
async def session(driver: Driver, storage: StorageBackend) -> AsyncIterator[DriverSession]:
    async with driver.session() as opened:
        yield opened


@pytest.fixture
async def store(session: DriverSession) -> Store:
    return store_of(session, Document.file)


async def filled(store: Store) -> list[Any]:
    """Save four rows, the first without a file, and return their keys."""
    made = [
        await got(
            store.save(
                None,
                {
                    "title": f"Report {number}",
                    "file": FileObject(
                        f"{number}.txt",
                        content=b"x" * number,
                        content_type=f"text/{number % 2}",
                        metadata={"n": number},
                    )
                    if number
                    else None,
                },
            )
        )
        for number in range(4)
    ]
    await got(store.sync())
    return made


async def test_a_query_sends_nothing_before_it_is_read(driver: Driver, store: Store) -> None:
    with statements(driver.sync_engine) as sent:
        query = store.find(size__gt=1).where(title="a").where_not(metadata__n=1).order_by("size")
        query.statement()
        assert sent == []
        await got(query.all())
        assert len(sent) == 1


async def test_a_query_that_is_narrowed_stays_as_it_is(store: Store) -> None:
    made = await filled(store)
    first = store.find(size__gte=1)
    both = first.where(size__lte=2)
    assert await ids(both) == await ids(store.find(size__gte=1, size__lte=2)) == made[1:3]
    assert await ids(first) == made[1:]


async def test_an_unknown_lookup_or_field_is_told_by_its_name(store: Store) -> None:
    with pytest.raises(LookupProcessorDoesNotExist, match=r"'larger'.*equals, in"):
        store.find(size__larger=1)
    with pytest.raises(ProcessorDoesNotExist, match="'a__b'"):
        store.find().where_not(size__a__b=1)
    for name in ("sizes", "sizes__gt", "", "__", "size__", "self", "file__sizes", "id__size"):
        with pytest.raises((UnknownFieldError, LookupProcessorDoesNotExist), match=r"no (field|lookup)"):
            store.find(**{name: 1})
    for call in (store.find().order_by, lambda name: got(store.find().values(name)).send(None)):
        with pytest.raises(UnknownFieldError, match=r"'nothing'.*filename, path"):
            call("nothing")


async def test_a_value_that_does_not_fit_is_told_by_the_name_of_the_condition(store: Store) -> None:
    wrong: dict[str, object] = {
        "size": "1", "size__startswith": "1", "size__gt": None, "filename": 1, "filename__contains": 1,
        "filename__matches": "(", "filename__in": "a", "size__between": [1], "size__exists": 1, "filename__year": 2024,
        "last_modified__gt": NOON.replace(tzinfo=None), "last_modified__year": "2024", "metadata__a__in": {},
        "metadata": {},
        "metadata__in": [1], "metadata__a": {"b": 1}, "file": "a.txt", "file__gt": FileObject("a", content=b""),
        "pages": 1, "filename__startswith": "\0", "title__contains": "\ud800", "size__in": [True],
        "filename__between": "ab", "file__in": [1], "metadata__a__gt": True,
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"^{name}: ") as raised:
            store.find(**{name: value})
        assert isinstance(raised.value, InvalidConditionError)


async def test_a_value_without_a_converter_cannot_be_asked_for_or_saved(store: Store) -> None:
    for value in (object(), [1, object()]):
        with pytest.raises(DataProcessorDoesNotExist, match=r"builtins\.object"):
            store.find(metadata__k=value)
        with pytest.raises(DataProcessorDoesNotExist):
            file = FileObject("a.txt", content=b"a")
            await got(store.save(None, {"file": file, "metadata__k": value}))


async def test_rows_are_saved_under_new_keys_and_changed_in_place(store: Store) -> None:
    made = await filled(store)
    assert len({*made}) == 4
    assert await got(store.save(made[0], {"title": "new"})) == made[0]
    assert await got(store.save(1_000, {"title": "chosen"})) == 1_000
    assert await length(store) == 5
    assert (await got(store.get(made[0]))).title == "new"
    assert await keys(store) == [*made, 1_000]
    assert await has(store, made[0])
    for key in (0, "1", None, 2**40, 2**70, (1, 2), 1.5, True):
        assert not await has(store, key)
    with pytest.raises(UnknownFieldError, match="'nothing'"):
        await got(store.save(None, {"nothing": 1}))


async def test_metadata_is_saved_by_its_names_through_converters(driver: Driver, store: Store) -> None:
    key = await got(
        store.save(None, {"file": FileObject("a.txt", content=b"a", metadata={"o": {"a": 1}, "k": 1})})
    )
    at, day = datetime(2024, 2, 29, 12, tzinfo=UTC), date(2024, 2, 29)
    await got(store.save(key, {"metadata__o__b": day, "file__metadata__at": at, "metadata__l": [day]}))
    await got(store.sync())
    record = await got(store.get(key))
    moment = "2024-02-29T12:00:00.000000+00:00"
    assert record.file.metadata == {
        "o": {"a": 1, "b": "2024-02-29"},
        "k": 1,
        "at": moment,
        "l": ["2024-02-29"],
    }
    assert await ids(store.find(metadata__o__b=day, metadata__at__gte=at, metadata__l__contains=day)) == [key]
    await got(store.save(key, {"metadata": {"day": day}}))
    assert record.file.metadata == {"day": "2024-02-29"}
    assert await ids(store.find(metadata__day__in=[day])) == [key]
    empty = await got(store.save(None, {}))
    for wrong in ({"metadata__a": 1}, {"metadata": 1}):
        with pytest.raises(InvalidConditionError, match=r"^metadata"):
            await got(store.save(empty, wrong))
    with pytest.raises(InvalidConditionError, match="a dictionary"):
        await got(store.save(key, {"metadata": 1}))
    with pytest.raises(UnknownFieldError):
        await got(store.save(key, {"pages__metadata__a": 1}))


async def test_metadata_that_is_no_dictionary_is_not_replaced_by_one(store: Store) -> None:
    file = FileObject("a.txt", content=b"a", metadata={"owner": "ann", "none": None})
    key = await got(store.save(None, {"file": file}))
    with pytest.raises(InvalidConditionError, match=r"^metadata__owner__name: .*'ann'"):
        await got(store.save(key, {"metadata__owner__name": "x"}))
    await got(store.save(key, {"metadata__none__name": "x", "metadata__new__name": "y"}))
    document = await got(store.get(key))
    assert document.file.metadata == {"owner": "ann", "none": {"name": "x"}, "new": {"name": "y"}}


async def test_a_row_that_is_not_there_is_a_key_error(store: Store) -> None:
    for call in (store.get, store.delete, lambda key: store.get_many([key])):
        for key in (99, "1", None, 2**70, -(2**31) - 1, (1, 2)):
            with pytest.raises(KeyError) as raised:
                await got(call(key))
            assert isinstance(raised.value, RecordNotFoundError)
    with pytest.raises(RecordNotFoundError, match=r"^Document has no row 99$"):
        await got(store.get(99))


async def test_many_rows_are_read_by_one_statement_in_the_order_asked_for(
    driver: Driver, store: Store
) -> None:
    made = await filled(store)
    await got(store.sync())
    with statements(driver.sync_engine) as sent:
        found = await got(store.get_many([made[2], made[0], made[2]]))
        assert [record.id for record in found] == [made[2], made[0], made[2]]
        assert len(sent) == 1
        assert await got(store.get_many([])) == []
        assert len(sent) == 1
    with pytest.raises(KeyError, match="99"):
        await got(store.get_many([made[0], 99, 100]))


async def test_a_row_is_found_or_created_once(session: DriverSession, store: Store) -> None:
    made, created = await got(store.get_or_create(title="new", file=FileObject("a.txt", content=b"a")))
    assert created
    again, created = await got(store.get_or_create(title="new", file=FileObject("b.txt", content=b"b")))
    assert (again, created) == (made, False)
    (_, values), created = await got(
        store.get_or_create(
            dict, title="other", metadata__k=1, file=FileObject("a.txt", content=b"c", metadata={"j": 2})
        )
    )
    assert created
    assert values["file"].metadata == {"j": 2, "k": 1}
    assert not (await got(store.get_or_create(title="other", metadata__k=1)))[1]
    await session.commit()
    assert contents() == [b"a", b"c"]
    for wrong in ({}, {"file": FileObject("a", content=b"")}, {"title__contains": "zz"}, {"size": 12345}):
        with pytest.raises(ValueError):
            await got(store.get_or_create(**wrong))


async def test_counting_is_one_statement_and_asking_for_any_reads_one_row(
    driver: Driver, store: Store
) -> None:
    made = await filled(store)
    query = store.find(size__gte=1)
    with statements(driver.sync_engine) as sent:
        assert await got(query.count()) == 3
        assert len(sent) == 1
        assert "count(*)" in sent[0].lower()
        assert await is_any(query)
        assert not await is_any(store.find(size=99))
        assert "LIMIT" in sent[1]
        assert len(sent) == 3
    with statements(driver.sync_engine) as sent:
        assert [record.id for record in await keys(query)] == made[1:]
        if isinstance(query, FileQuery):
            del sent[:]
            assert len(query) == len(list(query)) == 3
            assert bool(query)
            assert query[1].id == made[2]
        assert len(sent) == 1


async def test_a_slice_is_read_by_limit_and_offset(driver: Driver, store: Store) -> None:
    made = await filled(store)
    query = store.find().order_by("id")
    with statements(driver.sync_engine) as sent:
        assert [record.id for record in await item(query, slice(1, 3))] == made[1:3]
        assert re.search(r"LIMIT \S+ OFFSET|LIMIT \S+, ", sent[0])
    for index in (
        slice(2, None),
        slice(None, 2),
        slice(-2, None),
        slice(None, None, 2),
        slice(3, 1),
        slice(9, 99),
    ):
        assert [record.id for record in await item(query, index)] == made[index]
    assert (await item(query, 0)).id == made[0]
    assert (await item(query, -1)).id == made[-1]
    for beyond in (4, 999, -5, 10**30, _MAX_OFFSET):
        with pytest.raises(IndexError):
            await item(query, beyond)
    assert (await got(query.first())).id == made[0]
    assert await got(store.find(size=99).first()) is None


async def test_values_are_listed_once(store: Store) -> None:
    await filled(store)
    assert await got(store.find().values("content_type")) == ["text/0", "text/1"]
    assert await got(store.find(size__gt=1).values("metadata__n")) == [2, 3]
    years = await got(store.find().values("last_modified__year"))
    assert [type(year) for year in years] == [int]
    for name in ("file", "pages__size", "metadata"):
        with pytest.raises(InvalidConditionError):
            await got(store.find().values(name))
        with pytest.raises(InvalidConditionError):
            store.find().order_by(name)


async def test_deleting_removes_rows_and_content_after_the_commit_only(
    session: DriverSession, store: Store
) -> None:
    await filled(store)
    await session.commit()
    assert await got(store.find(size__gt=1).delete()) == 2
    assert await got(store.find().count()) == 2
    await session.rollback()
    assert await got(store.find().count()) == 4
    assert contents() == [b"x", b"xx", b"xxx"]
    assert await got(store.find(size__gt=1).delete()) == 2
    await session.commit()
    assert contents() == [b"x"]
    (key,) = await ids(store.find(size=1))
    await got(store.delete(key))
    await session.commit()
    assert contents() == []
    assert await got(store.clear()) == 1
    assert await length(store) == 0


async def test_rows_of_several_tables_are_deleted(session: DriverSession) -> None:
    videos, media = store_of(session, Video.poster), store_of(session, Media)
    file = {"original": FileObject("o", content=b"o"), "poster": FileObject("p", content=b"pp")}
    await got(videos.save(None, {"kind": "video", **file}))
    await got(media.save(None, {"kind": "media", "original": FileObject("m", content=b"mmm")}))
    await session.commit()
    assert await got(videos.find(size=2, original__size=1).count()) == 1
    assert await got(media.find(original__size__gt=0).values("kind")) == ["media", "video"]
    assert await got(media.find(original__size=1).delete()) == 1
    await session.commit()
    assert contents() == [b"mmm"]


@dataclass
class Card:
    """What a class of an application may be."""

    store: object
    key: int
    data: dict[str, Any]

    @classmethod
    def from_storage(cls, store: object, key: int, data: dict[str, Any]) -> Card:
        return cls(store, key, data)


async def test_rows_are_instances_or_pairs_or_what_a_class_makes_of_them(
    session: DriverSession, store: Store
) -> None:
    made = await filled(store)
    await session.commit()
    session.sync.expunge_all()
    assert [type(each) for each in await got(store.find(Document).all())] == [Document] * 4
    pairs = await got(store.find(dict, size=2).all())
    assert [(key, data["title"], data["file"].filename) for key, data in pairs] == [
        (made[2], "Report 2", "2.txt")
    ]
    assert pairs[0][1].keys() == {"id", "title", "file", "pages", "scan"}
    (card,) = await got(store.find(Card, size=2).all())
    assert (card.store, card.key, card.data["title"]) == (store, made[2], "Report 2")
    assert (await got(store.get(made[2], Card))).key == made[2]
    assert [key for key, _ in await got(store.get_many([made[1]], dict))] == [made[1]]
    with pytest.raises(TypeError, match="from_storage"):
        store.find(int)


async def test_a_store_that_is_disconnected_does_nothing(session: DriverSession, store: Store) -> None:
    with pytest.raises(RuntimeError, match="already connected"):
        await got(store.connect())
    await got(store.save(None, {"title": "pending"}))
    await got(store.disconnect())
    assert not store
    for call in (
        store.find, store.disconnect, store.sync, store.clear, lambda: store.get(1), lambda: store.save(None, {}),
        lambda: store.get_many([1]), lambda: store.get_or_create(title="a"), lambda: store.delete(1),
        lambda: length(store), lambda: keys(store),
    ):  # fmt: skip
        with pytest.raises(RuntimeError) as raised:
            await got(call())
        assert isinstance(raised.value, StoreConnectionError)
    await got(store.connect())
    assert store
    assert await length(store) == 0
    await got(store.reconnect())
    await got(store.disconnect())
    await got(store.reconnect())
    assert await length(store) == 0


async def test_syncing_sends_what_is_pending(session: DriverSession, store: Store) -> None:
    document = Document(title="pending")
    session.add(document)
    await got(store.sync())
    assert document.id is not None


async def test_rows_of_two_queries_are_put_together_and_taken_away(
    session: DriverSession, store: Store
) -> None:
    made = await filled(store)
    small, odd = store.find(size__lte=2), store.find(content_type="text/1")
    assert await ids(small | odd) == made[1:]
    assert await ids(odd - small) == [made[3]]
    assert await ids(store.find() - small) == [made[0], made[3]]
    assert await ids(small | store.find()) == made
    assert await ids(store.find() | small) == made
    for other in (1, store_of(session, Media).find()):
        for operator in (or_, sub):
            with pytest.raises(TypeError):
                operator(small, other)


async def test_files_are_compared_by_their_places(store: Store) -> None:
    made = await filled(store)
    record = await got(store.get(made[2]))
    assert await ids(store.find(file=record.file)) == [made[2]]
    assert await ids(store.find(file__in=[record.file, None])) == [made[0], made[2]]
    assert await ids(store.find().where_not(file=record.file)) == [made[0], made[1], made[3]]


async def test_a_model_without_its_file_column_has_its_own_columns_first(session: DriverSession) -> None:
    store = store_of(session, Document)
    made = await filled(store)
    assert await ids(store.find(file__size__gt=1, title__contains="Report")) == made[2:]
    assert await ids(store.find(file__metadata__n=1)) == [made[1]]
    with pytest.raises(UnknownFieldError):
        store.find(size=1)
    assert await ids(store.find().where(Document.id == made[1])) == [made[1]]
    assert await got(store.find().where_not(Document.id == made[1]).count()) == 3


async def test_only_allowed_fields_can_be_asked_for(session: DriverSession) -> None:
    store = store_of(session, Document.file, fields={"size", "metadata__n", "last_modified", "title"})
    await filled(store)
    for name in ("size__gt", "metadata__n", "metadata__n__gt", "file__size", "last_modified__year", "title"):
        store.find(**{name: "" if name == "title" else 1})
    for name in (
        "filename",
        "metadata__m",
        "metadata",
        "metadata__exists",
        "id",
        "pages__size",
        "file",
        "scan__size",
    ):
        for call in (
            lambda name=name: store.find(**{name: 1}), lambda name=name: store.find().where_not(**{name: 1}),
            lambda name=name: store.find().order_by(name), lambda name=name: store.parse({name: "1"}),
            lambda name=name: store.find().values(name),
        ):  # fmt: skip
            with pytest.raises(UnknownFieldError, match="last_modified, metadata__n, size, title"):
                await got(call())
    with pytest.raises(UnknownFieldError):
        store_of(session, Document.file, fields={"sizes"})


async def test_a_store_has_the_lookups_that_it_is_given(session: DriverSession) -> None:
    lookups = LookupManager.standard()
    lookups.unregister("matches")
    lookups.register("larger_than_kb")(lambda field, value: field > value * 1024)
    store = store_of(session, Document.file, lookups=lookups)
    await filled(store)
    assert store.lookups is lookups
    assert await ids(store.find(size__larger_than_kb=0.001)) == await ids(store.find(size__gt=1))
    with pytest.raises(LookupProcessorDoesNotExist):
        store.find(filename__matches="a")


def test_only_classes_and_file_attributes_have_stores() -> None:
    for wrong in (int, Document.title, "Document", None, aliased(Document).file, Document()):
        with pytest.raises(TypeError, match="neither a mapped class nor a file attribute"):
            FileStore(None, wrong)  # type: ignore[call-overload]
