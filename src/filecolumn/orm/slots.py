"""A place in a row that is to hold a file: what is wrong with it, and how it is filled."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from sqlalchemy.orm.state import InstanceState

from filecolumn.backends.registry import ObjectRef, storages
from filecolumn.errors import (
    BackendMismatchError,
    FileColumnError,
    InvalidGrantError,
    SourceConsumedError,
    StaleUploadError,
)
from filecolumn.files import execution
from filecolumn.files.facts import FileFacts
from filecolumn.files.file import FileObject, file_state, no_content
from filecolumn.files.file_list import FileObjectList, replace_file
from filecolumn.files.state import Granted, Staged, Stored
from filecolumn.files.taking import Take
from filecolumn.files.transfer import Copy, Inspect, Operation, Put
from filecolumn.naming import KeyContext
from filecolumn.orm.attributes import FileAttribute, files_in
from filecolumn.orm.column import StoredObject
from filecolumn.orm.granting import names_of

__all__ = (
    "MAX_ATTACH_AGE",
    "Arrival",
    "Slot",
    "admit",
    "check_passes",
    "check_slot",
    "copy_for",
    "may_stay",
    "place_of",
    "put_for",
    "slots_of",
    "take_for",
    "target_of",
)

MAX_ATTACH_AGE = 6 * 3600.0
"""Seconds after `save()` in which a staged file can be attached to a row."""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place in an attribute that is to hold a file."""

    state: InstanceState[object]
    attribute: FileAttribute
    index: int
    file: FileObject

    @property
    def row(self) -> tuple[int, str]:
        """The attribute of the row."""
        return id(self.state), self.attribute.key

    def swap(self, old: FileObject, new: FileObject) -> None:
        """Put *new* where *old* is, if it still is; the attribute is marked as changed already."""
        value = self.state.dict.get(self.attribute.key)
        if value is old:
            self.state.dict[self.attribute.key] = new
        elif isinstance(value, FileObjectList):
            # from this slot's index: the same file may stand in the list several times
            replace_file(value, old, new, self.index)


def slots_of(state: InstanceState[object], attribute: FileAttribute) -> Iterator[Slot]:
    """Yield a slot for each file in an attribute."""
    for index, file in enumerate(files_in(state.dict[attribute.key])):
        yield Slot(state, attribute, index, file)


def check_slot(slot: Slot) -> None:
    """Raise what would make the slot's file impossible."""
    file, kind = slot.file, slot.attribute.type
    _check_grant(slot)
    state = file_state(file)
    if isinstance(state.content, Granted):
        kind.policy.check_size(file.size, slot.attribute.key)
        return
    if isinstance(state.content, Stored):
        # a corrupt file of a list that gets another one cannot be written again
        state.decode()
        if state.allowed is None:
            state.restrict(kind._allowed)
        return
    if not file.is_saved and state.source is None:
        raise no_content(file)
    column = kind.backend or storages.default
    named = file.backend_key
    if named is not None and storages.resolve(named) != storages.resolve(column):
        raise BackendMismatchError(
            f"{file.filename!r} names storage {named!r}, and the column {slot.attribute.key!r} stores in {column!r}"
        )
    if isinstance(state.content, Staged) and time.time() - state.content.since > MAX_ATTACH_AGE:
        done, again = ("found", "call from_key() again") if state.is_found else ("saved", "save it again")
        raise StaleUploadError(
            f"{file.filename!r} was {done} more than {MAX_ATTACH_AGE / 3600:g} hours ago and may be swept; {again}"
        )
    if (source := state.source) is not None:
        source.check()
        kind.policy.check_size(source.known_size(), slot.attribute.key)
        if source.is_async and not execution.in_async():
            source.chunks()


def check_passes(files: Iterable[FileObject]) -> None:
    """Raise SourceConsumedError if two files wait to be read from what can be read only once."""
    read: set[int] = set()
    for file in files:
        source = file_state(file).source
        if source is None or source.replayable or source.moves is None:
            continue
        if id(source.moves) in read:
            raise SourceConsumedError(
                f"the content of {file.filename!r} is a {type(source.moves).__name__} that another file of the flush "
                "has too, and it can be read only once; use one FileObject for both, or bytes"
            )
        read.add(id(source.moves))


