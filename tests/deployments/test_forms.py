"""What one release writes and another reads has the form that docs/compatibility.md promises.

A test here that fails says that the form has changed.  Read that page first: old releases must read what the new
one writes, and the new one what they have written.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Dialect, MetaData, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

import filecolumn
from filecolumn import InvalidGrantError, maintenance
from filecolumn.cli import running
from filecolumn.files.facts import FileFacts, facts_from_row, row_from_facts, rows_of
from filecolumn.ledger.marks import LEGACY_OWNER, PLACE, SHARED, generation_key, seen_key
from filecolumn.ledger.table import State, add_ledger
from filecolumn.maintenance.columns import ColumnReport
from filecolumn.maintenance.migrate import ADDED_COLUMNS, ledger_tables
from filecolumn.signing import Claims, TokenSigner
from tests.deployments.site import Doc, Site

DOCS = Path(__file__).parents[2] / "docs"
FORMS = DOCS / "_data" / "forms"

# Rows

FULL = (
    '{"filename": "report.pdf", "to_filename": "20261130/10/019ad3.pdf", "backend": "documents", '
    '"content_type": "application/pdf", "size": 12, "checksum": '
    '"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "etag": "\\"1a-2b\\"", '
    '"version_id": null, "last_modified": 1796032800.25, "metadata": {"album": "x", "tags": [1, 2.5, null]}, "v": 1}'
)
FULL_FACTS = FileFacts(
    filename="report.pdf",
    key="20261130/10/019ad3.pdf",
    backend="documents",
    content_type="application/pdf",
    size=12,
    checksum="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    etag='"1a-2b"',
    last_modified=1796032800.25,
    metadata={"album": "x", "tags": [1, 2.5, None]},
)
BARE = FileFacts(filename="a.txt", key="k")
THEIRS = FileFacts(
    filename="report.pdf",
    key="2026/report.pdf",
    foreign=True,
    backend="documents",
    content_type="application/pdf",
    size=12,
    etag="e",
    last_modified=1700000000.25,
    metadata={"a": 1},
)
ROWS = {
    "as it is written": (FULL, FULL_FACTS),
    "as JSONB returns it": (
        (
            '{"v": 1, "etag": "\\"1a-2b\\"", "size": 12, "backend": "documents", "checksum": '
            '"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "filename": "report.pdf", '
            '"metadata": {"tags": [1, 2.5, null], "album": "x"}, "version_id": null, "to_filename": '
            '"20261130/10/019ad3.pdf", "content_type": "application/pdf", "last_modified": 1796032800.25}'
        ),
        FULL_FACTS,
    ),
    "the least": ('{"filename": "a.txt", "to_filename": "k"}', BARE),
    "all that is not known": (
        (
            '{"filename": "a.txt", "to_filename": "k", "backend": null, "content_type": "application/octet-stream", '
            '"size": null, "checksum": null, "etag": null, "version_id": null, "last_modified": null, "metadata": {}, '
            '"v": 1}'
        ),
        BARE,
    ),
    "of advanced-alchemy": (
        (
            '{"filename": "2026/report.pdf", "content_type": "application/pdf", "size": 12, "last_modified": '
            '1700000000.25, "checksum": null, "etag": "e", "version_id": null, "metadata": {"a": 1}, "backend": '
            '"documents"}'
        ),
        THEIRS,
    ),
    "of advanced-alchemy, written back": (
        (
            '{"filename": "2026/report.pdf", "to_filename": null, "backend": "documents", "content_type": '
            '"application/pdf", "size": 12, "checksum": null, "etag": "e", "version_id": null, "last_modified": '
            '1700000000.25, "metadata": {"a": 1}, "v": 1}'
        ),
        THEIRS,
    ),
    "of a newer release": (
        '{"filename": "a.txt", "to_filename": "k", "v": 2, "variants": {"small": "k2"}}',
        replace(BARE, unknown={"variants": {"small": "k2"}}),
    ),
}


@pytest.mark.parametrize(("row", "facts"), ROWS.values(), ids=ROWS)
def test_a_row_of_today_is_read_as_today(row: str, facts: FileFacts) -> None:
    assert facts_from_row(row) == facts
    assert facts_from_row(json.loads(row)) == facts


def test_the_row_of_the_page_is_one_as_it_is_written() -> None:
    assert json.dumps(json.loads((FORMS / "row.json").read_text(encoding="utf-8"))) == FULL


def test_a_list_of_today_is_read_as_today() -> None:
    rows = [row for row, _ in ROWS.values()]
    assert [facts_from_row(row) for row in rows_of(f"[{', '.join(rows)}]")] == [
        facts for _, facts in ROWS.values()
    ]
    assert list(rows_of("[]")) == []


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (FULL_FACTS, "as it is written"),
        (BARE, "all that is not known"),
        (THEIRS, "of advanced-alchemy, written back"),
    ],
)
def test_a_row_is_written_as_today(facts: FileFacts, name: str) -> None:
    assert json.dumps(row_from_facts(facts)) == ROWS[name][0]


def test_members_of_a_newer_release_are_written_back_and_its_number_is_not() -> None:
    row, facts = ROWS["of a newer release"]
    written = row_from_facts(facts)
    assert written["variants"] == json.loads(row)["variants"]
    assert written["v"] == 1


def test_members_of_a_newer_release_stay_in_the_database_when_metadata_change(site: Site) -> None:
    engine = site.database()
    with Session(engine) as session:
        session.add(Doc(id=1, file=filecolumn.FileObject("a.txt", content=b"a")))
        session.commit()
        [row] = session.scalars(text("SELECT file FROM doc"))
        newer = json.dumps({**json.loads(row), "variants": ["k2"]})
        session.execute(text("UPDATE doc SET file = :row"), {"row": newer})
        session.commit()
    with Session(engine) as session:
        doc = session.get_one(Doc, 1)
        doc.file.update_metadata({"a": 1})
        session.commit()
        [row] = session.scalars(text("SELECT file FROM doc"))
    assert json.loads(row)["variants"] == ["k2"]
    assert json.loads(row)["metadata"] == {"a": 1}


# The ledger

DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.dialect(),
    "postgresql": postgresql.dialect(),  # type: ignore[no-untyped-call]
    "mysql": mysql.dialect(),  # type: ignore[no-untyped-call]
}


def ledger_ddl(dialect: Dialect) -> str:
    metadata = MetaData()
    add_ledger(metadata)
    statements: list[Any] = []
    for table in metadata.sorted_tables:
        statements += [CreateTable(table), *map(CreateIndex, table.indexes)]
    lines = "\n\n".join(f"{str(each.compile(dialect=dialect)).strip()};" for each in statements).splitlines()
    # as it is read on the page, where a long line is cut off
    return (
        "\n".join(line.replace("\t", "    ").replace(" WHERE ", "\n    WHERE ").rstrip() for line in lines)
        + "\n"
    )


@pytest.mark.parametrize("name", DIALECTS)
def test_the_tables_of_the_ledger_are_those_of_the_page(name: str) -> None:
    """A new column must be nullable, and in `ADDED_COLUMNS`, so that `filecolumn migrate` adds it."""
    assert ledger_ddl(DIALECTS[name]) == (FORMS / f"ledger-{name}.sql").read_text(encoding="utf-8")


def test_a_column_that_migrate_adds_may_be_left_out_by_an_older_release() -> None:
    columns = ledger_tables(None).table.columns
    assert all(columns[name].nullable for name in ADDED_COLUMNS)
    assert [column.name for column in columns if column.name not in ADDED_COLUMNS] == (
        "backend key state checked size sha256 created_at due_at attempts last_error".split()
    )


def test_the_states_of_a_key_have_the_numbers_of_today() -> None:
    assert {state.name: state.value for state in State} == {"LIVE": 1, "DOOMED": 2, "GONE": 3}


# Marks


def test_the_marks_of_a_storage_have_the_names_of_today() -> None:
    assert [PLACE, SHARED, LEGACY_OWNER, seen_key("id"), generation_key("id", 2)] == [
        ".filecolumn/place",
        ".filecolumn/shared",
        ".filecolumn/owner",
        ".filecolumn/writers/id/seen",
        ".filecolumn/writers/id/2",
    ]


# Tokens

SECRET = "0123456789abcdef0123456789abcdef"
CLAIMS = Claims(purpose="grant", method="ATTACH", backend="docs", key="k.txt", expires_at=1000, subject="me")
TOKEN = (
    "AW0DlzwAAAAFZ3JhbnQAAAAGQVRUQUNIAAAABGRvY3MAAAAFay50eHQAAAAEMTAwMAAAAAAAAAAAAAAAAAAAAAItMQ"
    "AAAAItMQAAAAAAAAAAAAAAAm1lSsTFMNTP8g1qM_RHcoicZJULbQLcLEUMcEhlaUNFVhM"
)


def test_a_token_of_today_is_understood() -> None:
    signer = TokenSigner(SECRET)
    assert signer.sign(CLAIMS) == TOKEN
    assert signer.verify(TOKEN, "grant", now=900) == CLAIMS


def test_a_token_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filecolumn.signing._VERSION", b"\x02")
    newer = TokenSigner(SECRET).sign(CLAIMS)
    monkeypatch.undo()
    with pytest.raises(InvalidGrantError):
        TokenSigner(SECRET).verify(newer, "grant", now=900)


def test_claims_are_those_of_today_because_an_older_release_does_not_see_more() -> None:
    assert [each.name for each in fields(Claims)] == (
        "purpose method backend key expires_at filename content_type disposition size max_size checksum column "
        "subject".split()
    )


# Commands

REPORTS: dict[type, str] = {
    maintenance.CheckReport: "files entries objects counts repaired findings is_complete",
    maintenance.Finding: "kind detail storage key row repaired",
    maintenance.DrainReport: "deleted refused restored withheld reasons left purged",
    maintenance.SweepReport: (
        "listed orphans returned unreferenced by_column undated claimed left unfinished pending "
        "withheld unreachable is_complete"
    ),
    maintenance.StatusReport: (
        "live doomed due gone forgettable oldest_due_seconds retried most_attempts stuck restored "
        "by_storage by_column quarantined withheld places hidden missing_triggers"
    ),
    maintenance.ColumnStatus: (
        "live live_bytes unreferenced unreferenced_bytes unreferenced_since is_judged"
    ),
    maintenance.TriggerChange: "column name done",
    ColumnReport: "name live problem",
}
"""Members of the JSON lines; a release may add some at any place."""


@pytest.mark.parametrize("report", REPORTS)
def test_a_json_line_has_the_members_of_today(report: Any) -> None:
    assert set(REPORTS[report].split()) <= {each.name for each in fields(report)}


def test_the_kinds_of_findings_are_at_least_those_of_today() -> None:
    kinds = "missing corrupt foreign orphan ledger place withheld hidden triggers unreachable unrecorded"
    assert set(kinds.split()) <= {str(kind) for kind in maintenance.FindingKind}


def test_exit_codes_are_those_of_today() -> None:
    codes = (running.FOUND, running.FAILED, running.INTERRUPTED, running.PIPE_CLOSED)
    assert codes == (1, 3, 130, 141)


# Codes of errors


def codes_in_source() -> set[str]:
    calls = [
        node
        for path in Path(filecolumn.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    given = [each.value for call in calls for each in call.keywords if each.arg == "code"]
    # metadata are refused in one place
    given += [call.args[1] for call in calls if ast.unparse(call.func) == "_refused_metadata"]
    return {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_each_code_of_an_error_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `\w+` \| `(\w+)` \|", page, re.MULTILINE))
    assert (
        documented
        == codes_in_source()
        == set(
            "metadata_not_text metadata_too_deep metadata_too_large no_file too_large type_mismatch "
            "type_not_accepted".split()
        )
    )
