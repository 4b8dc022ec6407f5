"""Requests to an application: small files, parts of them, unchanged ones, forms, and large bodies."""

from __future__ import annotations

from benchmarks.applications.base import FORM_BODY, FORM_TYPE, MIB, Application, random_pieces
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
    await application.start()
    if application.megabytes != megabytes:
        application.make_large(megabytes)
        application.megabytes = megabytes
    with sampled(megabytes) as sample:
        answer = await application.call("GET", "/large")
    assert (answer.status, answer.length) == (200, megabytes * MIB), answer
    return sample


async def large_upload(application: Application, _times: int, megabytes: int) -> Sample:
    await application.start()
    headers = [("content-length", str(megabytes * MIB)), ("content-type", "application/octet-stream")]
    with sampled(megabytes) as sample:
        answer = await application.call("PUT", "/large", headers, random_pieces(megabytes))
    assert answer.status == 200, answer
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
        title="GET a file of 128 MiB",
        work=large_download,
        needs="large",
        amount=128,
        fixed=False,
        item="MiB",
    ),
    Measure(
        name="large-upload",
        title="PUT 128 MiB (SHA-256, no fsync)",
        work=large_upload,
        needs="large",
        amount=128,
        fixed=False,
        item="MiB",
    ),
)
