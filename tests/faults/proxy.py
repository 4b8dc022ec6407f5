"""A TCP proxy before PostgreSQL that cuts a connection around COMMIT."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum

CHUNK = 65536
LIMIT = 10.0
"""Seconds after which a connection that says nothing is cut: no test waits for ever."""


class Cut(Enum):
    """Where the next COMMIT's connection is cut."""

    BEFORE = "before it is forwarded"
    AFTER = "as soon as it is forwarded"
    """It arrives or not: closing a connection may throw away what is on its way."""
    UNANSWERED = "when the server has answered"
    MUTE = "never, and nothing is answered"


class Proxy:
    """Forwards what it gets, until it is told to cut."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.next: Cut | None = None
        """What becomes of the next COMMIT, of whatever connection."""
        self.refuses = False
        """Whether nobody can connect."""
        self.is_mute = False
        """Whether who connects gets no answer."""
        self.cuts = 0
        self.before_cut: Callable[[], object] = lambda: None
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._start(self._accept)

    def go_away(self) -> None:
        """Let nobody listen at the port any more; connections stay."""
        # close alone does not wake an accept
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def come_back(self) -> None:
        """Listen again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def close(self) -> None:
        """Cut everything, and wait for all threads."""
        self.go_away()
        for end in list(self._open):
            _end(end)
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        for end in self._open:
            end.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                if self.is_mute:
                    self._open.add(client)
                    continue
                server = socket.create_connection(self._server)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    end.settimeout(LIMIT)
                self._open |= {client, server}
                self._start(self._forward_requests, client, server)

    def _forward_requests(self, client: socket.socket, server: socket.socket) -> None:
        """Forward in both directions, the answers in a thread of their own, until one end is closed."""
        is_mute = threading.Event()
        answered = threading.Event()

        def forward_answers() -> None:
            with suppress(OSError):
                while data := server.recv(CHUNK):
                    answered.set()
                    if not is_mute.is_set():
                        client.sendall(data)
            answered.set()
            _end(client)

        answers = threading.Thread(target=forward_answers)
        answers.start()
        with suppress(OSError):
            while data := client.recv(CHUNK):
                if self.next is not None and b"COMMIT" in data:
                    is_mute.set()
                    answered.clear()
                    self._cut(data, client, server, answered)
                    break
                server.sendall(data)
        for end in (client, server):
            _end(end)
        answers.join(LIMIT)
        for end in (client, server):
            self._open.discard(end)
            end.close()

    def _cut(
        self, data: bytes, client: socket.socket, server: socket.socket, answered: threading.Event
    ) -> None:
        """Forward COMMIT, or not, and wait as long as the cut says."""
        cut, self.next = self.next, None
        self.cuts += 1
        self.before_cut()
        if cut is not Cut.BEFORE:
            server.sendall(data)
        if cut is Cut.UNANSWERED:
            answered.wait(LIMIT)
        elif cut is Cut.MUTE:
            # until the client gives up
            client.recv(CHUNK)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
