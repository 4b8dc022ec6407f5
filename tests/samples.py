"""The beginnings of files of many kinds, made by hand or by the standard library."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import wave
import zipfile

__all__ = ("GIF", "HTML", "JPEG", "MP4", "PDF", "PNG", "SAMPLES", "SVG", "zipped")

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + b"\0" * 40
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb004300") + b"\x08" * 64 + b"\xff\xd9"
GIF = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
MP4 = struct.pack(">I", 24) + b"ftypisom\0\0\x02\0isomiso2" + struct.pack(">I", 8) + b"mdat"
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><rect/></svg>'

OFFICE = "application/vnd.openxmlformats-officedocument."


def zipped(*entries: tuple[str, str | bytes]) -> bytes:
    """Return a ZIP archive, its first entry not compressed, as EPUB and ODF want it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(entries):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED)
    return file.getvalue()


def office(folder: str) -> bytes:
    return zipped(("[Content_Types].xml", "<Types/>"), ("_rels/.rels", "<r/>"), (f"{folder}/a.xml", "<d/>"))


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(8000)
        audio.writeframes(b"\0\1" * 100)
    return file.getvalue()


SAMPLES: dict[str, tuple[bytes, str]] = {
    "a.png": (PNG, "image/png"),
    "a.jpg": (JPEG, "image/jpeg"),
    "a.gif": (GIF, "image/gif"),
    "a.webp": (b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 24, "image/webp"),
    "a.avif": (struct.pack(">I", 28) + b"ftypavif\0\0\0\0avifmif1miaf", "image/avif"),
    "a.tif": (b"II*\0\x08\0\0\0" + b"\0" * 16, "image/tiff"),
    "a.bmp": (b"BM" + struct.pack("<IHHI", 70, 0, 0, 54) + b"\0" * 56, "image/bmp"),
    "a.ico": (b"\0\0\x01\0\x01\0\x10\x10" + b"\0" * 16, "image/x-icon"),
    "a.pdf": (PDF, "application/pdf"),
    "a.docx": (office("word"), OFFICE + "wordprocessingml.document"),
    "a.xlsx": (office("xl"), OFFICE + "spreadsheetml.sheet"),
    "a.pptx": (office("ppt"), OFFICE + "presentationml.presentation"),
    "a.odt": (
        zipped(("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", "<x/>")),
        "application/vnd.oasis.opendocument.text",
    ),
    "a.epub": (zipped(("mimetype", "application/epub+zip"), ("a", "x")), "application/epub+zip"),
    "a.zip": (zipped(("hello.txt", "hello")), "application/zip"),
    "a.gz": (gzip.compress(b"hello", mtime=0), "application/gzip"),
    "a.tar": (tarred(), "application/x-tar"),
    "a.mp4": (MP4, "video/mp4"),
    "a.webm": (
        bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d") + b"\0" * 20,
        "video/webm",
    ),
    "a.mp3": (b"ID3\x04\0\0\0\0\0\x0a" + b"\0" * 20 + b"\xff\xfb\x90\0", "audio/mpeg"),
    "a.wav": (sound(), "audio/x-wav"),
    "a.flac": (b"fLaC\0\0\0\x22" + b"\0" * 34, "audio/x-flac"),
    "a.ogg": (b"OggS\0\x02" + b"\0" * 24, "audio/ogg"),
    "a.rtf": (b"{\\rtf1\\ansi hello}", "application/rtf"),
    "a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "application/postscript"),
    "a.exe": (b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0" + b"\0" * 48, "application/x-msdownload"),
    "a.elf": (b"\x7fELF\x02\x01\x01" + b"\0" * 57, "application/x-executable"),
    "a.doc": (bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 504, "application/x-ole-storage"),
    "a.html": (HTML, "text/html"),
    "b.html": (b"\n  <HTML\n><script>alert(1)</script>", "text/html"),
    "c.html": (b"<script>alert(1)</script>", "text/html"),
    "d.html": (b"\xef\xbb\xbf<!-- hello --><body onload=alert(1)>", "text/html"),
    "e.html": ("\ufeff<html><script>alert(1)</script>".encode("utf-16-le"), "text/html"),
    "a.svg": (SVG, "image/svg+xml"),
    "b.svg": (b'<?xml version="1.0"?>\n<!-- made > here -->\n<s:svg xmlns:s="x"/>', "image/svg+xml"),
    "c.svg": (b'<?xml version="1.0"?>\n<!DOCTYPE svg [<!ENTITY a "<b>">]>\n<svg/>', "image/svg+xml"),
    "a.xhtml": (
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>',
        "application/xhtml+xml",
    ),
    "a.xml": (b'<?xml version="1.0"?><root/>', "application/xml"),
    "cut.xml": (b'<?xml version="1.0"?><!-- ' + b"-" * 5000, "application/xml"),
    "a.php": (b"<?php echo 1;", "application/x-httpd-php"),
    "a.txt": ("Grüße aus 東京\n".encode(), "text/plain"),
    "latin.txt": ("Grüße".encode("latin-1"), "text/plain"),
    "wide.txt": ("Grüße".encode("utf-16"), "text/plain"),
    "bmw.txt": (b"BMW sold more in March.\n", "text/plain"),
    "mz.txt": (b"MZ is the mark of DOS programs.\n", "text/plain"),
    "id3.txt": (b"ID3 tags are explained below.\n", "text/plain"),
    "gif.txt": (b"GIF89a is from 1989.\n", "text/plain"),
    "a.csv": (b"id,name\n1,Ann\n", "text/plain"),
    "a.json": (b'{"a": 1}', "text/plain"),
    "tag.txt": (b"<abbr>is no mark of HTML</abbr>", "text/plain"),
    "empty": (b"", "text/plain"),
    "zeros": (b"\0" * 8192, "application/octet-stream"),
    "gif and script": (b"GIF89a/*\0\0*/=1;alert(1)", "image/gif"),
    "jpeg and zip": (JPEG + zipped(("a", "b")), "image/jpeg"),
    "pdf and html": (b"%PDF-1.4\n<html><script>alert(1)</script>", "application/pdf"),
    "html and pdf": (HTML + PDF, "text/html"),
    "png and html": (PNG + HTML, "image/png"),
}
"""By name: the content, and what its bytes show."""