def _check_grant(slot: Slot) -> None:
    """Raise InvalidGrantError for a grant of another column, or one that ended long before the flush."""
    if (grant := file_state(slot.file).grant) is None:
        return
    if grant.column and grant.column not in names_of(slot.state.mapper, slot.attribute):
        raise InvalidGrantError(
            f"{slot.file.filename!r} was uploaded for {grant.column}, not for this column"
        )
    if time.time() - grant.expires_at > MAX_ATTACH_AGE:
        raise InvalidGrantError(
            f"the grant of {slot.file.filename!r} ended more than {MAX_ATTACH_AGE / 3600:g} hours ago; upload it again"
        )


def put_for(slot: Slot) -> Put:
    """Plan to store the slot's pending file; InvalidKeyError if no key can be made."""
    file, source = slot.file, file_state(slot.file).source
    if source is None:
        raise no_content(file)
    name = target_of(slot)
    fresh = file_state(file).given_key is None and slot.attribute.type.makes_unique_keys
    facts = replace(file_state(file).facts, backend=name)
    policy, field = slot.attribute.type.policy, slot.attribute.key
    return Put(storages.get(name), _key(slot), source, facts, fresh, policy, field)


def copy_for(slot: Slot) -> Copy:
    """Plan to copy the slot's file from where it is."""
    origin, origin_key = file_state(slot.file).located()
    name = target_of(slot)
    facts = replace(file_state(slot.file).facts, backend=name)
    key = _key(slot, given=False)
    return Copy(origin, origin_key, storages.get(name), key, facts, slot.attribute.type.makes_unique_keys)


def take_for(slot: Slot) -> Take:
    """Plan to store what a client has uploaded for the slot."""
    copying, kind = copy_for(slot), slot.attribute.type
    grant = file_state(slot.file).grant
    assert grant is not None  # noqa: S101 - of each file that is GRANTED
    return Take(
        copying.origin,
        copying.origin_key,
        copying.backend,
        copying.key,
        copying.facts,
        copying.fresh,
        grant=grant,
        policy=kind.policy,
        field=slot.attribute.key,
    )


def target_of(slot: Slot) -> str:
    """Return the key of the storage for new content of the slot's column."""
    return storages.resolve(slot.attribute.type.backend or storages.default)


def _key(slot: Slot, *, given: bool = True) -> str:
    if given and (given_key := file_state(slot.file).given_key) is not None:
        return given_key
    attribute = slot.attribute
    record = slot.state.obj()
    context = KeyContext(attribute.table, attribute.key, slot.file.filename, record)
    return attribute.type.key_for(context, slot.file)


def place_of(file: FileObject) -> ObjectRef:
    """Return where the content of a saved file is."""
    facts = file_state(file).facts
    name = facts.backend
    if name is None:
        try:
            name = file_state(file).storage_name()
        except FileColumnError:
            name = ""
    return storages.resolve(name), facts.key or ""


def may_stay(slot: Slot) -> bool:
    """Return whether rows of the slot's column may point to where its file is."""
    kind = slot.attribute.type
    allowed = (name or storages.default for name in kind._allowed)
    return place_of(slot.file)[0] in map(storages.resolve, allowed)


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A file that is stored, and is to come into a column."""

    file: FileObject
    kind: StoredObject
    field: str
    """The attribute."""

    def is_known(self, facts: FileFacts) -> bool:
        """Return whether the facts are enough to judge by."""
        policy = self.kind.policy
        return (policy.max_size is None or facts.size is not None) and (
            policy.accept is None or facts.sniffed is not None
        )

    def judge(self, facts: FileFacts) -> None:
        """Raise ContentRejectedError if the column refuses the file; let its type be what the column takes."""
        policy = self.kind.policy
        policy.check_size(facts.size, self.field)
        if policy.accept is None or facts.sniffed is None:
            return
        decided = policy.judge(facts.sniffed, facts.filename, facts.content_type, self.field)
        if isinstance(file_state(self.file).content, Staged):
            file_state(self.file).retype(decided)


def admit(arrivals: Iterable[Arrival]) -> None:
    """Raise ContentRejectedError for the first file that its column refuses; nothing is changed in a storage."""
    judged = list(arrivals)
    known: dict[int, FileFacts] = {id(arrival): file_state(arrival.file).facts for arrival in judged}
    looks: dict[Operation, Arrival] = {}
    for arrival in judged:
        if not arrival.is_known(known[id(arrival)]):
            backend, key = file_state(arrival.file).located()
            looks[Inspect(backend, key, file_state(arrival.file).facts)] = arrival

    def done(op: Operation, facts: FileFacts) -> None:
        known[id(looks[op])] = facts

    execution.transfer(list(looks), done)
    for arrival in judged:
        arrival.judge(known[id(arrival)])
