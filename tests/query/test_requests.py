"""Conditions are read from the query string of a request, and no request makes anything but its own errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Engine, Integer, LargeBinary, Numeric, SmallInteger, String, TypeDecorator, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject
from filecolumn.query import FileStore, InvalidConditionError, LookupProcessorDoesNotExist, UnknownFieldError
from filecolumn.query.requests import MAX_VALUES
from tests.query.models import ROWS, Paper
from tests.query.models import Base as Papers
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import SERVERS, own_database


class Base(DeclarativeBase):
    """Base of the models."""


class Colour(Enum):
    """The colours of the form."""

    RED = 1
    BLUE = 2


class Cents(TypeDecorator[Decimal]):
    """An amount, stored in cents."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: object) -> int | None:
        return None if value is None else round(value * 100)

    def process_result_value(self, value: int | None, dialect: object) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Address:
    """A value of an application."""

    def __init__(self, text: str) -> None:
        self.text = text


class AddressType(TypeDecorator[Address]):
    """Addresses, stored as text."""

    impl = String(200)
    cache_ok = True

    def process_bind_param(self, value: Address | str | None, dialect: object) -> str | None:
        return value.text if isinstance(value, Address) else value

    def process_result_value(self, value: str | None, dialect: object) -> Address | None:
        return None if value is None else Address(value)


class Form(Base):
    """A column of each type that a request may ask for."""

    __tablename__ = "forms"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    colour: Mapped[Colour | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2, asdecimal=False))
    small: Mapped[int | None] = mapped_column(SmallInteger)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    text_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False))
    is_open: Mapped[bool | None]
    on: Mapped[date | None]
    noted: Mapped[datetime | None]
    fee: Mapped[Decimal | None] = mapped_column(Cents)
    address: Mapped[Address | None] = mapped_column(AddressType)
    file: Mapped[FileObject | None] = mapped_column(StoredObject(backend="docs", ledger=False))


NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
NOTED = datetime(2024, 1, 2, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture(params=["sqlite", *on_servers(SERVERS)], scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("requests")
    with own_database(request.param, folder, Base.metadata) as made:
        Papers.metadata.create_all(made)
        with Session(made) as session:
            form = Form(id=UUID(int=1), colour=Colour.RED, price=1.5, small=7, raw=b"a", data={"a": 1})
            form.text_id, form.is_open = str(UUID(int=2)), True
            form.on, form.noted = date(2024, 1, 2), NOTED
            form.fee, form.address = Decimal("2.50"), Address("ann@example.org")
            session.add(form)
            session.commit()
        yield made


@pytest.fixture
def store(engine: Engine) -> Iterator[FileStore[Any]]:
    with Session(engine) as session:
        yield FileStore(session, Form.file)


READ: list[tuple[str, str, object]] = [
    ("size__gt", "10", 10), ("size__in", "1,2", [1, 2]), ("size__between", "-1,+2", [-1, 2]), ("size",
    "9" * 30, int("9" * 30)),
    ("filename", "a,b", "a,b"), ("filename__in", "a,b", ["a", "b"]), ("filename__contains_any", "a", ["a"]),
    ("filename__contains", "a,b", "a,b"), ("filename__in", "", [""]), ("filename__exists", "false", False),
    ("last_modified__gte", "2024-02-29T12:00:00Z", NOON), ("last_modified__lt", "1.5", 1.5),
    ("last_modified__year", "2024", 2024), ("last_modified__year__gte", "2024", 2024), ("last_modified__month",
    "2", 2),
    ("metadata__k", "10", "10"), ("metadata__k__exists", "true", True), ("file__exists", "true", True),
    ("colour", "RED", Colour.RED), ("colour__in", "RED,BLUE", [Colour.RED, Colour.BLUE]), ("price", "1.50",
    Decimal("1.50")),
    ("id", str(UUID(int=1)), UUID(int=1)), ("text_id", str(UUID(int=2)), UUID(int=2)), ("is_open", "true", True),
    ("on__gt", "2024-01-01", date(2024, 1, 1)), ("on__year", "2024", 2024), ("noted", "2024-01-02", NOTED),
    ("noted__lt", "2024-02-29T12:00:00Z", NOON), ("data__exists", "true", True), ("raw__exists", "true", True),
    ("small__lt", "99999999999", 99999999999), ("filename__matches", "^a", "^a"), ("file__size", "1", 1),
]  # fmt: skip
WRONG = [
    ("size", "ten"), ("size", ""), ("size", "1_0"), ("size", " 1"), ("size", "1.0"), ("size", "\uff11"),
    ("size", "9" * 5_000),
    ("size__between", "1"), ("size__between", "1,2,3"), ("size__in", "1,,2"), ("size__contains", "1"),
    ("size__year", "1"),
    ("filename", "a\0"), ("filename", "\ud800"), ("filename__exists", "yes"), ("filename__matches", "("),
    ("filename__matches", "(?=a)"), ("filename__matches", "a" * 300), ("filename__month", "1"),
    ("last_modified", "2024-02-29T12:00:00"), ("last_modified", "2024-02-29T12:00:00 01:00"), ("last_modified", "nan"),
    ("last_modified", "1e999"), ("last_modified__year", "1.5"), ("metadata", "a"), ("metadata__k__exists", "1"),
    ("metadata__k__between", "a"), ("colour", "GREEN"), ("colour__gt", "RED"), ("price", "1,5"), ("price", "nan"),
    ("id", "1"), ("is_open", "1"), ("is_open__gt", "true"), ("on", "today"), ("noted", "x"), ("data", "a"),
    ("raw", "a"),
    ("file", "a.txt"), ("last_modified__gt", "9" * 400), ("id__contains", "1"), ("data__contains", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_a_parameter_is_read_as_its_field(store: FileStore[Any], name: str, text: str, value: object) -> None:
    conditions = store.parse({name: text})
    assert conditions == {name: value}
    assert type(conditions[name]) is type(value)
    assert store.find(**conditions).count() <= 1


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_parameter_that_cannot_be_read_is_named(store: FileStore[Any], name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: ") as raised:
        store.parse([(name, text)])
    assert isinstance(raised.value, InvalidConditionError)


def test_a_column_of_each_type_is_found_by_what_a_request_says(store: FileStore[Any]) -> None:
    found = {
        "colour": "RED", "price": "1.5", "small": "7", "text_id": str(UUID(int=2)), "is_open": "true",
        "on": "2024-01-02",
        "noted": "2024-01-02T01:00:00+01:00", "id__in": str(UUID(int=1)), "data__exists": "true", "price__lt": "1.51",
        "on__month": "1", "noted__day": "2", "noted__year": "2024",
    }  # fmt: skip
    for name, text in found.items():
        assert store.find(**store.parse({name: text})).count() == 1, name
        assert store.find().where_not(**store.parse({name: text})).count() == 0, name
    assert store.find().values("colour") == [Colour.RED]
    assert store.find().order_by(["colour", "price", "on", "id"]).count() == 1


def test_values_of_a_type_of_the_application_go_through_it(store: FileStore[Any]) -> None:
    for name, value in {
        "fee": Decimal("2.50"),
        "fee__gt": Decimal("2.49"),
        "fee__between": [2, 3],
        "fee__in": [Decimal("2.5")],
        "address": Address("ann@example.org"),
        "address__in": [Address("ann@example.org"), "x"],
        "address__startswith": "ann@",
    }.items():
        assert store.find(**{name: value}).count() == 1, name
        assert store.find().where_not(**{name: value}).count() == 0, name
    assert store.find().values("fee") == [Decimal("2.5")]
    assert (
        store.find(**store.parse({"fee__lte": "3", "address__endswith": ".org"})).order_by("fee").count() == 1
    )
    for name, wrong in {"fee": 10**20, "address": "\0"}.items():
        with pytest.raises(InvalidConditionError, match=f"^{name}: "):
            store.find(**{name: wrong})


def test_a_parameter_may_be_repeated_where_it_is_a_list(store: FileStore[Any]) -> None:
    params = [("filename__in", "a,b"), ("size__gt", "1"), ("filename__in", "c"), ("filename__contains", "a"),
              ("filename__contains", "b")]  # fmt: skip
    assert store.parse(params) == {
        "filename__in": ["a,b", "c"],
        "size__gt": 1,
        "filename__contains": ["a", "b"],
    }
    with pytest.raises(InvalidConditionError, match=r"^size: it is given more than once"):
        store.parse([("size", "1"), ("size", "2")])


def test_unknown_parameters_are_told(store: FileStore[Any]) -> None:
    with pytest.raises(UnknownFieldError, match="'page'"):
        store.parse({"page": "1"})
    with pytest.raises(LookupProcessorDoesNotExist, match="'like'"):
        store.parse({"filename__like": "a"})
    with pytest.raises(UnknownFieldError, match="a path of 9 names"):
        store.parse({"metadata" + "__a" * 9: "1"})


def test_values_of_metadata_are_read_as_the_types_that_the_store_says(engine: Engine) -> None:
    with Session(engine) as session:
        store = FileStore(
            session,
            Form.file,
            fields={"metadata__n": int, "metadata__x": float, "metadata__b": bool, "size": int},
        )
        params = {"metadata__n__in": "1,2", "metadata__x__gt": "1.5", "metadata__b": "true"}
        assert store.parse(params) == {"metadata__n__in": [1, 2], "metadata__x__gt": 1.5, "metadata__b": True}
        with pytest.raises(InvalidConditionError, match=r"^metadata__n: "):
            store.parse({"metadata__n": "a"})
        with pytest.raises(UnknownFieldError):
            store.parse({"metadata__m": "1"})
        with pytest.raises(TypeError, match="metadata__n"):
            FileStore(session, Form.file, fields={"metadata__n": dict})


def test_a_request_has_a_limited_number_of_values_which_every_database_takes(store: FileStore[Any]) -> None:
    most = ",".join("a" * MAX_VALUES)
    for name in ("metadata__k__in", "filename__contains_any"):
        assert store.find(**store.parse({name: most})).count() == 0
        with pytest.raises(InvalidConditionError, match=rf"^{name}: .* {MAX_VALUES} values"):
            store.parse({name: f"{most},a"})
    with pytest.raises(InvalidConditionError, match=f"{MAX_VALUES} values"):
        store.parse([(f"metadata__k{number}", "a") for number in range(MAX_VALUES + 1)])
    assert (
        store.find(**store.parse([(f"metadata__k{number}", "a") for number in range(MAX_VALUES)])).count()
        == 0
    )


NAMES = st.sampled_from(
    ["size", "filename", "last_modified", "metadata__k", "metadata__a b", "pages", "pages__filename", "title", "label",
     "pages_read", "price", "is_open", "at", "noted", "day", "id", "file", "metadata", "at__year", "metadata__'"]
)  # fmt: skip
LOOKUPS = st.sampled_from(
    ["", "equals", "in", "gt", "lte", "between", "contains", "contains_any", "startswith", "endswith",
    "exists", "matches",
     "matches_caseless", "year", "month", "day"]
)  # fmt: skip
SOMETHING = st.one_of(
    st.text(max_size=10),
    st.text("0123456789.-+,eE", max_size=24),
    st.text("ab.^$*+?{}[]()|\\-,1dw:=! \n%", max_size=10),
    st.sampled_from(["true", "false", "2024-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
                     "2024-01-01", "1e308", "-0", "%", "'", '"', "\\", "a,b", "1,2"]),
)  # fmt: skip


@given(params=st.lists(st.tuples(NAMES, LOOKUPS, SOMETHING), min_size=1, max_size=6))
@settings(suppress_health_check=list(HealthCheck))
def test_no_request_makes_a_query_fail(engine: Engine, params: list[tuple[str, str, str]]) -> None:
    with Session(engine) as session:
        store = FileStore(session, Paper.file)
        for name, lookup, text in params:
            try:
                conditions = store.parse([(f"{name}__{lookup}" if lookup else name, text)])
            except (InvalidConditionError, UnknownFieldError, LookupProcessorDoesNotExist):
                continue
            store.find(**conditions).count()
            store.find().where_not(**conditions).count()
    assert ROWS
