"""Requests to an application: small files, parts of them, unchanged ones, forms, and large bodies."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.applications.base import FORM_BODY, FORM_TYPE, Application
from benchmarks.contenders.base import CONTENT
from benchmarks.measuring import Measure, Sample, sampled


async def download(application: Application, times: int, _amount: int) -> Sample:
    await application.start()
    with sampled(times) as sample:
        for _ in range(times):
            answer = await application.call("GET", "/small")
            assert (answer.status, answer.length) == (200, len(CONTENT)), answer
    return sample


async def part(application: Application, times: int, _amount: int) -> Sample:
    await application.start()
    headers = [("range", "bytes=1024-2047")]
    with sampled(times) as sample:
        for _ in range(times):
            answer = await application.call("GET", "/small", headers)
            assert (answer.status, answer.length) == (206, 1024), answer
    return sample


async def unchanged(application: Application, times: int, _amount: int) -> Sample:
    await application.start()
    headers = [("if-none-match", (await application.call("GET", "/small")).headers["etag"])]
    with sampled(times) as sample:
        for _ in range(times):
            answer = await application.call("GET", "/small", headers)
            assert (answer.status, answer.length) == (304, 0), answer
    return sample


async def form(application: Application, times: int, _amount: int) -> Sample:
    await application.start()
    headers = [("content-type", FORM_TYPE), ("content-length", str(len(FORM_BODY)))]
    with sampled(times) as sample:
        for _ in range(times):
            answer = await application.call("POST", "/form", headers, [FORM_BODY])
            assert answer.status == 201, answer
    return sample


async def large_download(application: Application, _times: int, megabytes: int) -> Sample:
    port = await application.serve()
    if application.megabytes != megabytes:
        application.make_large(megabytes)
        application.megabytes = megabytes
    return await _asked("GET", port, megabytes)


async def large_upload(application: Application, _times: int, megabytes: int) -> Sample:
    return await _asked("PUT", await application.serve(), megabytes)


async def _asked(method: str, port: int, megabytes: int) -> Sample:
    """Let a client in another process send a request to the server in this one, which alone is measured."""
    command = (sys.executable, "-m", "benchmarks.client", method, str(port), "/large", str(megabytes))
    with sampled(megabytes) as sample:
        client = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, errors = await client.communicate()
    assert client.returncode == 0, errors.decode()
    return sample


MEASURES = (
    Measure(
        name="download",
        title="GET a file of 4 KiB",
        work=download,
        needs="download",
        usual=200,
        item="request",
    ),
    Measure(
        name="range",
        title="GET 1 KiB of a file of 4 KiB",
        work=part,
        needs="range",
        usual=200,
        item="request",
    ),
    Measure(
        name="unchanged",
        title="GET a file that has not changed: 304",
        work=unchanged,
        needs="conditional",
        usual=200,
        item="request",
    ),
    Measure(
        name="upload",
        title="POST a form with a file of 4 KiB (SHA-256, no fsync)",
        work=form,
        needs="upload",
        usual=200,
        item="request",
    ),
    Measure(
        name="large-download",
        title="GET a file of 128 MiB from uvicorn",
        work=large_download,
        needs="large_download",
        amount=128,
        fixed=False,
        item="MiB",
    ),
    Measure(
        name="large-upload",
        title="PUT 128 MiB to uvicorn (SHA-256, no fsync)",
        work=large_upload,
        needs="large_upload",
        amount=128,
        fixed=False,
        item="MiB",
    ),
)
