"""A place in a row that is to hold a file: what is wrong with it, and what stores the file's content."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.base import StorageBackend
from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.content.sources import Source
from filecolumn.errors import (
    BackendMismatchError,
    FileColumnError,
    InvalidGrantError,
    SourceConsumedError,
    StaleUploadError,
)
from filecolumn.files import execution
from filecolumn.files.facts import FileFacts, place_in_row, stored_in
from filecolumn.files.file import FileObject, file_state, no_content, undecoded
from filecolumn.files.file_list import FileObjectList, replace_file
from filecolumn.files.state import FileState, Granted, Pending, Staged, Stored
from filecolumn.files.taking import Take
from filecolumn.files.transfer import Copy, Inspect, Operation, Put
from filecolumn.orm.assignment import Use
from filecolumn.orm.attributes import FileAttribute
from filecolumn.orm.granting import names_of
from filecolumn.orm.homes import Home
from filecolumn.signing import Claims

__all__ = (
    "MAX_ATTACH_AGE",
    "CommittedFile",
    "RowKey",
    "Slot",
    "check",
    "check_content",
    "check_kept",
    "copy_for",
    "locate",
    "put_for",
    "ref_of",
    "slots_of",
    "take_for",
    "target_of",
)

MAX_ATTACH_AGE = 6 * 3600.0
"""Seconds after `save()` in which a staged file can be attached to a row."""

State = InstanceState[object]

RowKey = tuple[int, str]
"""An attribute of a row: the `id` of what stands for the row, and the attribute's name."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place in an attribute that is to hold a file, and what is known of it so far.

    Each step of a flush or statement fills in its part, and what is written here is not asked again.
    """

    row: RowKey
    state: State
    attribute: FileAttribute
    index: int
    file: FileObject
    """What the caller put there; a copy of it once `copy` has made one."""
    file_state: FileState
    """The state of the file."""
    target: str = ""
    """The key of the storage for new content of the column, once it is asked for."""
    backend: StorageBackend | None = None
    """That storage; None if it is not registered."""
    ref: ObjectRef = field(init=False)
    """Where the file's content is: found by `check`, or by what stores it."""
    may_stay: bool = True
    """Whether rows of the column may point to there."""
    op: Put | Copy | None = None
    """What stores the content for this slot."""
    home: Home = field(init=False)
    """The database of the row, and the ledger that records the file: found once content is stored."""
    is_fresh: bool = False
    """Whether no row has had the content yet."""
    use: Use = Use.COPY
    """What `assign` has decided."""

    def swap(self, old: FileObject, new: FileObject) -> None:
        """Put *new* where *old* is, if it still is; the attribute is marked as changed already."""
        value = self.state.dict.get(self.attribute.key)
        if value is old:
            self.state.dict[self.attribute.key] = new
        elif isinstance(value, FileObjectList):
            # from this slot's index: the same file may stand in the list several times
            replace_file(value, old, new, self.index)


@dataclass(frozen=True, slots=True, eq=False)
class CommittedFile:
    """A file that a row had before the flush or statement."""

    row: RowKey
    home: Home
    ref: ObjectRef
    file: FileState
    """As it was read from the row."""
    seen: Sequence[FileState] = ()
    """The session's objects for it."""


def slots_of(
    state: State, attribute: FileAttribute, files: Iterable[FileObject], kept: Container[int] = ()
) -> list[Slot]:
    """Return a slot for each of an attribute's files, but for those whose `id` is in *kept*."""
    row = id(state), attribute.key
    return [
        Slot(row, state, attribute, index, file, file_state(file))
        for index, file in enumerate(files)
        if id(file) not in kept
    ]


# Where files are


def ref_of(file: FileState) -> ObjectRef:
    """Return where the content of a saved file is."""
    facts = file.facts
    name = facts.backend
    if name is None:
        try:
            name = file.storage_name()
        except FileColumnError:
            name = ""
    return storages.resolve(name), facts.key or ""


