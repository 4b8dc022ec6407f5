"""An S3 in the memory of this process that fails, lies or falls silent when a test tells it to.

It is one bucket under every name, believes every signature, and compares the checksums that a request
carries with what has arrived.  A fault hits a request by its operation:

    with S3Server() as server:
        server.fail("put", "error_after", status=503)      # stored, and the answer says that it was not
        backend = ObstoreBackend("docs", "s3://bucket/", **server.obstore_options())
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import count
from typing import Any, BinaryIO, Literal, NoReturn, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

__all__ = ("Condition", "FaultKind", "Operation", "Request", "S3Fault", "S3Server", "StoredS3Object")

Operation = Literal[
    "put", "copy", "create", "part", "complete", "abort", "get", "head", "delete", "delete_many", "list"
]
"""What a request does; `create`, `part`, `complete` and `abort` are those of a multipart upload."""

FaultKind = Literal[
    "error",
    "error_after",
    "reset",
    "reset_inside",
    "reset_after",
    "hang",
    "hang_after",
    "late",
    "corrupt",
    "short",
    "none",
]
"""What goes wrong, see `S3Fault`."""

Condition = Literal["honour", "ignore", "refuse"]
"""What becomes of `If-None-Match: *`: 412 for a taken key, nothing, or 501."""

LIMIT = 60.0
"""The longest wait of a request that hangs, in seconds."""

CODES: Mapping[int, str] = {
    400: "InvalidRequest",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    501: "NotImplemented",
    503: "SlowDown",
}


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "content-md5": _md5,
    "x-amz-checksum-sha256": lambda content: hashlib.sha256(content).digest(),
    "x-amz-checksum-sha1": lambda content: hashlib.sha1(content, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda content: zlib.crc32(content).to_bytes(4, "big"),
}
"""The checksums that are compared; others are believed."""


@dataclass(slots=True)
class S3Fault:
    """What goes wrong with some requests.

    `error`: the answer is *status*, and nothing is done.  `error_after`: it is done, and the answer is
    *status*.  `reset`, `reset_inside`, `reset_after`: the connection is reset before anything is done, in
    the middle of the body of the request (or of the answer, for `get`), or when it is done.  `hang`,
    `hang_after`: no answer comes until `S3Server.let_go`, then the connection is reset.  `late`: the
    connection is reset, and the work done when the server is let go.  `corrupt`, `short`: one bit of the
    content is another, or half of it is missing, on its way in or out.
    """

    operation: Operation | None
    """None is any."""
    kind: FaultKind
    times: int | None = 1
    """How many requests are hit; None is every one."""
    skip: int = 0
    """How many pass before the first that is hit."""
    status: int = 500
    code: str | None = None
    """S3's word for the error, if not the usual one of the status."""

    def hits(self, operation: Operation) -> bool:
        """Return whether a request that has arrived is hit, and count it."""
        if self.operation not in {None, operation} or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def alter(self, content: bytes) -> bytes:
        """Return what becomes of *content* on its way."""
        if self.kind == "short":
            return content[: len(content) // 2]
        if self.kind == "corrupt" and content:
            return content[:-1] + bytes([content[-1] ^ 1])
        return content


NO_FAULT = S3Fault(None, "none", times=0)


@dataclass(slots=True)
class Request:
    """A request that has arrived."""

    operation: Operation
    key: str
    query: Mapping[str, str]
    headers: dict[str, str]
    """By their names in small letters; trailers are added when they come."""
    fault: S3Fault | None = None
    body: bytes = b""
    """What has arrived of it."""


@dataclass(frozen=True, slots=True)
class StoredS3Object:
    """What lies under a key."""

    content: bytes
    etag: str
    version: str
    content_type: str = "binary/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    modified: float = field(default_factory=time.time)


@dataclass(slots=True)
class _Upload:
    """A multipart upload that has not ended."""

    key: str
    headers: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class _RefusedError(Exception):
    """A request that is answered by an error."""

    def __init__(self, status: int, code: str | None = None) -> None:
        code = code or CODES.get(status, "InternalError")
        super().__init__(code)
        document = _document("Error", f"<Code>{code}</Code><Message>the fault of a test: {code}</Message>")
        self.answer = _Answer(status, document, {"Content-Type": "application/xml"})


class S3Server:
    """The server: what it keeps, what it has been asked, what is to go wrong."""

    def __init__(self, *, condition: Condition = "honour", versioned: bool = False, page: int = 1000) -> None:
        self.condition: Condition = condition
        self.versioned = versioned
        """Whether answers tell the version of an object."""
        self.page = page
        """Keys that one answer to a listing has at most."""
        self.objects: dict[str, StoredS3Object] = {}
        self.uploads: dict[str, _Upload] = {}
        """Multipart uploads that have not ended, by their ids."""
        self.requests: list[Request] = []
        """Every request, in the order of their arrival."""
        self.lock = threading.RLock()
        self._faults: list[S3Fault] = []
        self._released = threading.Event()
        self._numbers = count(1)
        self._http = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def obstore_options(self) -> dict[str, Any]:
        """Return what an `ObstoreBackend` over `s3://bucket/` needs."""
        return {
            "endpoint": self.url,
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "us-east-1",
            "client_options": {"allow_http": True},
        }

    def s3fs_options(self) -> dict[str, Any]:
        """Return what an `FSSpecBackend` over `s3`, with a bucket as its prefix, needs."""
        return {
            "endpoint_url": self.url,
            "username": "key",
            "password": "secret",
            "client_kwargs": {"region_name": "us-east-1"},
            "config_kwargs": {"retries": {"max_attempts": 1}},
            "skip_instance_cache": True,
        }

    def fail(
        self,
        operation: Operation | None,
        kind: FaultKind,
        *,
        times: int | None = 1,
        skip: int = 0,
        status: int = 500,
        code: str | None = None,
    ) -> None:
        """Let requests fail from now on; of several faults the first that hits one decides."""
        with self.lock:
            self._faults.append(S3Fault(operation, kind, times, skip, status, code))

    def let_go(self) -> None:
        """End every wait, and those to come; what is late is done now."""
        self._released.set()

    def clear(self) -> None:
        """Forget the faults and the requests; what waits is let go."""
        with self.lock:
            self._faults.clear()
            self.requests.clear()
        self.let_go()
        self._released = threading.Event()

    def asked(self, operation: Operation | None = None) -> list[Operation]:
        """Return the operations of the requests so far, or those of one."""
        return [request.operation for request in self.requests if operation in {None, request.operation}]

    def contents(self) -> dict[str, bytes]:
        """Return what is stored."""
        return {key: stored.content for key, stored in self.objects.items()}

    def place(
        self, key: str, content: bytes, *, parts: int = 0, headers: Mapping[str, str] | None = None
    ) -> StoredS3Object:
        """Store *content*, which came in that many *parts*."""
        digest = _md5(content).hex()
        given = headers or {}
        stored = StoredS3Object(
            content,
            f'"{digest}-{parts}"' if parts else f'"{digest}"',
            f"version{next(self._numbers)}",
            given.get("content-type", "binary/octet-stream"),
            {name: value for name, value in given.items() if name.startswith("x-amz-meta-")},
        )
        self.objects[key] = stored
        return stored

    def wait(self) -> None:
        """Wait to be let go."""
        self._released.wait(LIMIT)

    def arrived(self, request: Request) -> None:
        """Note a request, and the fault that hits it."""
        with self.lock:
            request.fault = next((fault for fault in self._faults if fault.hits(request.operation)), None)
            self.requests.append(request)

    def act(self, request: Request, content: bytes) -> _Answer:
        """Do what a request asks for, with the *content* that arrived, or raise _RefusedError."""
        do: Callable[[Request, bytes], _Answer] = getattr(self, f"_do_{request.operation}")
        with self.lock:
            return do(request, content)

    def _do_put(self, request: Request, content: bytes) -> _Answer:
        checksums = _compared(request.headers, content)
        self._check_condition(request.key, request)
        stored = self.place(request.key, content, headers=request.headers)
        return _Answer(headers={**self._facts(stored), **checksums})

    def _do_copy(self, request: Request, _: bytes) -> _Answer:
        self._check_condition(request.key, request)
        source = self._stored(unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")[2])
        kept = {"content-type": source.content_type, **source.metadata}
        stored = self.place(request.key, source.content, headers=kept)
        facts = f"<ETag>{escape(stored.etag)}</ETag><LastModified>{_iso(stored.modified)}</LastModified>"
        return _Answer(content=_document("CopyObjectResult", facts), headers=self._facts(stored))

    def _do_create(self, request: Request, _: bytes) -> _Answer:
        upload = f"upload{next(self._numbers)}"
        self.uploads[upload] = _Upload(request.key, request.headers)
        facts = f"<Bucket>bucket</Bucket><Key>{escape(request.key)}</Key><UploadId>{upload}</UploadId>"
        return _Answer(content=_document("InitiateMultipartUploadResult", facts))

    def _do_part(self, request: Request, content: bytes) -> _Answer:
        checksums = _compared(request.headers, content)
        self._upload(request).parts[int(request.query["partNumber"])] = content
        return _Answer(headers={"ETag": f'"{_md5(content).hex()}"', **checksums})

    def _do_complete(self, request: Request, _: bytes) -> _Answer:
        upload = self._upload(request)
        self._check_condition(upload.key, request)
        del self.uploads[request.query["uploadId"]]
        content = b"".join(upload.parts[number] for number in sorted(upload.parts))
        stored = self.place(upload.key, content, parts=len(upload.parts), headers=upload.headers)
        facts = f"<Bucket>bucket</Bucket><Key>{escape(upload.key)}</Key><ETag>{escape(stored.etag)}</ETag>"
        return _Answer(content=_document("CompleteMultipartUploadResult", facts), headers=self._facts(stored))

    def _do_abort(self, request: Request, _: bytes) -> _Answer:
        self._upload(request)
        del self.uploads[request.query["uploadId"]]
        return _Answer(HTTPStatus.NO_CONTENT)

    def _do_head(self, request: Request, _: bytes) -> _Answer:
        return self._do_get(request, _) if request.key else _Answer()

    def _do_get(self, request: Request, _: bytes) -> _Answer:
        stored = self._stored(request.key)
        known = {
            **self._facts(stored),
            **stored.metadata,
            "Content-Type": stored.content_type,
            "Last-Modified": formatdate(stored.modified, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        size = len(stored.content)
        asked = request.headers.get("range", "").removeprefix("bytes=")
        if not asked:
            return _Answer(content=stored.content, headers=known)
        first, _, last = asked.partition("-")
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= size:
            raise _RefusedError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange")
        known["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return _Answer(HTTPStatus.PARTIAL_CONTENT, stored.content[start:end], known)

    def _do_delete(self, request: Request, _: bytes) -> _Answer:
        self.objects.pop(request.key, None)
        return _Answer(HTTPStatus.NO_CONTENT)

    def _do_delete_many(self, _: Request, content: bytes) -> _Answer:
        document = ET.fromstring(content)
        keys = [item.text or "" for item in document.iter() if item.tag.rpartition("}")[2] == "Key"]
        for key in keys:
            self.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _Answer(content=_document("DeleteResult", deleted))

    def _do_list(self, request: Request, _: bytes) -> _Answer:
        query = request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        last = query.get("continuation-token") or query.get("start-after") or ""
        entries: dict[str, str] = {}
        for key, stored in sorted(self.objects.items()):
            if not key.startswith(prefix):
                continue
            inner, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folder = prefix + inner + delimiter
                entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            else:
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(stored.modified)}</LastModified>"
                    f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.content)}</Size></Contents>"
                )
        left = [name for name in entries if name > last]
        page = left[: min(self.page, int(query.get("max-keys", self.page)))]
        more = len(page) < len(left)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more and page else ""
        facts = (
            f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{self.page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        )
        return _Answer(content=_document("ListBucketResult", facts + "".join(entries[name] for name in page)))

    def _check_condition(self, key: str, request: Request) -> None:
        if request.headers.get("if-none-match") != "*" or self.condition == "ignore":
            return
        if self.condition == "refuse":
            raise _RefusedError(HTTPStatus.NOT_IMPLEMENTED)
        if key in self.objects:
            raise _RefusedError(HTTPStatus.PRECONDITION_FAILED)

    def _stored(self, key: str) -> StoredS3Object:
        if key not in self.objects:
            raise _RefusedError(HTTPStatus.NOT_FOUND)
        return self.objects[key]

    def _upload(self, request: Request) -> _Upload:
        upload = self.uploads.get(request.query["uploadId"])
        if upload is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "NoSuchUpload")
        return upload

    def _facts(self, stored: StoredS3Object) -> dict[str, str]:
        version = {"x-amz-version-id": stored.version} if self.versioned else {}
        return {"ETag": stored.etag, **version}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, store: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, lets the faults happen, writes answers."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            # the client has gone, or we have reset the connection
            self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def handle_expect_100(self) -> bool:
        answered = super().handle_expect_100()
        self.wfile.flush()
        return answered

    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""

    def answer(self) -> None:
        """Answer one request."""
        store = self.server.store
        request = _request(self.command, self.path, self.headers)
        store.arrived(request)
        fault = request.fault or NO_FAULT
        if fault.kind == "reset_inside" and request.operation != "get":
            self.rfile.read(min(1000, int(request.headers.get("content-length", 0))))
            self._reset()
        request.body = self._body(request.headers)
        if fault.kind == "hang":
            store.wait()
        if fault.kind in {"reset", "hang"}:
            self._reset()
        if fault.kind == "late":
            self._hang_up()
            store.wait()
        answer = self._acted(request, fault)
        if fault.kind == "hang_after":
            store.wait()
        if fault.kind in {"reset_after", "hang_after", "late"}:
            self._reset()
        self._send(answer, fault if request.operation == "get" else NO_FAULT)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - the names that http.server calls

    def _acted(self, request: Request, fault: S3Fault) -> _Answer:
        try:
            if fault.kind == "error":
                raise _RefusedError(fault.status, fault.code)
            answer = self.server.store.act(request, fault.alter(request.body))
            if fault.kind == "error_after":
                raise _RefusedError(fault.status, fault.code)
        except _RefusedError as refusal:
            return refusal.answer
        return answer

    def _send(self, answer: _Answer, fault: S3Fault) -> None:
        content = fault.alter(answer.content)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault.kind == "reset_inside":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._reset()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self, headers: dict[str, str]) -> bytes:
        """Return the content of the request; what follows it is added to *headers*."""
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(_chunks(self.rfile, headers))
        else:
            body = self.rfile.read(int(headers.get("content-length", 0)))
        if "aws-chunked" in headers.get("content-encoding", ""):
            body = b"".join(_chunks(BytesIO(body), headers))
        return body

    def _reset(self) -> NoReturn:
        self._hang_up()
        raise ConnectionResetError

    def _hang_up(self) -> None:
        """Reset the connection: the client sees that it is lost, not that it has ended."""
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # it is lost already
        # the files over a socket keep it open
        self.rfile.close()
        self.connection.close()


