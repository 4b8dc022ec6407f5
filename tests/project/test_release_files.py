"""What is beside the code says what pyproject.toml says: citation, security policy, badges, the release check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.release.badges import FOLDER, badges, svg
from tests.release.probes import PROGRAMS, probes_of
from tests.release.project import EXTRAS, PROJECT, PYPROJECT, ROOT, SOURCE_URL, python_versions

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_the_citation_says_what_the_project_says() -> None:
    assert {name: CITATION[name] for name in ("title", "version", "license", "abstract", "keywords")} == {
        "title": PROJECT["name"],
        "version": PROJECT["version"],
        "license": PROJECT["license"],
        "abstract": PROJECT["description"],
        "keywords": PROJECT["keywords"],
    }
    assert CITATION["authors"] == PROJECT["authors"]
    assert CITATION["repository-code"] == SOURCE_URL
    assert CITATION["url"] == PROJECT["urls"]["Documentation"]


def test_the_security_policy_names_this_version_and_where_to_report() -> None:
    supported = ".".join(PROJECT["version"].split(".")[:2])
    assert f"| {supported} | yes |" in SECURITY
    assert f"({SOURCE_URL}/security/advisories/new)" in SECURITY


def test_links_of_the_security_policy_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https:)([^)#]+)", SECURITY)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_readme_of_a_package_index_gets_addresses_of_this_project() -> None:
    substitutions = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    addresses = [each["replacement"] for each in substitutions if "https:" in each["replacement"]]
    assert addresses == [f"\\1{SOURCE_URL}/blob/v$HFPR_VERSION/"]


@pytest.mark.parametrize("name", badges())
def test_a_badge_is_drawn_from_what_the_project_says(name: str) -> None:
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == svg(*badges()[name])


def test_a_badge_of_the_readme_says_in_words_what_it_shows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]*)\]\(docs/_static/badges/(\w+)\.svg\)", readme)
    assert [alternative for alternative, name in shown if alternative != ": ".join(badges()[name])] == []


def test_there_is_no_other_badge() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(badges())


def test_the_release_check_knows_what_each_extra_promises() -> None:
    assert set(EXTRAS) == {*PROGRAMS, "cli", "all"} - {""}
    assert all(probes_of(extra) for extra in ("", *EXTRAS))


def test_the_release_check_knows_each_python_of_the_project() -> None:
    assert python_versions()[0] == PROJECT["requires-python"].removeprefix(">=")
    assert len(python_versions()) == len(set(python_versions())) > 1


def test_an_extra_that_needs_a_package_is_in_all() -> None:
    [whole] = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", whole.partition("[")[2])) == set(EXTRAS) - {"all"}


def test_the_sdist_takes_files_that_are_there() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in included if not Path(ROOT, name.lstrip("/")).exists()] == []