def locate(slot: Slot) -> None:
    """Note where the slot's file is, and whether rows of its column may point there."""
    slot.ref = ref_of(slot.file_state)
    allowed = (name or storages.default for name in slot.attribute.type.allowed_backends)
    slot.may_stay = slot.ref[0] in map(storages.resolve, allowed)


def target_of(slot: Slot) -> str:
    """Return the key of the storage for new content of the slot's column, and note the storage."""
    if not slot.target:
        slot.target = storages.resolve(slot.attribute.type.backend or storages.default)
        slot.backend = storages.find(slot.target)
    return slot.target


# What is wrong with them


def check_kept(attribute: FileAttribute, files: Iterable[FileObject]) -> set[ObjectRef]:
    """Return where files are that their row keeps; raise what makes it impossible to write them again.

    What is decoded after it has to be encoded again; the others are written as they were read.
    """
    refs: set[ObjectRef] = set()
    for file in files:
        text = undecoded(file)
        name, key = (place_in_row(text) if isinstance(text, str) else None) or (None, "")
        if name is not None:
            refs.add((storages.resolve(name), key))
            continue
        state = file_state(file)
        state.decode()
        if state.allowed is None:
            state.restrict(attribute.type.allowed_backends)
        refs.add(ref_of(state))
    return refs


def check(slots: Iterable[Slot]) -> None:
    """Raise what makes a slot's file impossible, and note where files are that are stored already.

    Nothing is asked of a storage or a database.
    """
    passes: set[int] = set()
    pending: set[int] = set()
    for slot in slots:
        file = slot.file_state
        if file.grant is not None:
            _check_grant(slot, file.grant)
        match file.content:
            case Granted():
                slot.attribute.type.policy.check_size(file.facts.size, slot.attribute.key)
            case Stored():
                # a corrupt file of a list that gets another one cannot be written again
                file.decode()
                if file.allowed is None:
                    file.restrict(slot.attribute.type.allowed_backends)
                locate(slot)
            case Staged():
                _check_target(slot)
                _check_age(slot, file.content)
                locate(slot)
            case Pending(source) if source is not None:
                _check_target(slot)
                _check_source(slot, source)
                if id(file) not in pending and source.moves is not None and not source.replayable:
                    _check_pass(slot, source.moves, passes)
                pending.add(id(file))
            case _:
                raise no_content(slot.file)


def _check_target(slot: Slot) -> None:
    """Raise BackendMismatchError if a file that no row has had names another storage than the column's."""
    target, named = target_of(slot), slot.file_state.facts.backend
    if named is not None and named != target and storages.resolve(named) != target:
        column = slot.attribute.type.backend or storages.default
        raise BackendMismatchError(
            f"{slot.file.filename!r} names storage {named!r}, and the column {slot.attribute.key!r} stores in "
            f"{column!r}"
        )


def _check_age(slot: Slot, content: Staged) -> None:
    """Raise StaleUploadError for a file that was saved so long ago that a sweep may have taken it for an orphan."""
    if time.time() - content.since > MAX_ATTACH_AGE:
        done, again = ("found", "call from_key() again") if content.is_found else ("saved", "save it again")
        raise StaleUploadError(
            f"{slot.file.filename!r} was {done} more than {MAX_ATTACH_AGE / 3600:g} hours ago and may be swept; {again}"
        )


def _check_source(slot: Slot, source: Source) -> None:
    """Raise what reading the content would raise at once, and FileTooLargeError if it is known to be too large."""
    source.check()
    policy = slot.attribute.type.policy
    if policy.max_size is not None:
        policy.check_size(source.known_size(), slot.attribute.key)
    if source.is_async and not execution.in_async():
        source.chunks()


def _check_pass(slot: Slot, moves: object, passes: set[int]) -> None:
    """Raise SourceConsumedError if another file waits to be read from what can be read only once."""
    if id(moves) in passes:
        raise SourceConsumedError(
            f"the content of {slot.file.filename!r} is a {type(moves).__name__} that another file of the flush "
            "has too, and it can be read only once; use one FileObject for both, or bytes"
        )
    passes.add(id(moves))