def _request(method: str, target: str, headers: Message) -> Request:
    parts = urlsplit(target)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {name.lower(): value for name, value in headers.items()}
    return Request(_operation(method, key, query, known), key, query, known)


def _operation(method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    of_upload = "uploadId" in query
    operations: dict[str, Operation] = {
        "PUT": "part" if of_upload else "copy" if "x-amz-copy-source" in headers else "put",
        "POST": "create" if "uploads" in query else "complete" if of_upload else "delete_many",
        "DELETE": "abort" if of_upload else "delete",
        "HEAD": "head",
        "GET": "get" if key else "list",
    }
    return operations[method]


def _chunks(file: BinaryIO, headers: dict[str, str]) -> Iterator[bytes]:
    """Yield the chunks of a body (each is `size[;signature]`, content), and add its trailers to *headers*."""
    while size := int(file.readline().partition(b";")[0], 16):
        yield file.read(size)
        file.readline()
    while line := file.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()


def _compared(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return the checksums that came with *body*, which the answer repeats; 400 for one that is wrong."""
    given = {name: headers[name] for name in DIGESTS if name in headers}
    for name, checksum in given.items():
        if checksum != base64.b64encode(DIGESTS[name](body)).decode():
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "BadDigest")
    return given


def _document(tag: str, inner: str) -> bytes:
    space = "" if tag == "Error" else ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag}{space}>{inner}</{tag}>'.encode()


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
