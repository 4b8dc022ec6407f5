"""Alembic autogenerate: indexes on facts of files, and generated columns that hold facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime import plugins

from filecolumn import FactColumn, NotSupportedError, StoredObject
from filecolumn.alembic import include_object, render_item
from tests.alembic.revisions import config_for, is_empty, revision_text
from tests.scenarios.fixtures import on_servers
from tests.servers.databases import own_database

TEXTS = ("filename", "path", "backend", "content_type", "checksum", "etag", "version_id")
DATABASES = ["sqlite", *on_servers(["postgresql", "mariadb"])]
WITH_EXPRESSIONS = ["sqlite", *on_servers(["postgresql"])]

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database."""
    with own_database(request.param, tmp_path, sa.MetaData()) as made:
        yield made


@pytest.fixture
def table() -> sa.Table:
    """A table with a file column and nothing on it."""
    return sa.Table(
        "documents",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("file", StoredObject(backend="docs", ledger=False)),
    )


@pytest.fixture
def config(engine: sa.Engine, tmp_path: Path, table: sa.Table) -> Config:
    config = config_for(tmp_path, table.metadata, engine.url.render_as_string(hide_password=False))
    # what is generated is only compared then
    config.attributes["options"] = {"compare_server_default": True}
    return config


def facts(table: sa.Table) -> dict[str, Any]:
    """Return each kind of fact by a name."""
    file: Any = table.c.file
    value = file.metadata["value"]
    return {name: getattr(file, name) for name in (*TEXTS, "size", "last_modified")} | {
        "text": value,
        "whole": value.as_integer(),
        "number": value.as_float(),
        "truth": value.as_boolean(),
        "is_there": value.exists(),
        "deep": file.metadata["list"][1]["value"].as_integer(),
    }


def add_columns(table: sa.Table) -> None:
    for name, of_file in facts(table).items():
        FactColumn(f"{name}_fact", of_file)


def add_indexes(table: sa.Table) -> None:
    file: Any = table.c.file
    for name, of_file in facts(table).items():
        sa.Index(f"ix_{name}", of_file)
    sa.Index("ix_time", file.last_modified.as_datetime())
    sa.Index("ix_two", table.c.id, file.size.desc(), unique=True)
    sa.Index("ix_part", file.backend, sqlite_where=file.size > 10, postgresql_where=file.size > 10)


def names_of_indexes(engine: sa.Engine) -> set[str]:
    """Return the indexes that the database has, those included that SQLAlchemy skips."""
    queries = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
        "postgresql": "SELECT indexname FROM pg_indexes WHERE tablename = 'documents'",
    }
    # other tests have databases on the server
    other = (
        "SELECT index_name FROM information_schema.statistics "
        "WHERE table_name = 'documents' AND table_schema = DATABASE()"
    )
    with engine.connect() as connection:
        return set(connection.scalars(sa.text(queries.get(engine.dialect.name, other))))


def assert_migrated(config: Config, engine: sa.Engine, table: sa.Table) -> str:
    """Migrate there and back; return the first revision, which is the only one that has anything."""
    text = revision_text(config, "first")
    assert "filecolumn.orm" not in text
    command.upgrade(config, "head")
    assert names_of_indexes(engine) >= {str(index.name) for index in table.indexes}
    assert is_empty(revision_text(config, "second"))
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    command.upgrade(config, "head")
    return text


