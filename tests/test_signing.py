"""Signed tokens: what is signed comes back, and nothing else is accepted."""

from __future__ import annotations

import json
import random
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filecolumn import InvalidGrantError
from filecolumn.signing import MAX_LIFETIME, Claims, TokenSigner, UrlSigner, expiry
from tests.profiles import PROFILE

NOW = 1_800_000_000.0
OLD, NEW = "old " * 8, "new " * 8
CLAIMS = Claims(
    purpose="download",
    method="GET",
    backend="files",
    key="20261124/14/0123.png",
    expires_at=int(NOW) + 60,
    filename="é.png",
    content_type="image/png",
    disposition="inline",
    size=5,
    checksum="sha256:ab",
    subject="42",
)


def signer(*secrets: str) -> TokenSigner:
    return TokenSigner(secrets or NEW)


TOKEN = signer().sign(CLAIMS)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


@given(
    st.builds(
        Claims,
        purpose=st.sampled_from(["download", "upload", "grant"]),
        method=TEXT,
        backend=TEXT,
        key=TEXT,
        expires_at=st.integers(int(NOW) + 1, int(NOW) + MAX_LIFETIME),
        filename=TEXT,
        content_type=TEXT,
        disposition=TEXT,
        size=st.integers(-1, 2**63),
        max_size=st.integers(-1, 2**63),
        checksum=TEXT,
        column=TEXT,
        subject=TEXT,
    )
)
def test_what_is_signed_comes_back(claims: Claims) -> None:
    assert signer().verify(signer().sign(claims), claims.purpose, now=NOW) == claims


@pytest.mark.parametrize("name", [field.name for field in fields(Claims)])
def test_every_field_is_part_of_what_is_signed(name: str) -> None:
    value = getattr(CLAIMS, name)
    changed = replace(CLAIMS, **{name: value + 1 if isinstance(value, int) else f"{value}x"})
    one, other = signer().sign(CLAIMS), signer().sign(changed)
    assert one[-40:] != other[-40:]


def test_fields_do_not_run_into_each_other() -> None:
    one = signer().sign(replace(CLAIMS, backend="ab", key="c"))
    other = signer().sign(replace(CLAIMS, backend="a", key="bc"))
    assert one[-40:] != other[-40:]


@pytest.mark.sized
def test_no_mutated_token_is_accepted() -> None:
    randomness = random.Random(20261124)
    alphabet = string.ascii_letters + string.digits + "-_"
    verify, accepted = signer().verify, []
    for _ in range(PROFILE.fuzzed):
        mutant = mutated(TOKEN, randomness, alphabet)
        if mutant == TOKEN:
            continue
        try:
            verify(mutant, "download", now=NOW)
        except InvalidGrantError:
            continue
        accepted.append(mutant)
    assert accepted == []


def mutated(token: str, randomness: random.Random, alphabet: str) -> str:  # noqa: PLR0911 - one for each way
    place = randomness.randrange(len(token))
    match randomness.randrange(7):
        case 0:
            return token[:place] + randomness.choice(alphabet) + token[place + 1 :]
        case 1:
            return token[:place] + token[place + 1 :]
        case 2:
            return token[:place] + randomness.choice(alphabet + "=+/ %\n\0é") + token[place:]
        case 3:
            return token[:place]
        case 4:
            raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            raw[randomness.randrange(len(raw))] ^= 1 << randomness.randrange(8)
            return urlsafe_b64encode(raw).decode().rstrip("=")
        case 5:
            other = randomness.randrange(len(token))
            swapped = list(token)
            swapped[place], swapped[other] = swapped[other], swapped[place]
            return "".join(swapped)
        case _:
            # the last character has spellings that decode to the same bytes
            return token[:-1] + randomness.choice(alphabet)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "=",
        "A",
        TOKEN + "=",
        TOKEN + "==",
        " " + TOKEN,
        TOKEN + "\n",
        TOKEN.replace("_", "/"),
        "é",
        "\ud800",
    ]
    + ["A" * n for n in (10, 50, 1000, 8192, 8193, 1_000_000)]
    + [TOKEN[:n] for n in (1, 10, 37, len(TOKEN) - 1)]
    + [TOKEN.swapcase(), TOKEN[::-1], TOKEN * 2, "null", "{}", "eyJhbGciOiJub25lIn0.e30."],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    if token == TOKEN:
        pytest.skip("the same token")
    with pytest.raises(PermissionError):
        signer().verify(token, "download", now=NOW)


@pytest.mark.parametrize("late", [60, 61, 3600, 10**12])
def test_an_expired_token_is_refused(late: float) -> None:
    with pytest.raises(InvalidGrantError):
        signer().verify(TOKEN, "download", now=NOW + late)


@pytest.mark.parametrize("expires_at", [0, -1, int(NOW), int(NOW) + MAX_LIFETIME + 2, 10**30])
def test_an_expiry_that_we_never_give_is_refused(expires_at: int) -> None:
    with pytest.raises(InvalidGrantError):
        signer().verify(signer().sign(replace(CLAIMS, expires_at=expires_at)), "download", now=NOW)


@pytest.mark.parametrize(
    "expires_in",
    [0, -1, MAX_LIFETIME + 1, float("nan"), float("inf"), timedelta(0), timedelta(days=7, seconds=1)],
)
def test_a_lifetime_is_above_0_and_at_most_7_days(expires_in: float | timedelta) -> None:
    with pytest.raises(ValueError, match="expires_in"):
        expiry(NOW, expires_in)


def test_a_lifetime_is_in_seconds_or_a_timedelta() -> None:
    assert expiry(NOW, timedelta(minutes=2)) == expiry(NOW, 120)
    assert expiry(NOW, timedelta(days=7)) == expiry(NOW, MAX_LIFETIME)


@pytest.mark.parametrize("purpose", ["upload", "grant"])
def test_a_token_is_for_one_purpose(purpose: str) -> None:
    with pytest.raises(InvalidGrantError):
        signer().verify(TOKEN, purpose, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(InvalidGrantError):
        signer().verify(signer().sign(replace(CLAIMS, purpose=purpose)), "download", now=NOW)  # type: ignore[arg-type]


def test_a_rotated_key_still_verifies_and_the_new_one_signs() -> None:
    both = signer(NEW, OLD)
    assert both.verify(signer(OLD).sign(CLAIMS), "download", now=NOW) == CLAIMS
    assert signer(NEW).verify(both.sign(CLAIMS), "download", now=NOW) == CLAIMS
    with pytest.raises(InvalidGrantError):
        signer(NEW).verify(signer(OLD).sign(CLAIMS), "download", now=NOW)


@pytest.mark.parametrize("secrets", ["", "short", [], ["x" * 32, "short"], b"x" * 31])
def test_a_secret_has_at_least_32_bytes(secrets: object) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner(secrets)  # type: ignore[arg-type]


def test_a_url_carries_the_token_and_nothing_that_needs_escapes() -> None:
    url = UrlSigner(signer(), "/files").url(CLAIMS)
    assert url == f"/files/{TOKEN}"
    assert url.isascii()
    assert json.dumps(url)[1:-1] == url
