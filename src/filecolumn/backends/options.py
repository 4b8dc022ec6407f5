"""Options of storages: which there are, and what is said of one that there is not.

A name is said, and the one that was probably meant; a value never is, since it may be a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TypeVar, cast

__all__ = (
    "AZURE_SCHEMES",
    "CLIENT_SETTINGS",
    "OWN_OPTIONS",
    "RETRY_SETTINGS",
    "S3_SCHEMES",
    "check_names",
    "check_own",
    "given",
    "meant_by",
    "options_of_scheme",
    "unknown_option",
    "without_values",
)

T = TypeVar("T")

S3_SCHEMES = ("s3", "s3a")
AZURE_SCHEMES = ("az", "adl", "azure", "abfs", "abfss")

OWN_OPTIONS = ("concurrency", "fsync", "max_retries", "timeout", "total_timeout", "verify_copies")
"""Those that every storage made from a URL has."""

CLIENT_SETTINGS = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "default_content_type",
    "default_headers",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "randomize_addresses",
    "read_timeout",
    "root_certificate",
    "timeout",
    "user_agent",
)
"""The names in obstore's `ClientConfig`."""
RETRY_SETTINGS = ("backoff", "max_retries", "retry_timeout")
"""The names in obstore's `RetryConfig`, which it does not check."""

# What obstore has is for obstore to say; these are only to find the one that was meant.
# https://developmentseed.org/obstore/latest/api/store/aws/#obstore.store.S3Config and its neighbours
_S3 = (
    "access_key_id bucket checksum_algorithm conditional_put copy_if_not_exists default_region disable_tagging "
    "endpoint imdsv1_fallback metadata_endpoint region request_payer s3_express secret_access_key "
    "server_side_encryption session_token skip_signature sse_kms_key_id unsigned_payload "
    "virtual_hosted_style_request"
).split()
_GCS = (
    "service_account service_account_key bearer_token bucket application_credentials skip_signature".split()
)
_AZURE = (
    "account_name account_key client_id client_secret tenant_id authority_host sas_key token use_emulator endpoint "
    "msi_endpoint federated_token_file use_azure_cli skip_signature container_name"
).split()
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(S3_SCHEMES, (*_S3, *(f"aws_{name}" for name in _S3))),
    "gs": (*_GCS, *(f"google_{name}" for name in _GCS)),
    **dict.fromkeys(AZURE_SCHEMES, (*_AZURE, *(f"azure_storage_{name}" for name in _AZURE))),
}
_SHORTEST_SECRET = 4


def given(options: Mapping[str, T | None]) -> dict[str, T]:
    """Return the options that were given: None is one that was not, as `os.environ.get` returns it."""
    return {name: value for name, value in options.items() if value is not None}


def options_of_scheme(scheme: str) -> tuple[str, ...]:
    """Return the options that are known for a scheme that obstore serves."""
    return (*OWN_OPTIONS, "client_options", "retry_config", *_SETTINGS.get(scheme, ()))


def meant_by(name: str, known: Iterable[str]) -> str | None:
    """Return the known option that *name* is, or is probably misspelt for."""
    found = get_close_matches(name.lower(), [*known], n=1, cutoff=0.75)
    return found[0] if found and abs(len(found[0]) - len(name)) <= 2 else None


def check_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ValueError that names an option which is not known; *where* says of what."""
    known = [*known]
    for name in names:
        if name not in known:
            raise unknown_option(name, known, where)


def check_own(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise ValueError for an option of ours that is misspelt, where others may be known to the library below."""
    known = {*known, *OWN_OPTIONS}
    for name in names:
        if name not in known and meant_by(name, OWN_OPTIONS):
            raise unknown_option(name, OWN_OPTIONS, where)


def unknown_option(name: str, known: Iterable[str], where: str) -> ValueError:
    """Return the error for an option that *where* does not have."""
    known = sorted(known)
    meant = meant_by(name, known)
    # obstore has most of its options under a second name, with the service in front
    short = [
        option for option in known if option.removeprefix(_service_in(option)) not in {*known} - {option}
    ]
    hint = f"did you mean {meant!r}?" if meant else f"known are {', '.join(short)}"
    return ValueError(f"{where} has no option {name!r}; {hint}")


def _service_in(option: str) -> str:
    return next((prefix for prefix in ("aws_", "google_", "azure_storage_") if option.startswith(prefix)), "")


def without_values(text: str, values: object) -> str:
    """Return *text* without any string that is in *values*, which may be nested."""
    for value in sorted(_strings(values), key=len, reverse=True):
        # Rust quotes with backslashes
        for form in (value, re.sub(r'(["\\])', r"\\\1", value)):
            text = text.replace(form, "...")
    return text


def _strings(values: object) -> Iterator[str]:
    match values:
        case str():
            if len(values) >= _SHORTEST_SECRET:
                yield values
        case bytes():
            yield from _strings(values.decode("latin-1"))
        case Mapping():
            for value in cast("Mapping[str, object]", values).values():
                yield from _strings(value)
        case list() | tuple() | set():
            for value in cast("Iterable[object]", values):
                yield from _strings(value)
        case _:
            return
