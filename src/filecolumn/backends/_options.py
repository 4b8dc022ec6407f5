"""What a storage is made from: its URL and its options, and what is said of a wrong one.

Messages quote neither: credentials may be anywhere in them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TypeVar, cast
from urllib.parse import unquote

__all__ = (
    "AZURE_SCHEMES",
    "CLIENT_SETTINGS",
    "OWN_OPTIONS",
    "RETRY_SETTINGS",
    "S3_SCHEMES",
    "check_address",
    "check_names",
    "check_own",
    "check_userinfo",
    "given",
    "local_folder",
    "meant_by",
    "options_of_scheme",
    "scheme_of",
    "secrets_of",
    "spelt_for",
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

# Parts of URLs

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BUCKETS = frozenset({*S3_SCHEMES, "gs", "gcs"})
_BUCKET = re.compile(r"[A-Za-z0-9._-]*")
# container@account.dfs.core.windows.net
_CONTAINER = re.compile(r"(?:[A-Za-z0-9$-]+@)?[A-Za-z0-9$._-]*")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html#access-points-arns
_ACCESS_POINT = re.compile(r"arn:aws[a-z-]*:s3[a-z-]*:[A-Za-z0-9-]+:\d{12}:[a-z]+(?::[A-Za-z0-9._:-]+)?")
_WITH_USERINFO = frozenset(
    {"dav", "davs", "ftp", "hdfs", "http", "https", "sftp", "smb", "ssh", "webdav", "webhdfs"}
)
"""Schemes whose URLs name a server; where another has `:` and `@`, they may be parts of a folder's name."""
_DRIVE = re.compile(r"/[A-Za-z]:(?:/|$)")

_WRITE = "write a scheme, such as 'file:///folder/' or 's3://bucket/'"
_CREDENTIALS = (
    "the host of a storage's URL is the bucket and nothing else: credentials are options, such as "
    "access_key_id=... and secret_access_key=... (s3fs: username=... and password=..., or a ready filesystem), or "
    "come from the environment"
)


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


def scheme_of(address: str, protocols: Iterable[str] = ()) -> str:
    """Return the scheme of a URL, in small letters; ValueError says what to write for anything else.

    What was meant is looked for among *protocols*.  RFC 3986, section 3.1: capitals say nothing.
    """
    scheme, separator, _ = address.partition("://")
    if separator and all(map(_SCHEME.fullmatch, scheme.split("::"))):
        return scheme.lower()
    meant = meant_by(address, protocols)
    hint = f"did you mean {meant!r}?" if meant else _advice(address)
    raise ValueError(f"this is not a storage URL: {hint}")


def spelt_for(protocols: Collection[str], url: str) -> str:
    """Return a URL, chained or not, with the schemes of its links as they are in *protocols*.

    Raises ValueError for a link that is neither a URL nor a protocol: fsspec takes it for a local folder.
    """
    *links, last = url.split("::")
    for number, link in enumerate(links, start=1):
        if "://" not in link and link not in protocols:
            meant = meant_by(link, protocols)
            hint = f"did you mean {meant!r}?" if meant else "write one such as 'simplecache', or a URL"
            raise ValueError(f"link {number} of the chained URL is not a protocol of fsspec: {hint}")
    return "::".join(_spelt(protocols, link) for link in [*links, last])


def check_address(url: str, *, access_points: bool = False) -> None:
    """Raise ValueError for a part of a URL that no storage has: a query, a fragment, credentials of a bucket.

    The parts of a chained URL of fsspec (`simplecache::s3://bucket`) are looked at one by one.
    With *access_points* the ARN of one may be in the place of an S3 bucket.
    """
    check_userinfo(url)
    for link in url.split("::"):
        scheme, separator, rest = link.partition("://")
        if separator:
            _check_link(scheme.lower(), rest, access_points=access_points)


