"""Alembic autogenerate, with real revision files that are run."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime import plugins

from filecolumn import StoredObject
from filecolumn.alembic.rendering import render_item
from tests.alembic.revisions import config_for, is_empty, revision_text


@pytest.fixture
def metadata() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "documents",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("file", StoredObject("nowhere", reads=("old",), key_template="{uuid}"), nullable=False),
        sa.Column("pages", StoredObject(backend="nowhere", multiple=True)),
    )
    return metadata


@pytest.fixture
def config(tmp_path: Path, metadata: sa.MetaData) -> Config:
    return config_for(tmp_path, metadata, f"sqlite:///{tmp_path}/test.db")


def test_autogenerate_renders_the_column_with_its_import_and_the_next_one_is_empty(
    config: Config,
) -> None:
    first = revision_text(config, "first")

    assert "import filecolumn\n" in first
    assert "filecolumn.StoredObject(backend='nowhere')" in first
    assert "filecolumn.StoredObject(backend='nowhere', multiple=True)" in first
    command.upgrade(config, "head")
    second = revision_text(config, "second")
    assert "StoredObject" not in second
    assert is_empty(second)


def test_autogenerate_needs_no_registered_backend(config: Config) -> None:
    assert "StoredObject" in revision_text(config, "first")


def test_the_users_own_render_item_still_decides_about_everything_else(config: Config) -> None:
    def render_integers(kind: str, item: object, context: object) -> str | bool:
        return "sa.BigInteger()" if isinstance(item, sa.Integer) else False

    config.attributes["options"] = {"render_item": render_integers}

    text = revision_text(config, "first")

    assert "sa.BigInteger()" in text
    assert "filecolumn.StoredObject(backend='nowhere')" in text


def test_an_older_alembic_is_served_by_the_function(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(plugins._all_plugins, "alembic.autogenerate.filecolumn")
    config.attributes["options"] = {"render_item": render_item}

    text = revision_text(config, "first")

    assert "import filecolumn\n" in text
    assert "filecolumn.StoredObject(backend='nowhere')" in text
