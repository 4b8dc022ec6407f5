"""Requests that no HTTP library would send."""

from __future__ import annotations

import socket
from collections.abc import Iterable


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def head(method: str, path: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def exchange(port: int, data: bytes, *, close: bool = True) -> bytes:
    """Send *data* and return all that comes back until the server closes or is silent."""
    with connect(port) as connection:
        connection.settimeout(5)
        received = b""
        try:
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
        return received


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1]) if response.startswith(b"HTTP/1.1 ") else 0


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> bytes:
    """Return a multipart body of parts, each the text of its disposition and its content."""
    pieces = [
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    ]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def post_form(
    port: int, path: str, body: bytes, *, boundary: str = "xyz", length: int | None = None
) -> bytes:
    headers = [
        ("Content-Type", f"multipart/form-data; boundary={boundary}"),
        ("Content-Length", str(len(body) if length is None else length)),
        ("Connection", "close"),
    ]
    return exchange(port, head("POST", path, headers) + body, close=False)
