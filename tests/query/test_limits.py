"""What a client can ask is bounded, and what no database takes is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Integer, Interval, Numeric, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileColumnError, FileObject, FileObjectList, QueryError, StoredObject
from filecolumn.query import (
    AsyncFileQuery,
    FileStore,
    InvalidConditionError,
    LookupProcessorDoesNotExist,
    UnknownFieldError,
)
from filecolumn.query.queries import MAX_ORDER
from filecolumn.query.requests import MAX_SEARCHES, MAX_VALUES
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database


class Base(DeclarativeBase):
    """Base of the models."""


class Level(TypeDecorator[int]):
    """A number as it is."""

    impl = Integer
    cache_ok = True


class Tenths(TypeDecorator[Decimal]):
    """A number, stored ten times as large."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: object) -> int | None:
        return None if value is None else round(value * 10)


class Amount(TypeDecorator[Decimal]):
    """A number with two decimals."""

    impl = Numeric(12, 2)
    cache_ok = True


class Entry(Base):
    """Columns with limits of their own."""

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2, asdecimal=False))
    level: Mapped[int | None] = mapped_column(Level)
    tenths: Mapped[Decimal | None] = mapped_column(Tenths)
    amount: Mapped[Decimal | None] = mapped_column(Amount)
    lasts: Mapped[timedelta | None] = mapped_column(Interval)
    owner: Mapped[int | None]
    owner__ssn: Mapped[int | None]
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))
    pages: Mapped[FileObjectList | None] = mapped_column(
        StoredObject(backend="docs", multiple=True, ledger=False)
    )


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("limits")
    with own_database(request.param, folder, Base.metadata) as made:
        with Session(made) as session:
            entry = Entry(price=1.5, level=7, tenths=Decimal("2.5"), amount=Decimal("9999999999.99"))
            entry.lasts, entry.owner, entry.owner__ssn = timedelta(hours=1), 1, 2
            session.add(entry)
            session.commit()
        yield made


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


@pytest.fixture
def store(session: Session) -> FileStore[Any]:
    return FileStore(session, Entry.file)


LONG = [
    "zz" + "__a" * 100_000, "__" * 100_000, "owner" + "__year" * 100_000, "metadata" + "__a" * 100_000,
    "pages__metadata" + "__a" * 100_000, "x" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("name", LONG, ids=lambda name: name[:12])
def test_a_name_of_any_length_is_refused_at_once(store: FileStore[Any], name: str) -> None:
    # each of these takes minutes if its parts are joined one by one
    refused = (UnknownFieldError, LookupProcessorDoesNotExist)
    with pytest.raises(refused):
        store.parse({name: "1"})
    with pytest.raises(refused):
        store.find().order_by(name)
    with pytest.raises(refused):
        store.find().values(name)


REFUSED = [
    ("price", "1e-20000"), ("price__lt", "0." + "1" * 20_000), ("price__gt", "1" + "0" * 300 + "." + "1" * 2_000),
    ("level", "3000000000"), ("level__gt", "-3000000000"), ("tenths", "300000000"), ("amount", "1e308"),
    ("amount", "10000000000"), ("amount__lte", "9999999999.999"), ("lasts", "2024-01-01T00:00:00"), ("lasts__gt", "1"),
    ("lasts__year", "1970"), ("file__filename__matches", r"[\d-z]"), ("filename__matches", r"[a-\w]"),
]  # fmt: skip
TAKEN = [
    ("price", "1.5"), ("price__gt", "1e-300"), ("price__lt", "1e308"), ("level", "7"), ("level__lt", "2147483647"),
    ("tenths__lt", "3"), ("tenths__lt", "200000000"), ("amount", "9999999999.99"), ("amount__gt", "-9999999999.99"),
    ("lasts__exists", "true"), ("price__lt", "1." + "5" * 100),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), REFUSED, ids=lambda value: value[:20])
def test_a_value_that_a_column_cannot_be_compared_with_is_refused(
    store: FileStore[Any], name: str, text: str
) -> None:
    with pytest.raises(InvalidConditionError, match=f"^{name}: "):
        store.find(**store.parse({name: text})).count()


@pytest.mark.parametrize(("name", "text"), TAKEN, ids=lambda value: value[:20])
def test_a_value_within_the_limits_of_a_column_is_compared(
    store: FileStore[Any], name: str, text: str
) -> None:
    assert store.find(**store.parse({name: text})).count() == 1


