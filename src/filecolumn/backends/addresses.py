"""The address of a storage: read without being quoted, since credentials may be anywhere in it.

Errors say the scheme, names of options that are known, and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

from filecolumn.backends.options import AZURE_SCHEMES, S3_SCHEMES, meant_by, options_of_scheme

__all__ = ("check_address", "check_userinfo", "local_folder", "scheme_of", "secrets_of", "spelt_for")

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


def scheme_of(address: str, protocols: Iterable[str] = ()) -> str:
    """Return the scheme of a URL, in small letters; ValueError says what to write for anything else.

    What was meant is looked for among *protocols*.  RFC 3986, section 3.1: capitals say nothing.
    """
    scheme, separator, _ = address.partition("://")
    if separator and all(map(_SCHEME.fullmatch, scheme.split("::"))):
        return scheme.lower()
    meant = meant_by(address, protocols)
    hint = f"did you mean {meant!r}?" if meant else _advice(address)
    raise ValueError(f"this is no storage URL: {hint}")


def spelt_for(protocols: Collection[str], url: str) -> str:
    """Return a URL, chained or not, with the schemes of its links as they are in *protocols*.

    Raises ValueError for a link that is neither a URL nor a protocol: fsspec takes it for a local folder.
    """
    *links, last = url.split("::")
    for number, link in enumerate(links, start=1):
        if "://" not in link and link not in protocols:
            meant = meant_by(link, protocols)
            hint = f"did you mean {meant!r}?" if meant else "write one such as 'simplecache', or a URL"
            raise ValueError(f"link {number} of the chained URL is no protocol of fsspec: {hint}")
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
