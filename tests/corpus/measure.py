"""What a policy refuses that is right, and accepts that runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from filecolumn.content.policy import ContentPolicy
from filecolumn.errors import ContentTypeRejectedError
from filecolumn.naming import DEFAULT_CONTENT_TYPE, guess_content_type
from tests.corpus.listing import Listed

RUNS = {
    "page": {".html", ".htm", ".xhtml", ".xht"},
    "SVG": {".svg"},
    "PHP": {".php"},
    "ELF": {".elf", ".so", ".o", ".appimage"},
    "PE": {".exe"},
    "Java": {".class"},
    "Flash": {".swf"},
    "script": {".sh"},
}
"""By the extensions that such files rightly have; a script is one only if it names its interpreter."""

RIGHT_FOR_SCRIPTS_AND_PAGES = frozenset(
    # source code, of which many files are scripts too
    ".awk .bash .cl .clj .cr .cs .csh .d .dart .desktop .erl .ex .exp .gnuplot .gp .gradle .groovy .hs "
    ".iptables .java .jl .js .jsm .ksh .kt .lisp .lua .m .mak .mjs .mk .ml .mo .nim .php .pl .pm .py .py3 "
    ".pyi .pyx .qml .qmlproject .qmltypes .r .rb .rs .scala .scm .sed .sh .swift .tcl .vb .zsh "
    # templates and pages
    ".asa .htm .html .jinja .tmpl .tpl .twig .xht .xhtml "
    # what a debugger needs of a program is an ELF file
    ".debug".split()
)


@dataclass(frozen=True, slots=True)
class Sample:
    listed: Listed
    head: bytes

    @property
    def kind(self) -> str | None:
        """What runs it, if something does."""
        found = next((kind for kind, extensions in RUNS.items() if self.listed.extension in extensions), None)
        return None if found == "script" and not self.head.startswith(b"#!") else found

    def __str__(self) -> str:
        return f"{self.listed.package}: {self.listed.path}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What an upload may say of itself: an extension, and the one type that belongs to it."""

    extension: str
    media_type: str | None

    @classmethod
    def of(cls, listed: Listed) -> Claim:
        return cls(listed.extension, listed.media_type)

    def uploads(self) -> Iterator[tuple[str, str, str]]:
        """Yield what `accept` may have for it, with a name and a declared type that go with that."""
        name = f"file{self.extension}"
        for declared in {guess_content_type(name), DEFAULT_CONTENT_TYPE, self.media_type} - {None}:
            yield self.extension, name, declared
        if self.media_type:
            yield self.media_type, name, self.media_type
            yield self.media_type, "blob", self.media_type


def takes(head: bytes, accept: str, name: str, declared: str) -> bool:
    try:
        ContentPolicy.of(None, {accept}).type_of(head, name, declared)
    except ContentTypeRejectedError:
        return False
    return True


def is_refused(sample: Sample) -> bool:
    """Return whether the file is refused in any way in which it may rightly come."""
    return not all(takes(sample.head, *upload) for upload in Claim.of(sample.listed).uploads())


def wrong_claims(sample: Sample, claims: Collection[Claim]) -> list[Claim]:
    """Return the claims under which a file that runs is not what they say."""
    own = RUNS[sample.kind] if sample.kind else frozenset[str]()
    return [claim for claim in claims if claim.extension not in own | RIGHT_FOR_SCRIPTS_AND_PAGES]


def is_accepted(sample: Sample, claim: Claim) -> bool:
    """Return whether the file passes under the claim in any way."""
    return any(takes(sample.head, *upload) for upload in claim.uploads())
