"""Runs that cannot see everything: hidden rows, tables without transactions, values compared."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from filecolumn import FileObject, StoredObject, maintenance
from filecolumn.errors import FileColumnError, MaintenanceRefusedError
from tests.deployments.site import SERVERS, Base, Doc, Site, put, sql, works
from tests.servers.databases import need_server


class Tenants(DeclarativeBase):
    """Rows of several tenants in one table."""


class TenantDoc(Tenants):
    __tablename__ = "doc"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(default="a")
    file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))


@pytest.fixture
def role() -> Iterator[str]:
    """A role of PostgreSQL that owns nothing."""
    admin = create_engine(need_server("postgresql").url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"filecolumn_test_{uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
    yield name
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE IF EXISTS {name}")


@pytest.mark.parametrize("host", SERVERS[:1], indirect=True)
def test_a_role_that_sees_the_rows_of_one_tenant_keeps_those_of_the_others(site: Site, role: str) -> None:
    owner = site.database("app", Tenants)
    try:
        sql(
            owner,
            *(f"GRANT ALL ON {table} TO {role}" for table in ("doc", "filecolumn_ledger", "filecolumn_meta")),
            "ALTER TABLE doc ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON doc USING (tenant = current_setting('app.tenant', true))",
        )
        put(owner, 1, 2, model=TenantDoc)
        member = create_engine(owner.url.set(username=role, password=None), poolclass=NullPool)
        site.nightly(member, Tenants, unreferenced=True, force=True)
        maintenance.check(member, Tenants, repair=True, grace=0)
        site.nightly(member, Tenants, unreferenced=True, force=True)
        assert site.intact(owner) == 2
    finally:
        sql(owner, f"DROP OWNED BY {role}")


@pytest.mark.parametrize("host", SERVERS[1:], indirect=True)
def test_a_table_without_transactions_is_refused_before_anything_is_stored(site: Site) -> None:
    class Plain(DeclarativeBase):
        pass

    class PlainDoc(Plain):
        __tablename__ = "doc"
        __table_args__ = {"mysql_engine": "MyISAM", "mariadb_engine": "MyISAM"}
        id: Mapped[int] = mapped_column(primary_key=True)
        file: Mapped[FileObject | None] = mapped_column(StoredObject("docs"))

    engine = site.database("app", Plain)
    with pytest.raises(FileColumnError):
        put(engine, 1, model=PlainDoc)
    assert site.objects() == set()


@pytest.mark.parametrize("run", ["sweep", "drain", "check"])
def test_an_engine_in_autocommit_maintains_nothing(site: Site, run: str) -> None:
    engine = site.database()
    put(engine, 1)
    with pytest.raises(MaintenanceRefusedError, match="AUTOCOMMIT"):
        getattr(maintenance, run)(engine.execution_options(isolation_level="AUTOCOMMIT"), Base)
    assert site.intact(engine) == 1


def test_a_row_s_file_may_be_compared_with(site: Site) -> None:
    engine = site.database()
    put(engine, 1, 2)
    with Session(engine) as session:
        file = session.get_one(Doc, 1).file
        assert session.scalars(select(Doc.id).where(Doc.file == file)).all() == [1]
    works(engine)
    assert site.intact(engine) == 2


def test_repair_reads_rows_that_share_a_value_of_another_shape(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(
        engine,
        "INSERT INTO doc (id, file) SELECT 2, '[' || file || ']' FROM doc",
        "UPDATE doc SET file = '[' || file || ']' WHERE id = 1",
    )
    report = maintenance.check(engine, Base, repair=True, grace=0)
    assert not report.is_clean
    assert site.intact(engine) == 1


def test_a_sweep_of_a_renamed_table_that_was_noted_before_is_no_error_of_the_database(site: Site) -> None:
    engine = site.database()
    put(engine, 1)
    sql(engine, "UPDATE doc SET file = NULL")
    maintenance.sweep(engine, Base, grace=0)
    sql(engine, "ALTER TABLE doc RENAME TO document")
    assert maintenance.sweep(engine, Base, grace=0, unreferenced=True).claimed == 0
