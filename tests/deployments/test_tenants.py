"""Tenants in schemas of one database, over one folder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from filecolumn import FileObject, StoredObject, maintenance
from tests.deployments.hosts import age, is_whole, named_in
from tests.deployments.site import SERVERS, Base, Doc, Site, put, read, remove, sql

pytestmark = pytest.mark.parametrize("host", SERVERS[:1], indirect=True)


def tenants(site: Site, *names: str) -> Sequence[Engine]:
    """Return engines whose tables are in a schema of their own."""
    engine = site.host.engine("app")
    sql(engine, *(f"CREATE SCHEMA {name}" for name in names))
    made = [engine.execution_options(schema_translate_map={None: name}) for name in names]
    for each in made:
        Base.metadata.create_all(each)
    return made


def test_a_tenant_keeps_the_files_of_another(site: Site) -> None:
    engines = tenants(site, "a", "b")
    for engine in engines:
        put(engine, 1)
    for engine in (*engines, *engines):
        _clean(site, engine)
    assert [read(engine, 1) for engine in engines] == [b"content 1"] * 2


def test_a_run_with_the_engine_of_a_schema_sees_its_rows(site: Site) -> None:
    (engine,) = tenants(site, "a")
    put(engine, 1, 2)
    remove(engine, 2)
    assert maintenance.check(engine, Base).is_clean
    _clean(site, engine)
    assert read(engine, 1) == b"content 1"
    assert len(site.objects()) == 1


def test_bases_of_two_schemas_are_maintained_each_by_itself(site: Site) -> None:
    class One(DeclarativeBase):
        metadata = MetaData(schema="one")

    class Two(DeclarativeBase):
        metadata = MetaData(schema="two")

    class OneDoc(One):
        __tablename__ = "doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    class TwoDoc(Two):
        __tablename__ = "doc"
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    engine = site.host.engine("app")
    sql(engine, "CREATE SCHEMA one", "CREATE SCHEMA two")
    for base, model in ((One, OneDoc), (Two, TwoDoc)):
        base.metadata.create_all(engine)
        put(engine, 1, model=model)
    with pytest.raises(ValueError, match="separately"):
        maintenance.sweep(engine, One, Two)
    for base in (One, Two):
        _clean(site, engine, base)
    assert all(is_whole(site.folder(), each) for each in named_in(engine, "one.doc", "two.doc"))


def _clean(site: Site, engine: Engine, base: type[DeclarativeBase] = Base) -> None:
    age(site.folder())
    for _ in range(2):
        maintenance.sweep(engine, base, grace=0, quarantine=0, unreferenced=True)
        maintenance.drain(engine, base)


def test_tenants_of_one_engine_translated_by_connection_keep_each_other_s_files(site: Site) -> None:
    tenants(site, "a", "b")
    engine = site.host.engine("app")
    for name in ("a", "b"):
        with engine.connect().execution_options(schema_translate_map={None: name}) as connection:
            with Session(connection) as session:
                session.add(Doc(id=1, file=FileObject("x.txt", content=name.encode())))
                session.commit()
            connection.commit()
    for name in ("a", "b"):
        _clean(site, engine.execution_options(schema_translate_map={None: name}))
    for name in ("a", "b"):
        assert read(engine.execution_options(schema_translate_map={None: name}), 1) == name.encode()