def test_columns_of_facts_are_rendered_as_plain_sql_and_the_next_revision_is_empty(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    add_columns(table)

    text = assert_migrated(config, engine, table)

    assert "sa.Column('size_fact', sa.BigInteger(), sa.Computed(" in text
    type_ = {
        "sqlite": "sa.Text()",
        "postgresql": "sa.Text(collation='C')",
        "mariadb": "mysql.LONGTEXT(charset='utf8mb4', collation='utf8mb4_nopad_bin')",
    }[engine.dialect.name]
    assert f"sa.Column('backend_fact', {type_}, sa.Computed(" in text
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO documents (id, file) VALUES (1, '{\"size\": 5}')"))
        assert connection.scalar(sa.text("SELECT size_fact FROM documents")) == 5


def test_columns_of_facts_are_added_to_a_table_that_has_rows(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    table.create(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO documents (id, file) VALUES (1, '{\"size\": 5}')"))
    add_columns(table)

    text = revision_text(config, "first")
    command.upgrade(config, "head")

    assert "op.add_column('documents', sa.Column('size_fact'," in text
    assert is_empty(revision_text(config, "second"))
    with engine.begin() as connection:
        assert connection.scalar(sa.select(table.c.id).where(table.c.file.size == 5)) == 1


@pytest.mark.parametrize("engine", WITH_EXPRESSIONS, indirect=True)
def test_indexes_on_facts_are_rendered_as_plain_sql_and_the_next_revision_is_empty(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    add_indexes(table)

    text = assert_migrated(config, engine, table)

    assert "op.create_index('ix_size', 'documents', [sa.literal_column(" in text.replace(
        "op.f('ix_size')", "'ix_size'"
    )


@pytest.mark.parametrize("engine", WITH_EXPRESSIONS, indirect=True)
def test_indexes_on_facts_are_added_to_a_table_that_is_there(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    table.create(engine)
    add_indexes(table)

    revision_text(config, "first")
    command.upgrade(config, "head")

    assert names_of_indexes(engine) >= {str(index.name) for index in table.indexes}
    assert is_empty(revision_text(config, "second"))


@pytest.mark.parametrize("engine", WITH_EXPRESSIONS, indirect=True)
def test_an_index_on_another_fact_replaces_the_one_of_its_name(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    with engine.begin() as connection:
        other = table.to_metadata(sa.MetaData())
        file: Any = other.c.file
        sa.Index(
            "ix_fact", file.metadata["A"].as_integer(), other.c.id, unique=True, sqlite_where=file.size > 1
        )
        sa.Index("ix_same", file.metadata["a"]["b"])
        other.create(connection)
    mine: Any = table.c.file
    sa.Index("ix_fact", mine.metadata["a"].as_integer(), table.c.id)
    sa.Index("ix_same", mine.metadata["a"]["b"])

    text = revision_text(config, "first")

    upgrade = text.partition("def downgrade")[0]
    assert upgrade.count("drop_index") == upgrade.count("create_index") == 1
    assert "ix_same" not in text
    before = statements_of_indexes(engine)
    command.upgrade(config, "head")
    assert is_empty(revision_text(config, "second"))
    command.upgrade(config, "head")
    command.downgrade(config, "base")
    assert statements_of_indexes(engine) == before


def statements_of_indexes(engine: sa.Engine) -> set[str]:
    """Return the SQL of indexes, however it is spaced and bracketed."""
    queries = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index'",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE tablename = 'documents'",
    }
    with engine.connect() as connection:
        found = connection.scalars(sa.text(queries[engine.dialect.name])).all()
    return {re.sub(r"[\s()]", "", str(each)) for each in found}


@pytest.mark.parametrize("engine", WITH_EXPRESSIONS, indirect=True)
def test_an_index_on_several_columns_is_on_the_column_that_holds_the_fact(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    file: Any = table.c.file
    sa.Index("ix_two", file.size, table.c.id)
    sa.Index("ix_left_out", file.size)
    FactColumn("size_fact", file.size)

    text = revision_text(config, "first")
    command.upgrade(config, "head")

    assert "'ix_two', 'documents', ['size_fact', 'id']" in text
    assert "ix_left_out" not in text
    assert is_empty(revision_text(config, "second"))


@pytest.mark.parametrize("engine", on_servers(["mariadb"]), indirect=True)
def test_mariadb_makes_no_index_on_a_fact_but_that_of_its_column(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    file: Any = table.c.file
    sa.Index("ix_size", file.size)
    with pytest.raises(NotSupportedError, match=r"ix_size .* FactColumn"):
        revision_text(config, "first")
    FactColumn("size_fact", file.size)

    revision_text(config, "first")
    command.upgrade(config, "head")

    assert names_of_indexes(engine) == {"PRIMARY", "ix_documents_size_fact"}
    assert is_empty(revision_text(config, "second"))


@pytest.mark.parametrize("compares", [True, False])
def test_another_definition_of_a_column_is_warned_of(
    config: Config, engine: sa.Engine, table: sa.Table, compares: bool
) -> None:
    config.attributes["options"] = {"compare_server_default": compares}
    other = table.to_metadata(sa.MetaData())
    FactColumn("value_fact", other.c.file.metadata["a"])
    other.metadata.create_all(engine)
    FactColumn("value_fact", table.c.file.metadata["b"])

    with pytest.warns(UserWarning, match=r"documents\.value_fact is generated otherwise"):
        assert is_empty(revision_text(config, "first"))


def test_a_constraint_on_a_fact_is_rendered_as_plain_sql(
    config: Config, engine: sa.Engine, table: sa.Table
) -> None:
    table.append_constraint(sa.CheckConstraint(table.c.file.size < 1000, name="small"))

    revision_text(config, "first")
    command.upgrade(config, "head")

    with pytest.raises(sa.exc.DBAPIError, match="small"), engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO documents (id, file) VALUES (1, '{\"size\": 1000}')"))


@pytest.mark.parametrize(
    ("engine", "add"),
    [
        ("sqlite", add_columns),
        *(
            pytest.param(name, add, marks=pytest.mark.server)
            for name, add in (
                ("postgresql", add_columns),
                ("postgresql", add_indexes),
                ("mariadb", add_columns),
            )
        ),
    ],
    indirect=["engine"],
)
def test_an_older_alembic_is_served_by_functions(
    config: Config,
    engine: sa.Engine,
    table: sa.Table,
    add: Callable[[sa.Table], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(plugins._all_plugins, "alembic.autogenerate.filecolumn")
    config.attributes["options"] |= {"render_item": render_item, "include_object": include_object}
    add(table)

    assert_migrated(config, engine, table)
