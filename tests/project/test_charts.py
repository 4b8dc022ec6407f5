"""The charts of the documentation are those of the figures beside them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import charts
from benchmarks.subjects import SUBJECTS

ROOT = Path(__file__).parents[2]
DATA = ROOT / charts.FOLDER
FILES = ("growth-measured.txt", *(f"growth-{chart.name}.svg" for chart in charts.CHARTS))


@pytest.mark.parametrize("name", FILES)
def test_a_chart_is_what_the_script_makes_of_the_figures(name: str) -> None:
    drawn = charts.drawn(json.loads((DATA / "growth.json").read_text()))
    assert (DATA / name).read_text() == drawn[name], (
        "run `python -m benchmarks.charts docs/_data/growth.json`"
    )


def test_the_figures_are_kept_without_what_no_chart_shows(tmp_path: Path) -> None:
    charts.main(DATA / "growth.json", tmp_path)
    assert (tmp_path / "growth.json").read_text() == (DATA / "growth.json").read_text()


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.name)
def test_a_chart_shows_every_amount_that_is_measured(chart: charts.Chart) -> None:
    subject, _, prefix = chart.measure.partition("/")
    amounts = {
        measure.amount if prefix != "sessions-" else int(measure.name.removeprefix(prefix))
        for measure in SUBJECTS[subject].measures
        if measure.name.startswith(prefix)
    }
    lines = charts.lines_of(chart, json.loads((DATA / "growth.json").read_text()))
    assert list(lines) == list(charts.CONTENDERS)
    assert {amount for amount, _ in lines["filecolumn"]} == amounts


def test_a_chart_can_be_read_without_being_seen(tmp_path: Path) -> None:
    for chart in charts.CHARTS:
        root = ET.parse(DATA / f"growth-{chart.name}.svg").getroot()
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text is not None
        assert title.text.startswith(chart.title)


def test_each_chart_is_on_the_page() -> None:
    page = (ROOT / "docs/growth.md").read_text()
    assert all(f"_data/{name}" in page for name in FILES)
