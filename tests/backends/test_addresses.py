"""Addresses and options of storages: what is refused, what the error says, and what it never says."""

from __future__ import annotations

import logging
import traceback
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from obstore.store import MemoryStore

from filecolumn import (
    BackendAlreadyRegisteredError,
    BackendNotRegisteredError,
    FileObject,
    StorageError,
    StorageRegistry,
)
from filecolumn.backends._options import check_own
from filecolumn.backends.base import StorageBackend
from filecolumn.backends.fsspec import FSSpecBackend
from filecolumn.backends.obstore import ObstoreBackend

SECRET = "S3CR3T"
Register = Callable[..., StorageBackend]


def through_registry(url: str, **options: Any) -> StorageBackend:
    return StorageRegistry().register_backend(url, key="s", **options)


def through_obstore(url: str, **options: Any) -> StorageBackend:
    return ObstoreBackend("s", url, **options)


def through_fsspec(url: str, **options: Any) -> StorageBackend:
    return FSSpecBackend("s", url, **options)


EACH_WAY = pytest.mark.parametrize("register", [through_registry, through_obstore, through_fsspec])

SECRET_ADDRESSES = [
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=S3CR3T==;EndpointSuffix=core.windows.net",
    "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=sv=1&sig=S3CR3T",
    "S3CR3T",
    "user:S3CR3T@host",
    "s3:/key:S3CR3T@bucket",
    "s3:key:S3CR3T@bucket",
    "S3://key:S3CR3T@bucket/",
    "s3://key:S3CR3T@bucket/",
    "s3://key:S3CR/S3CR3T@bucket/",
    "s3://key:S3CR3T%40bucket/",
    "s3://S3CR3T@bucket",
    "s3:\\\\key:S3CR3T@bucket",
    "s3://bucket\\S3CR3T",
    "s3://bucket/?X-Amz-Signature=S3CR3T",
    "s3://bucket/p?S3CR3T",
    "s3://bucket/p#S3CR3T",
    "gs://S3CR3T@bucket/",
    "az://account:S3CR3T@container/",
    "abfss://c:S3CR3T@account.dfs.core.windows.net/",
    "https://a.blob.core.windows.net/c?sv=1&sig=S3CR3T",
    "file://user:S3CR3T@host/share",
    "file:user:S3CR3T@host/share",
    "file:///folder?token=S3CR3T",
    "sftp:user:S3CR3T@host",
    "simplecache::s3://key:S3CR3T@bucket/",
    "simplecache::memory://x?S3CR3T",
    "zip:/S3CR3T::s3:/key:S3CR3T@bucket",
    "key:S3CR3T@host://bucket",
    "  s3://key:S3CR3T@bucket",
    "//key:S3CR3T@bucket",
    "nosuchscheme://key:S3CR3T@host/",
    "sftp://user:S3CR3T/x@host/p",
    "https://user:S3CR3T/x@host/p",
    "simplecache::ftp://user:S3CR3T/x@host/p",
    "webhdfs://user:S3%43R3T/S3CR3T@host/p",
    "nosuchscheme://user:S3CR3T/x@host/",
    "S3CR3T::memory://x",
]