def check_userinfo(url: str) -> None:
    """Raise ValueError for a password with a delimiter, which makes a part of it the host or the folder."""
    for link in url.split("::"):
        scheme, _, rest = link.partition("://")
        host, *after = re.split(r"[/?#]", rest, maxsplit=1)
        port = re.sub(r"^\[.*?\]", "", host.rpartition("@")[2]).partition(":")[2]
        if scheme.lower() in _WITH_USERINFO and "@" in "".join(after) and port and not port.isdecimal():
            raise ValueError(
                f"the URL {scheme.lower()}://... has a '/', '?' or '#' in its user name or password: percent-encode it "
                "(%2F, %3F, %23)"
            )


def secrets_of(url: str) -> list[str]:
    """Return what of a URL may be a credential, in each form that an error may quote it in."""
    before, at, _ = url.rpartition("@")
    if not at:
        return []
    parts = [before.partition("://")[2], *re.split(r"[/:@]+", before)[1:]]
    return [*parts, *map(unquote, parts)]


def local_folder(url: str) -> str:
    """Return the folder of a `file:` URL; ValueError says how to write one."""
    check_address(url)
    host, slash, path = url.partition("://")[2].partition("/")
    # RFC 8089, section 2
    if not slash or host not in {"", "localhost"}:
        raise ValueError("the URL names no absolute folder; write 'file:///folder/'")
    folder = unquote(slash + path)
    if _DRIVE.match(folder):
        raise ValueError(
            "the URL names a drive of Windows, and a local folder is a storage on POSIX systems only; "
            "write 'file:///folder/'"
        )
    return folder


def _advice(address: str) -> str:
    if re.search(r"AccountKey\s*=|AccountName\s*=", address, re.IGNORECASE):
        return (
            "instead of a connection string write 'az://container/' and the options account_name=... and "
            f"account_key=...; or {_WRITE}"
        )
    if address.startswith(("/", "~", ".")):
        return f"for a folder, pass Path(...).absolute().as_uri(); or {_WRITE}"
    scheme = address.partition(":")[0]
    if ":" in address and scheme in {*_BUCKETS, *AZURE_SCHEMES, "file", "memory", "http", "https"}:
        return f"write two slashes after {scheme + ':'!r}, or another scheme, such as 'file:///folder/' or 's3://bucket/'"
    return _WRITE


def _spelt(protocols: Collection[str], link: str) -> str:
    scheme, separator, rest = link.partition("://")
    return link if scheme in protocols else f"{scheme.lower() if separator else scheme}{separator}{rest}"


def _check_link(scheme: str, rest: str, *, access_points: bool) -> None:
    where = re.search(r"[?#\\]", rest)
    host = re.split(r"[?#\\]", rest.partition("/")[0])[0]
    is_access_point = scheme in S3_SCHEMES and _ACCESS_POINT.fullmatch(host) is not None
    if is_access_point and not access_points:
        raise ValueError(
            "obstore takes the alias of an access point in the place of the bucket; its ARN is for FSSpecBackend"
        )
    if scheme in _BUCKETS and not (is_access_point or _BUCKET.fullmatch(host)):
        raise ValueError(_CREDENTIALS)
    if scheme in AZURE_SCHEMES and not _CONTAINER.fullmatch(host):
        raise ValueError(_CREDENTIALS)
    if where is None:
        return
    if where[0] == "\\":
        raise ValueError(f"the URL {scheme}://... has a backslash; folders are separated by '/'")
    part = "query ('?')" if where[0] == "?" else "fragment ('#')"
    raise ValueError(
        f"the URL {scheme}://... of a storage has no {part}: {_instead(scheme, rest[where.end() :])}"
    )


def _instead(scheme: str, query: str) -> str:
    if scheme in {"file", "local"}:
        return "in the name of a folder write %3F for ? and %23 for #"
    names = [part.partition("=")[0] for part in re.split(r"[?&#;]", query) if "=" in part]
    # a name that is not known may be a part of a secret
    meant = [found for name in names if (found := meant_by(name, options_of_scheme(scheme)))]
    options = ", ".join(f"{name}=..." for name in dict.fromkeys(meant)) or "what it says"
    return f"pass {options} as options, or a folder of such a name as prefix=... of FSSpecBackend"