def _check_grant(slot: Slot, grant: Claims) -> None:
    """Raise InvalidGrantError for a grant of another column, or one that ended long before the flush."""
    if grant.column and grant.column not in names_of(slot.state.mapper, slot.attribute):
        raise InvalidGrantError(
            f"{slot.file.filename!r} was uploaded for {grant.column}, not for this column"
        )
    if time.time() - grant.expires_at > MAX_ATTACH_AGE:
        raise InvalidGrantError(
            f"the grant of {slot.file.filename!r} ended more than {MAX_ATTACH_AGE / 3600:g} hours ago; upload it again"
        )


def check_content(
    slots: Iterable[Slot],
    committed: Iterable[CommittedFile],
    kept: Iterable[tuple[RowKey, ObjectRef]] = (),
) -> None:
    """Raise ContentRejectedError for the first file that its column refuses; nothing is changed in a storage.

    What a row has of *committed* and *kept* is not judged once more.

    Pending content was held to the policy on its way into the storage (`transfer.Put.policy`).  What was
    there before is judged by its facts and its first bytes, which are read back if this process has not
    seen them: a row's content type is only what some other column believed.
    """
    strict = [slot for slot in slots if slot.op is None and slot.attribute.type.policy.is_strict]
    if not strict:
        return
    before = {(file.row, file.ref) for file in committed}
    before.update(kept)
    arrived = [slot for slot in strict if (slot.row, slot.ref) not in before]
    known = {id(slot): slot.file_state.facts for slot in arrived}
    looks: dict[Operation, Slot] = {}
    for slot in arrived:
        facts = known[id(slot)]
        if not _is_enough(slot, facts):
            looks[Inspect(*slot.file_state.located(), facts)] = slot

    def done(op: Operation, facts: FileFacts) -> None:
        known[id(looks[op])] = facts

    execution.transfer(list(looks), done)
    for slot in arrived:
        _judge(slot, known[id(slot)])


def _is_enough(slot: Slot, facts: FileFacts) -> bool:
    """Return whether facts are enough for the column's policy to judge by."""
    policy = slot.attribute.type.policy
    return (policy.max_size is None or facts.size is not None) and (
        policy.accept is None or facts.sniffed is not None
    )


def _judge(slot: Slot, facts: FileFacts) -> None:
    """Raise ContentRejectedError if the column refuses the file; let its type be what the column takes."""
    policy, key = slot.attribute.type.policy, slot.attribute.key
    policy.check_size(facts.size, key)
    if policy.accept is None or facts.sniffed is None:
        return
    decided = policy.judge(facts.sniffed, facts.filename, facts.content_type, key)
    if isinstance(slot.file_state.content, Staged):
        slot.file_state.retype(decided)


# What stores their content


def put_for(slot: Slot, facts: FileFacts) -> Put:
    """Plan to store the slot's pending file; InvalidKeyError if no key can be made."""
    attribute, given, source = slot.attribute, slot.file_state.given_key, slot.file_state.source
    if source is None:
        raise no_content(slot.file)
    return Put(
        slot.backend or storages.get(slot.target),
        attribute.key_for(facts.filename, slot.state.obj(), slot.file) if given is None else given,
        source,
        stored_in(facts, slot.target),
        fresh=given is None and attribute.makes_unique_keys,
        policy=attribute.type.policy,
        field=attribute.key,
    )


def copy_for(slot: Slot) -> Copy:
    """Plan to copy the slot's file from where it is."""
    origin, origin_key = slot.file_state.located()
    facts = stored_in(slot.file_state.facts, target_of(slot))
    backend = slot.backend or storages.get(slot.target)
    key = slot.attribute.key_for(facts.filename, slot.state.obj(), slot.file)
    return Copy(origin, origin_key, backend, key, facts, slot.attribute.makes_unique_keys)


def take_for(slot: Slot, grant: Claims) -> Take:
    """Plan to store what a client has uploaded for the slot."""
    copying = copy_for(slot)
    return Take(
        copying.origin,
        copying.origin_key,
        copying.backend,
        copying.key,
        copying.facts,
        copying.fresh,
        grant=grant,
        policy=slot.attribute.type.policy,
        field=slot.attribute.key,
    )