@EACH_WAY
@pytest.mark.parametrize("address", SECRET_ADDRESSES)
def test_an_address_that_is_refused_is_not_repeated(
    register: Register, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError) as caught:
        register(address)
    shown = "".join(traceback.format_exception(caught.value))
    # the lines of this program are not the library's
    shown = "\n".join(line for line in shown.splitlines() if not line.startswith("    "))
    assert SECRET not in shown + caplog.text
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("s3://bucket/", {"checksum_algorithm": SECRET}),
        ("s3://bucket/", {"aws_conditional_put": f'"{SECRET}\\'}),
        ("s3://bucket/", {"secret_access_kye": SECRET}),
        ("s3://bucket/", {"client_options": {"timeout": SECRET}}),
        ("az://box/", {"account_name": "a", "account_key": f"{SECRET}!!"}),
        ("gs://bucket/", {"service_account": f"/{SECRET}/key.json"}),
        ("memory://", {"secret": SECRET}),
        ("local:///tmp/x", {"secret": SECRET}),
        ("https://host/", {"password": SECRET}),
        ("memory://", {"client_options": {"proxy_ulr": SECRET}}),
    ],
)
def test_an_option_that_is_refused_is_named_without_its_value(address: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        through_registry(address, **options)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert next(iter(options)) in str(caught.value) or "timeout" not in str(caught.value)


class Refusing(MemoryFileSystem):
    """Repeats what it was given, as clients do when they cannot connect."""

    cachable = False
    protocol = "refusing"

    def __init__(self, password: str = "", **options: Any) -> None:
        raise OSError(f"cannot log in with {password}")


def test_a_filesystem_that_cannot_be_made_repeats_no_option() -> None:
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(ValueError, match="cannot log in with") as caught:
        FSSpecBackend("s", "refusing", password=SECRET)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__suppress_context__


def test_what_stands_where_a_key_or_an_address_belongs_is_not_repeated(tmp_path: Path) -> None:
    registry = StorageRegistry()
    wrong: list[Any] = [{"password": SECRET}, f"s3://k:{SECRET}@b".encode(), Path(SECRET)]
    for value in wrong:
        with pytest.raises(TypeError) as refused:
            registry.register_backend(value, "s")
        assert SECRET not in str(refused.value)
        with pytest.raises(TypeError) as refused:
            registry.default = value
        assert SECRET not in str(refused.value)
    address = f"s3://k:{SECRET}@b"
    registry.register_backend("memory://", "docs")
    registry.alias(address, to="docs")
    with pytest.raises(BackendAlreadyRegisteredError) as taken:
        registry.register_backend("memory://", address)
    registry.unregister_backend("docs")
    with pytest.raises(ValueError) as circle:
        registry.alias("docs", to=address)
    registry.register_backend(f"file://{tmp_path}/a", f"{address}/2")
    with pytest.raises(BackendAlreadyRegisteredError) as elsewhere:
        registry.register_backend(f"file://{tmp_path}/b", f"{address}/2")
    with pytest.raises(BackendNotRegisteredError) as known:
        registry.get("docs")
    for error in (taken, circle, elsewhere, known):
        assert SECRET not in str(error.value)
    with pytest.raises(BackendNotRegisteredError) as unknown:
        FileObject("a", content=b"", backend=f"s3://k:{SECRET}@b").save()
    assert SECRET not in str(unknown.value)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("file://{0}/new", {"fsinc": False}, "'fsinc'; did you mean 'fsync'"),
        ("file://{0}/new", {"total_timout": 5}, "'total_timout'; did you mean 'total_timeout'"),
        ("file://{0}/new", {"aws_region": "x"}, "'aws_region'"),
        ("file://{0}/new", {"retry_config": {"max_retris": 1}}, "'max_retris'; did you mean 'max_retries'"),
        ("local://{0}/new", {"fsinc": False}, "'fsinc'; did you mean 'fsync'"),
        ("local://{0}/new", {"auto_mkdirs": True}, "'auto_mkdirs'; did you mean 'auto_mkdir'"),
        ("memory://", {"concurrencyy": 1}, "'concurrencyy'; did you mean 'concurrency'"),
        ("s3://bucket/", {"aws_regoin": "x"}, "'aws_regoin'; did you mean 'aws_region'"),
        ("s3://bucket/", {"Regionn": "x"}, "'Regionn'; did you mean 'region'"),
        ("s3://bucket/", {"timeoutt": 1}, "'timeoutt'; did you mean 'timeout'"),
        ("s3://bucket/", {"client_options": {"allow_htp": True}}, "'allow_htp'; did you mean 'allow_http'"),
        ("memory://", {"client_options": {"allow_htp": True}}, "'allow_htp'; did you mean 'allow_http'"),
        (
            "file://{0}/new",
            {"client_options": {"read_timeoutt": 1}},
            "'read_timeoutt'; did you mean 'read_timeout'",
        ),
        ("az://box/", {"azure_storage_account_ky": "x"}, "did you mean 'azure_storage_account_key'"),
        ("https://host/", {"max_retris": 1}, "'max_retris'; did you mean 'max_retries'"),
        ("simplecache::memory://x", {"concurrencyy": 1}, "'concurrencyy'; did you mean 'concurrency'"),
        ("file://{0}/new?x=1", {}, "no query.*%3F"),
        ("file://{0}/new#files", {}, "no fragment.*%23"),
        ("local://{0}/new#files", {}, "no fragment.*%23"),
        ("file:///C:/files", {}, "drive of Windows"),
        (
            "s3://bucket/p?region=eu-west-1&endpoint=http://minio",
            {},
            r"region=\.\.\., endpoint=\.\.\. as options",
        ),
        ("s3://bucket/p?regionn=eu-west-1", {}, r"pass region=\.\.\. as"),
        ("s3://bucket/p#x", {}, "no fragment"),
        ("s3://KEY:PASS@bucket/", {}, r"access_key_id=\.\.\. and secret_access_key=\.\.\."),
        ("s3://KEY:PASS@bucket/", {}, r"s3fs: username=\.\.\. and password=\.\.\."),
        ("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine", {}, "alias of an access point"),
        ("sftp://user:pass/word@host/p", {}, "percent-encode"),
        ("ssh://user:pass#word@host/p", {}, "percent-encode"),
        ("https://user:pass?word@host/p", {}, "percent-encode"),
        ("simpleCache::file://{0}/new", {}, "did you mean 'simplecache'"),
        ("blockcache2::file://{0}/new", {}, "did you mean 'blockcache'"),
        ("simplecahe::filecache::file://{0}/new", {}, "did you mean 'simplecache'"),
        ("zip://a::x/y::file://{0}/new", {}, "link 2 of the chained URL"),
        ("memory://x?size=1", {}, "no query"),
        ("sftp://host/folder?x=1", {}, "no query.*prefix="),
    ],
)
def test_what_does_not_belong_is_refused_by_name_and_leaves_no_folder(
    tmp_path: Path, url: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        through_registry(url.format(tmp_path), **options)
    assert list(tmp_path.iterdir()) == []
    assert not Path("/C:").exists()


@pytest.mark.parametrize(
    "address", ["simpleCache::memory://x", "Simplecache::memory://x", "nocache2::memory://x"]
)
def test_a_misspelt_link_is_no_local_folder(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for register in (through_registry, through_fsspec):
        with pytest.raises(ValueError, match="is not a protocol of fsspec"):
            register(address)
    assert list(tmp_path.iterdir()) == []


def test_an_address_may_have_capitals_and_links_of_every_kind(tmp_path: Path) -> None:
    for register in (through_registry, through_obstore, through_fsspec):
        assert register(f"FILE://{tmp_path}/a").location == f"file://{tmp_path}/a"
        assert "memory" in register("Memory://x").location
    registry = StorageRegistry()
    registry.register_backend(f"file://{tmp_path}/a", key="s")
    with pytest.raises(BackendAlreadyRegisteredError):
        registry.register_backend(f"File://{tmp_path}/b", key="s")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/a.txt", b"old")
    for url in ("zip://x::file://{}/a.zip", "ZIP://x::{}/a.zip", "simplecache::zip://x::FILE://{}/a.zip"):
        assert through_registry(url.format(tmp_path)).get_bytes("a.txt") == b"old"


class Loud(MemoryFileSystem):
    """Has a protocol in capitals."""

    protocol = "LOUD"


def test_a_protocol_that_is_registered_in_capitals_is_found() -> None:
    fsspec.register_implementation("LOUD", Loud, clobber=True)
    assert isinstance(FSSpecBackend("s", "LOUD://x").fs, Loud)
    assert isinstance(FSSpecBackend("s", "dir::LOUD://x").fs.fs, Loud)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "address",
    [
        "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine/folder",
        "S3://arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:mine/folder",
        "s3a://arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/mine/folder",
        "simplecache::s3://arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/mine/folder",
    ],
)
def test_fsspec_takes_an_access_point(address: str) -> None:
    pytest.importorskip("s3fs")
    assert FSSpecBackend("s", address).prefix.endswith("mine/folder")


def test_a_retry_that_is_none_was_not_given() -> None:
    options: Any = {"max_retries": None, "backoff": None}
    assert through_registry("s3://bucket/", retry_config=options).location == "s3://bucket/"


def test_a_ready_error_of_a_filesystem_comes_without_what_it_was_raised_from() -> None:
    fsspec.register_implementation("causing", Causing, clobber=True)
    with pytest.raises(OSError, match="no way in") as caught:
        FSSpecBackend("s", "causing", password=SECRET)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


class Causing(MemoryFileSystem):
    """Says nothing itself, and has a cause that does."""

    cachable = False
    protocol = "causing"

    def __init__(self, password: str = "", **options: Any) -> None:
        raise OSError("no way in") from ValueError(password)


class Closed(MemoryFileSystem):
    """Says all the options that it has."""

    protocol = "closed"

    def __init__(self, host: str = "") -> None:
        super().__init__()


class Open(MemoryFileSystem):
    """Passes on what it does not know."""

    protocol = "open"

    def __init__(self, max_concurrency: int = 1, **options: Any) -> None:
        super().__init__()


def test_the_options_of_a_filesystem_are_its_own_matter_where_it_passes_them_on() -> None:
    assert FSSpecBackend("s", MemoryFileSystem(), "p", timeout=5).timeout == 5
    for kind in (Closed, Open):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    assert FSSpecBackend("s", "closed", "p", host="a").protocol == "closed"
    with pytest.raises(ValueError, match="'hots'; did you mean 'host'"):
        FSSpecBackend("s", "closed", "p", hots="a")
    with pytest.raises(ValueError, match="'max_retris'; did you mean 'max_retries'"):
        FSSpecBackend("s", "closed", "p", max_retris=1)


def test_the_error_for_an_option_that_is_like_none_names_each_that_there_is_once() -> None:
    with pytest.raises(ValueError, match="has no option 'nonsense'; known are") as caught:
        through_registry("s3://bucket/", nonsense=1)
    assert "secret_access_key" in str(caught.value)
    assert "aws_secret_access_key" not in str(caught.value)


def test_an_option_of_ours_is_known_everywhere() -> None:
    check_own(["timeout"], ["host"], "the filesystem 'x'")


@pytest.mark.parametrize(
    "made", [partial(ObstoreBackend, "s", MemoryStore()), partial(FSSpecBackend, "s", MemoryFileSystem())]
)
def test_a_ready_store_takes_our_options_only(made: Register) -> None:
    assert made(total_timeout=5, aws_region=None).total_timeout == 5
    with pytest.raises(ValueError, match="'total_timout'; did you mean 'total_timeout'"):
        made(total_timout=5)
    with pytest.raises(TypeError, match="leave out region"):
        made(region="x")


def test_none_is_an_option_that_was_not_given(tmp_path: Path) -> None:
    """As `os.environ.get` returns it."""
    ours: dict[str, Any] = dict.fromkeys(
        ("timeout", "total_timeout", "max_retries", "concurrency", "verify_copies", "fsync", "no_such_option")
    )
    for register in (through_registry, through_obstore, through_fsspec):
        made = register(f"file://{tmp_path}/a", **ours)
        assert [made.timeout, made.total_timeout, made.max_retries, made.concurrency] == [10.0, 60.0, 3, 8]
        assert made.verify_copies
        assert made._root is not None
        assert made._root.fsync
    s3: dict[str, Any] = {
        "aws_session_token": None,
        "region": "eu-west-1",
        "client_options": {"proxy_url": None},
    }
    assert through_registry("s3://bucket/", **s3).location == "s3://bucket/"


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file://{0}/a%3Fb%23c", "a?b#c"),
        ("file://localhost{0}/a", "a"),
        ("file://{0}/a@b:c/", "a@b:c"),
        ("file://{0}/with space", "with space"),
    ],
)
def test_a_folder_of_any_name_has_a_url(tmp_path: Path, url: str, folder: str) -> None:
    for register in (through_registry, through_obstore, through_fsspec):
        assert register(url.format(tmp_path)).location == f"file://{tmp_path}/{folder}"
    assert through_registry((tmp_path / folder).as_uri()).location == f"file://{tmp_path}/{folder}"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("abfss://container@account.dfs.core.windows.net/folder", {}),
        ("az://container/a@b:c", {"account_name": "a"}),
        ("s3://bucket.with-dots_1/a@b:c/", {}),
        ("https://user:password@host/folder", {}),
        ("https://user:pass%2Fword@host:8080/a:b@c/folder", {}),
        ("https://[::1]:8080/a@b", {}),
        ("memory://a:b/c@d", {}),
    ],
)
def test_a_good_url_is_taken(url: str, options: dict[str, Any]) -> None:
    assert "password" not in repr(through_registry(url, **options))


