"""A client for large bodies, in a process of its own: `python -m benchmarks.client METHOD PORT PATH MEGABYTES`."""

from __future__ import annotations

import os
import socket
import sys

MIB = 1024 * 1024


def main(method: str, port: int, path: str, megabytes: int) -> None:
    """Send one request and read its answer; exit 1 if that is not all that was asked for."""
    length = megabytes * MIB if method == "PUT" else 0
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    buffer = memoryview(bytearray(MIB))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        piece = os.urandom(MIB)
        for _ in range(length // MIB):
            connection.sendall(piece)
        beginning, received = b"", 0
        while count := connection.recv_into(buffer):
            beginning = beginning or bytes(buffer[:count])
            received += count
    if not beginning.startswith(b"HTTP/1.1 200") or (method == "GET" and received < megabytes * MIB):
        sys.exit(f"{received} bytes: {beginning[:200]!r}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
