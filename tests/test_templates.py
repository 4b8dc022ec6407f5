"""Key templates: what a declaration may say, and that no record can lead a key astray."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn import InvalidKeyError
from filecolumn.naming import KeyContext, KeyTemplate, check_key


def context(filename: str = "Report.PDF", **record: object) -> KeyContext:
    return KeyContext(table="documents", column="file", filename=filename, record=SimpleNamespace(**record))


@pytest.mark.parametrize(
    "text",
    [
        "{table}/{name}",
        "",
        "fixed",
        "/{uuid}",
        "../{uuid}",
        "a//{uuid}",
        "{uuid}/",
        ".filecolumn/{uuid}",
        "CON/{uuid}",
        "{uuid}\\x",
        "a\x00{uuid}",
        "{uuid",
        "uuid}",
        "{uuid}{}",
        "{uuid}{0}",
        "{uuid}{record.secret}",
        "{uuid}{record[0]}",
        "{uuid}{tenant!r}",
        "{uuid:>40}",
        "{uuid}{__class__.__init__}",
    ],
)
def test_a_template_that_can_never_make_good_keys_is_refused_when_declared(text: str) -> None:
    with pytest.raises(InvalidKeyError):
        KeyTemplate(text)


def test_the_error_for_a_template_without_uuid_says_so() -> None:
    with pytest.raises(InvalidKeyError, match=r"\{uuid\}"):
        KeyTemplate("{tenant}/{name}")


def test_doubled_braces_are_literal() -> None:
    assert re.fullmatch(r"\{x\}[0-9a-f]{32}", KeyTemplate("{{x}}{uuid}").render(context()))


def test_every_field_of_the_file_is_filled() -> None:
    key = KeyTemplate("{table}/{column}/{name}/{uuid}{ext}").render(context())
    assert re.fullmatch(r"documents/file/Report\.PDF/[0-9a-f]{32}\.pdf", key)


def test_dates_are_of_now_in_utc() -> None:
    before = datetime.now(UTC)
    date, year, month, day, hour, _ = (
        KeyTemplate("{date}/{year}/{month}/{day}/{hour}/{uuid}").render(context()).split("/")
    )
    made = datetime.strptime(f"{date}{hour}", "%Y%m%d%H").replace(tzinfo=UTC)
    assert before.replace(minute=0, second=0, microsecond=0) <= made <= datetime.now(UTC)
    assert date == year + month + day


def test_an_attribute_of_the_record_is_a_slug() -> None:
    key = KeyTemplate("{tenant}/{uuid}").render(context(tenant="Zoë & Söhne/../x"))
    assert re.fullmatch(r"Zoe-Sohne-.-x/[0-9a-f]{32}", key)


def test_a_number_is_filled_too() -> None:
    assert KeyTemplate("{id}/{uuid}").render(context(id=42)).startswith("42/")


def test_an_extension_that_is_not_safe_is_left_out() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", KeyTemplate("{uuid}{ext}").render(context("evil.php")))


def test_a_filename_with_nothing_usable_becomes_file() -> None:
    assert KeyTemplate("{name}-{uuid}").render(context("日本")).startswith("file-")


def test_an_attribute_that_is_still_none_is_named() -> None:
    with pytest.raises(InvalidKeyError, match=r"SimpleNamespace\.tenant is None.*flush"):
        KeyTemplate("{tenant}/{uuid}").render(context(tenant=None))


def test_an_attribute_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidKeyError, match="no attribute 'tenant'"):
        KeyTemplate("{tenant}/{uuid}").render(context())


@pytest.mark.parametrize("value", ["", "..", "///", "日本", " ", "\x00"])
def test_an_attribute_that_no_key_could_carry_is_named(value: str) -> None:
    with pytest.raises(InvalidKeyError, match=r"SimpleNamespace\.tenant has no character"):
        KeyTemplate("{tenant}/{uuid}").render(context(tenant=value))


def test_two_keys_of_one_record_differ() -> None:
    template = KeyTemplate("{table}/{uuid}{ext}")
    assert len({template.render(context()) for _ in range(1000)}) == 1000


HOSTILE = (
    st.sampled_from(
        [
            "..",
            "../../etc",
            "/",
            "a/b",
            "C:\\x",
            "CON",
            "nul.txt",
            ".filecolumn",
            "x#1",
            "a\r\nb",
            "{uuid}",
            "\ud800",
        ]
    )
    | st.text(max_size=300)
    | st.integers()
    | st.binary(max_size=20)
    | st.floats()
)


@given(HOSTILE, st.text(max_size=300))
def test_a_hostile_record_cannot_change_the_shape_of_its_key(value: object, filename: str) -> None:
    template = KeyTemplate("root/{tenant}/{name}-{uuid}{ext}")
    try:
        key = template.render(context(filename, tenant=value))
    except InvalidKeyError:
        return
    assert check_key(key) == key
    root, tenant, last = key.split("/")
    assert root == "root"
    assert tenant not in {"", ".", ".."}
    assert re.search(r"-[0-9a-f]{32}(\.[a-z0-9]+)?$", last)


@given(HOSTILE)
def test_a_hostile_first_segment_is_never_our_own_folder(value: object) -> None:
    try:
        key = KeyTemplate("{tenant}/{uuid}").render(context(tenant=value))
    except InvalidKeyError:
        return
    assert check_key(key) == key
    assert not key.startswith(".")


@given(HOSTILE, HOSTILE)
def test_joined_attributes_pass_too(one: object, other: object) -> None:
    try:
        key = KeyTemplate("{one}{other}/{uuid}").render(context(one=one, other=other))
    except InvalidKeyError:
        return
    assert check_key(key) == key
    assert key.count("/") == 1
