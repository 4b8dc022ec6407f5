"""Worker threads go on as long as the interpreter does, and never keep it from ending."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import filecolumn
from filecolumn import FileObject, NotSupportedError, storages
from filecolumn._threads import completed, in_thread
from filecolumn._workers import Workers, start
from filecolumn.backends.fsspec import FSSpecBackend
from tests.scenarios.files import keys

HEAD = """
import asyncio, atexit, sys, threading, time
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from filecolumn import FileObject, StoredObject, storages

class Base(DeclarativeBase): ...

class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[FileObject] = mapped_column(StoredObject())

storages.register_backend(f"file://{sys.argv[1]}/files", key="files")
storages.register_backend("memory://", key="memory")
storages.default = "files"
engine = create_engine(f"sqlite:///{sys.argv[1]}/database")
Base.metadata.create_all(engine)

def work():
    with Session(engine) as session:
        session.add_all([Document(file=FileObject(f"{number}", content=b"x" * 1000)) for number in range(5)])
        session.commit()
    large = FileObject("large", content=b"x" * 9_000_000, backend="memory").save()
    print(large.size, asyncio.run(awaited()))

async def awaited():
    file = await FileObject("a", content=b"x").save_async()
    return await file.get_content_async()
"""


def program(folder: Path, body: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(filecolumn.__file__).parents[1])}
    command = [sys.executable, "-c", HEAD + body, str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "body",
    [
        "threading.Thread(target=lambda: (threading.main_thread().join(), work())).start()",
        "atexit.register(work)",
        "work(); atexit.register(work)",
    ],
    ids=["thread", "atexit", "again in atexit"],
)
def test_files_are_stored_after_the_main_thread_has_ended(body: str, tmp_path: Path) -> None:
    output, errors = program(tmp_path, body).communicate(timeout=50)
    assert errors == ""
    assert output.splitlines()[-1] == "9000000 b'x'"
    backend = storages.register_backend(f"file://{tmp_path}/files", key="files")
    assert len(keys(backend)) == 6 * len(output.splitlines())


ENDLESS = """
async def hang(): await asyncio.get_running_loop().create_future()
async def chunks():
    yield b"x"
    await hang()
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "meanwhile",
    [
        "await FileObject('a', content=b'x').save_async()",
        "await FileObject('a', content=b'x', backend='memory').save_async()",
        "asyncio.ensure_future(FileObject('a', content=chunks()).save_async())",
        "task = asyncio.ensure_future(FileObject('a', content=iter(partial(time.sleep, 1000), 1)).save_async())",
    ],
    ids=["folder", "memory", "content that never comes", "content that blocks"],
)
def test_ctrl_c_ends_a_process_whose_loop_does_not_clean_up(meanwhile: str, tmp_path: Path) -> None:
    process = program(
        tmp_path,
        f"""{ENDLESS}
from functools import partial
async def main():
    {meanwhile}
    await asyncio.sleep(0.1)
    print("waiting", flush=True)
    await hang()
asyncio.new_event_loop().run_until_complete(main())
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in {-signal.SIGINT, 130}
    assert "KeyboardInterrupt" in errors


def stop() -> object:
    raise StopIteration("enough")


async def test_a_call_raises_where_it_is_awaited() -> None:
    def fail() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError, match="a") as caught:
        await in_thread(fail, limit=10, doing="fail")
    assert caught.traceback[-1].name == "fail"
    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_thread(stop, limit=10, doing="stop")


async def test_a_call_has_the_context_variables_of_its_caller() -> None:
    name = ContextVar("name", default="nobody")
    name.set("somebody")
    assert await in_thread(name.get, limit=10, doing="look") == "somebody"


async def test_a_call_that_must_end_is_waited_for_by_a_cancelled_caller() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()

    task = asyncio.ensure_future(completed(call))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_no_more_calls_run_at_a_time_than_there_are_workers() -> None:
    workers, running, most = Workers(3), [0], [0]
    meeting, lock = threading.Barrier(3), threading.Lock()

    def call(number: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        meeting.wait(10)
        with lock:
            running[0] -= 1
        return number

    futures = [workers.submit(partial(call, number)) for number in range(12)]
    assert [future.result(10) for future in futures] == list(range(12))
    assert most[0] == 3


def test_a_call_that_waits_for_its_turn_can_be_taken_back() -> None:
    workers, may_end = Workers(1), threading.Event()
    first = workers.submit(partial(may_end.wait, 10))
    second, third = workers.submit(list), workers.submit(list)
    assert second.cancel()
    may_end.set()
    assert first.result(10)
    assert third.result(10) == []


def test_a_loop_that_has_ended_does_not_disturb_the_thread_that_it_left() -> None:
    may_end = threading.Event()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_thread(lambda: may_end.wait(10), limit=10, doing="wait"), 0.05)

    asyncio.run(leave())
    may_end.set()
    assert asyncio.run(in_thread(lambda: 1, limit=10, doing="count")) == 1


def each_call(file: FileObject) -> Iterator[tuple[str, Any]]:
    yield "save", FileObject("b", content=b"b", backend="docs").save_async
    yield "save what is read once", FileObject("b", content=iter([b"b"]), backend="docs").save_async
    yield "copy", file.copy_async
    yield "read", file.get_content_async
    yield "stream", lambda: anext(file.stream_async())
    yield "look", file.exists_async
    yield "refresh", file.refresh_async
    yield "delete", file.delete_async


@pytest.mark.extended
@pytest.mark.parametrize("make", ["memory", "fsspec"])
def test_under_trio_each_call_says_that_it_needs_asyncio(make: str) -> None:
    trio = pytest.importorskip("trio")

    if make == "memory":
        storages.register_backend("memory://", key="docs")
    else:
        storages.register_backend(FSSpecBackend("docs", "memory", "under-trio"))
    backend = storages.get("docs")
    file = FileObject("a", content=b"a", backend="docs").save()
    stored = keys(backend)
    for name, call in each_call(file):
        with pytest.raises(NotSupportedError, match="asyncio"):
            trio.run(call)
        assert keys(backend) == stored, name
    assert trio.run(trio.to_thread.run_sync, file.get_content) == b"a"


def test_a_thread_that_cannot_be_started_takes_no_other_call_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, second_begins, later = Workers(1), threading.Event(), list[Future[str]]()
    start = threading.Thread.start

    def submit_second() -> None:
        second_begins.set()
        later.append(workers.submit(lambda: "second"))

    second = threading.Thread(target=submit_second)

    def refuse_first(thread: threading.Thread) -> None:
        if not thread.name.startswith("filecolumn") or second_begins.is_set():
            return start(thread)
        # another thread comes to the line, as far as it gets
        second.start()
        assert second_begins.wait(10)
        second.join(0.1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("filecolumn._workers._idle", [])
    monkeypatch.setattr(threading.Thread, "start", refuse_first)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        workers.submit(lambda: "first")
    second.join(10)
    assert [future.result(10) for future in later] == ["second"]
    assert workers.submit(lambda: "third").result(10) == "third"


class Large:
    """What a failed call had in its hands."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def failing(kept: list[weakref.ref[Large]]) -> None:
    large = Large()
    kept.append(weakref.ref(large))
    raise KeyError("a")


def submitted(call: Callable[[], object]) -> None:
    Workers(1).submit(call).result(10)


def submitted_in_line(call: Callable[[], object]) -> None:
    workers = Workers(1)
    futures = [workers.submit(call) for _ in range(3)]
    wait(futures, 10)
    futures.pop().result()


def started(call: Callable[[], object]) -> None:
    start(call).result(10)


async def caught(work: Awaitable[object]) -> None:
    # `asyncio.run` itself makes such a cycle of what it raises
    with suppress(KeyError):
        await work


def awaited_call(call: Callable[[], object]) -> None:
    asyncio.run(caught(in_thread(call, limit=10, doing="fail")))


def completed_call(call: Callable[[], object]) -> None:
    asyncio.run(caught(completed(call)))


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("run", [submitted, submitted_in_line, started, awaited_call, completed_call])
def test_what_a_failed_call_held_is_free_without_the_garbage_collector(
    run: Callable[[Callable[[], object]], None],
) -> None:
    kept: list[weakref.ref[Large]] = []
    with suppress(KeyError):
        run(partial(failing, kept))
    # the thread lets go of it just after it has told
    for _ in range(100):
        if all(each() is None for each in kept):
            break
        threading.Event().wait(0.01)
    assert [each() for each in kept] == [None] * len(kept)
