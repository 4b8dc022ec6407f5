"""The address of a storage: read without being quoted, since credentials may be anywhere in it.

Errors say the scheme, names of options that are known, and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from filecolumn.backends.options import meant_by, options_of_scheme

__all__ = ("check_address", "local_folder", "scheme_of")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
_AZURE = frozenset({"az", "adl", "azure", "abfs", "abfss"})
_BUCKET = re.compile(r"[A-Za-z0-9._-]*")
# container@account.dfs.core.windows.net
_CONTAINER = re.compile(r"(?:[A-Za-z0-9$-]+@)?[A-Za-z0-9$._-]*")
_DRIVE = re.compile(r"/[A-Za-z]:(?:/|$)")

_WRITE = "write a scheme, such as 'file:///folder/' or 's3://bucket/'"
_CREDENTIALS = (
    "the host of a storage's URL is the bucket and nothing else: credentials are options, such as "
    "access_key_id=... and secret_access_key=... (s3fs: key=... and secret=...), or come from the environment"
)


def scheme_of(address: str, protocols: Iterable[str] = ()) -> str:
    """Return the scheme of a URL; ValueError says what to write for anything else, or which of *protocols*."""
    scheme, separator, _ = address.partition("://")
    if separator and all(map(_SCHEME.fullmatch, scheme.split("::"))):
        return scheme
    meant = meant_by(address, protocols)
    hint = f"did you mean {meant!r}?" if meant else _advice(address)
    raise ValueError(f"this is no storage URL: {hint}")


def check_address(url: str) -> None:
    """Raise ValueError for a part of a URL that no storage has: a query, a fragment, credentials of a bucket.

    The parts of a chained URL of fsspec (`simplecache::s3://bucket`) are looked at one by one.
    """
    for link in url.split("::"):
        scheme, separator, rest = link.partition("://")
        if separator:
            _check_link(scheme.lower(), rest)


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
    if ":" in address and scheme in {*_BUCKETS, *_AZURE, "file", "memory", "http", "https"}:
        return f"write two slashes after {scheme + ':'!r}, or another scheme, such as 'file:///folder/' or 's3://bucket/'"
    return _WRITE


def _check_link(scheme: str, rest: str) -> None:
    where = re.search(r"[?#\\]", rest)
    host = rest.partition("/")[0]
    if scheme in _BUCKETS and not _BUCKET.fullmatch(re.split(r"[?#\\]", host)[0]):
        raise ValueError(_CREDENTIALS)
    if scheme in _AZURE and not _CONTAINER.fullmatch(re.split(r"[?#\\]", host)[0]):
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
