"""The rules of deletion hold in an open world, and without any one of them it loses files."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations

import pytest

from tests.faults.open_world import ACTS, REAL, Rules, explore
from tests.profiles import NAME

STEPS = {"quick": 6, "ci": 7, "soak": 9}[NAME]
STEPS_OF_THREE = {"quick": 5, "ci": 5, "soak": 7}[NAME]


@pytest.mark.parametrize("act", ACTS)
def test_nothing_that_a_row_names_is_removed_whatever_else_happens(act: str) -> None:
    for other in ACTS[ACTS.index(act) :]:
        assert explore({act, other}, steps=STEPS).violation is None


@pytest.mark.extended
@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_removed_whatever_two_other_things_happen(act: str) -> None:
    for others in combinations(ACTS[ACTS.index(act) + 1 :], 2):
        assert explore({act, *others}, steps=STEPS_OF_THREE).violation is None


# where a rule is needed: what happens beside sessions and runs
NEEDED = {
    "absence_condemns_nothing_live": {"load rows"},
    "rereads_rows": {"keep with trigger"},
    "one_owner": {"add column"},
    "looks_before_deleting": {"add column", "put back"},
    "claims_unchanged": {"add column", "put back under triggers"},
    "triggers_write_doomed": {"add column", "put back under triggers"},
    "distrusts_other_statements": {"add column", "copy column"},
    "distrusts_other_triggers": {"add column", "archive with trigger"},
    "distrusts_new_columns": {"add column", "copy column"},
    "reads_recorded_columns": {"add column"},
    "reads_any_shape": {"make lists"},
    "missing_column_withholds": {"rename column"},
    "hidden_rows_withhold": {"hide rows"},
    "limits_runs": {"load rows"},
    "knows_its_place": {"mount elsewhere", "other application"},
    "knows_other_writers": {"other application"},
    "knows_what_lay_there": {"earlier application"},
    "counts_generations": {"back up"},
    "knows_copies": {"copy database"},
    "knows_folding": {"fold names"},
    "verifies_copies": {"damage copies"},
    "refuses_tables_without_transactions": {"tables without transactions"},
    "claims_chosen_keys": {"other application"},
}


@pytest.mark.parametrize("rule", [rule.name for rule in fields(Rules)])
def test_without_a_rule_a_file_is_lost(rule: str) -> None:
    assert explore(NEEDED[rule], replace(REAL, **{rule: False})).violation is not None