def test_durations_are_compared_with_durations(store: FileStore[Any]) -> None:
    assert store.find(lasts__gt=timedelta(minutes=59), lasts=timedelta(hours=1)).count() == 1
    assert store.find().values("lasts") == [timedelta(hours=1)]
    for wrong in (3600, "1"):
        with pytest.raises(InvalidConditionError, match=r"^lasts: "):
            store.find(lasts=wrong)


def test_a_request_has_a_limited_number_of_searches(store: FileStore[Any]) -> None:
    deep = "metadata" + "__abc" * 8
    for name in (f"pages__{deep}__contains", f"{deep}__contains"):
        most = [(name, str(number)) for number in range(MAX_SEARCHES)]
        assert store.find(**store.parse(most)).count() == 0
        assert store.find().where_not(**store.parse(most)).count() == 1
        with pytest.raises(InvalidConditionError, match=f"^{name}: .*{MAX_SEARCHES}"):
            store.parse([*most, (name, "a")])
    for name in (f"pages__{deep}__in", "pages__filename__contains_any"):
        assert store.find(**store.parse({name: ",".join("a" * MAX_VALUES)})).count() == 0
    for form in ("pages__metadata__a{}", "metadata__a{}__contains", "pages__metadata__a{}__exists"):
        many = [(form.format(number), "true") for number in range(MAX_SEARCHES + 1)]
        assert store.find(**store.parse(many[:-1])).count() == 0
        with pytest.raises(InvalidConditionError, match=str(MAX_SEARCHES)):
            store.parse(many)


def test_an_allowed_attribute_allows_no_other_one(session: Session) -> None:
    store = FileStore(session, Entry, fields=["owner"])
    assert store.find(owner=1).count() == 1
    for name in ("owner__ssn", "owner__ssn__gt"):
        with pytest.raises(UnknownFieldError, match="owner__ssn"):
            store.find(**{name: 2})
    assert FileStore(session, Entry, fields=["owner__ssn"]).find(owner__ssn=2).count() == 1


@pytest.mark.parametrize("target", [Entry, Entry.file], ids=["class", "file"])
def test_an_allowed_file_allows_its_facts(session: Session, target: Any) -> None:
    store: FileStore[Any] = FileStore(session, target, fields=["file"])
    names = ["file__size", "file__metadata__a", "file__last_modified__year", "file__exists"]
    for name in [*names, *(["size", "metadata__a__gt"] if target is not Entry else [])]:
        assert store.find(**{name: False} if "exists" in name else {name: 1}).count() <= 1
    with pytest.raises(UnknownFieldError):
        store.find(pages__size=1)


class Multi(Mapping[str, str]):
    """Parameters as Starlette and Litestar have them: a mapping of the last values, and all of them beside it."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        return dict(self._pairs)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(dict(self._pairs))

    def multi_items(self) -> list[tuple[str, str]]:
        return list(self._pairs)


def test_all_values_of_a_repeated_parameter_are_read(store: FileStore[Any]) -> None:
    assert store.parse(Multi(("size__in", "1"), ("size__in", "2"))) == {"size__in": [1, 2]}
    with pytest.raises(InvalidConditionError, match=r"^size__gt: it is given more than once"):
        store.parse(Multi(("size__gt", "1"), ("size__gt", "2")))


def test_a_query_is_sorted_by_a_limited_number_of_fields(store: FileStore[Any]) -> None:
    names = [f"metadata__k{number}" for number in range(MAX_ORDER)]
    assert store.find().order_by(names).count() == 1
    assert len(store.find().order_by(names).all()) == 1
    with pytest.raises(InvalidConditionError, match=f"{MAX_ORDER} fields"):
        store.find().order_by(iter([*names, "size"]))


def test_the_last_order_holds(store: FileStore[Any]) -> None:
    text = str(store.find().order_by("price").order_by("owner").statement())
    assert "ORDER BY CASE WHEN (entries.owner IS NULL)" in text


def test_a_query_of_an_asynchronous_session_has_no_truth() -> None:
    query: AsyncFileQuery[Any] = AsyncFileQuery(None, None)  # type: ignore[arg-type]  # it is not run
    with pytest.raises(TypeError, match=r"await query\.exists\(\)"):
        bool(query)


def test_errors_of_conditions_have_one_base(store: FileStore[Any]) -> None:
    assert issubclass(QueryError, FileColumnError)
    for name in ("nothing", "size__nothing", "size"):
        with pytest.raises(QueryError):
            store.parse({name: "a"})