def test_a_refused_registration_leaves_no_folder(tmp_path: Path) -> None:
    registry = StorageRegistry()
    registry.register_backend(f"file://{tmp_path}/first", key="s")
    registry.register_backend("memory://", key="m")
    registry.alias("old", to="s")
    for key in ("s", "m", "old"):
        for url in (f"file://{tmp_path}/second/below", f"local://{tmp_path}/second/below"):
            with pytest.raises(BackendAlreadyRegisteredError):
                registry.register_backend(url, key=key)
    with pytest.raises(ValueError):
        registry.register_backend(f"file://{tmp_path}/second/below", key="t", timeout=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    moved = registry.register_backend(f"file://{tmp_path}/second/below", key="s", replace=True)
    assert Path(moved.location.removeprefix("file://")).is_dir()


class Talking(MemoryFileSystem):
    """Tells everything in its errors."""

    cachable = False
    message: str = ""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        raise OSError(self.message)


@pytest.mark.parametrize(
    "message",
    [
        "cannot reach https://user:S3CR3T@host/x",
        "cannot reach sftp://user:S3C/S3CR3T@host",
        "cannot reach user:S3CR3T@host:22",
        "refused: https://host/x?sv=1&sig=S3CR3T",
        "refused: sv=1&sig=S3CR3T&se=2",
        "refused: AccountName=a;AccountKey=S3CR3T==;EndpointSuffix=x",
        "refused: {'aws_secret_access_key': 'S3CR3T'}",
        "refused: Client(password='S3CR3T')",
        "refused: Authorization: Bearer S3CR3T",
        "refused: X-Amz-Security-Token=S3CR3T",
        "refused: password: S3CR3T",
        "refused: Login(db_pass: S3CR3T)",
        "refused: pass=S3CR3T",
        "refused: pwd 'S3CR3T'",
        "refused: {'password': b'S3CR3T'}",
        'refused: {"secretAccessKey": "S3CR3T"}',
        "refused: x-amz-security-token: S3CR3T",
        "refused: x-api-key: S3CR3T",
        "refused: accountKey: S3CR3T",
        "refused: Authorization: SharedKey account:S3CR3T=",
        "refused: Authorization: SharedKeyLite account:S3CR3T=",
        "refused: " + "a" * 60 + "_key=S3CR3T",
        "refused: " + "a " * 470 + "https://user:S3CR3T" + "x" * 60 + "@host",
        "refused: " + "https://user:S3CR3T" + "x" * 1000 + "@host",
    ],
)
def test_an_error_of_a_client_is_told_without_credentials(message: str) -> None:
    fs = Talking()
    fs.message = message
    backend = FSSpecBackend("s", fs, "talking")
    with pytest.raises(StorageError, match=message.partition(":")[0][:12]) as caught:
        backend.stat("a")
    assert SECRET not in str(caught.value)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "message", ["a" * 20_000, "a:" * 10_000, "://" * 10_000, "key " * 10_000, "?" * 20_000]
)
def test_a_long_error_of_a_client_is_told_at_once_and_in_short(message: str) -> None:
    fs = Talking()
    fs.message = message
    with pytest.raises(StorageError) as caught:
        FSSpecBackend("s", fs, "talking").stat("a")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "message",
    [
        "NoSuchKey: the key: a/b@c.txt, token: none, is not in s3://bucket/folder (12:30)",
        "InvalidSignature: The request was signed for another region, at bypass: 12:30",
        "a monkey: it eats the key 'a/b', and a token of 3 s",
    ],
)
def test_a_plain_error_of_a_client_is_told_whole(message: str) -> None:
    fs = Talking()
    fs.message = message
    with pytest.raises(StorageError) as caught:
        FSSpecBackend("s", fs, "talking").stat("a")
    assert fs.message in str(caught.value)
