"""Puts the content of a flush where its rows will say it is: pending files, and copies of files in use.

Every key is claimed in the frame before anything is sent, so that what a cancelled or failed
transfer leaves behind is found and removed when the transaction ends.  One that the application chose
is claimed in the ledger too: two transactions may have chosen the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from filecolumn.errors import ObjectExistsError, ObjectNotFoundError
from filecolumn.facts import FileFacts
from filecolumn.file import FileObject
from filecolumn.orm import bridge
from filecolumn.orm.recorder import Recorder
from filecolumn.orm.slots import Slot, check_passes, check_slot, copy_for, put_for, take_for
from filecolumn.orm.unit import Frame, Place, Upload, Use
from filecolumn.state import Phase
from filecolumn.transfer import Copy, Inspect, Operation, Put, overwriting_error

__all__ = ("copied_for", "store_pending")


def store_pending(slots: Sequence[Slot], frame: Frame, recorder: Recorder) -> None:
    """Check everything first, then store: bad input is refused before anything is stored."""
    pending = {id(slot.file): slot for slot in reversed(slots) if not slot.file.is_saved}
    granted = [slot for slot in slots if slot.file._phase is Phase.GRANTED]
    for slot in slots:
        check_slot(slot)
    recorder.check_grants(slots)
    check_passes(slot.file for slot in pending.values())
    uploads: dict[Put | Copy, Upload] = {}
    slot_of: dict[Put | Copy, Slot] = {}
    for slot in reversed(pending.values()):
        op = put_for(slot)
        uploads[op] = Upload(op, slot.file, slot.file._known(), op.source)
        slot_of[op] = slot
    for slot in granted:
        taking = take_for(slot)
        file, facts = slot.file, slot.file._known()
        restore = partial(file._regrant, taking.key, facts, taking.grant)
        uploads[taking] = Upload(taking, file, restore=restore)
        slot_of[taking] = slot
    try:
        _transfer(uploads, slot_of, frame, recorder)
    except ObjectNotFoundError:
        # another transaction may have used the grant since, and removed the upload with its commit
        recorder.check_grants(slots)
        raise


def copied_for(
    slots: Sequence[Slot], uses: Sequence[Use], frame: Frame, recorder: Recorder
) -> list[FileObject]:
    """Put a copy into each slot that gets one, and return the file of each slot."""
    files = [slot.file for slot in slots]
    copies: dict[Put | Copy, Upload] = {}
    slot_of: dict[Put | Copy, Slot] = {}
    for index, (slot, use) in enumerate(zip(slots, uses, strict=True)):
        if use is Use.COPY:
            op = copy_for(slot)
            copy = files[index] = FileObject._from_facts(op.facts, Phase.PENDING)
            copy._hold_grant(slot.file._grant)
            slot.swap(slot.file, copy)
            copies[op] = Upload(op, copy, restore=partial(slot.swap, copy, slot.file))
            slot_of[op] = slot
    _transfer(copies, slot_of, frame, recorder)
    return files


def _transfer(
    uploads: Mapping[Put | Copy, Upload],
    slot_of: Mapping[Put | Copy, Slot],
    frame: Frame,
    recorder: Recorder,
) -> None:
    stored: dict[Place, FileFacts] = {}

    def done(op: Operation, facts: FileFacts) -> None:
        assert not isinstance(op, Inspect)  # noqa: S101 - none is in `uploads`
        upload = uploads[op]
        upload.done = True
        if upload.file is not None:
            upload.file._stage(facts)
        if not op.fresh:
            stored[upload.place] = facts

    _refuse_overwriting(uploads)
    try:
        # before the transfer starts: a cancelled one is cleaned up too
        for upload in uploads.values():
            _claim(upload, uploads.values(), frame)
        chosen = {upload.place: slot_of[op] for op, upload in uploads.items() if not op.fresh}
        if chosen:
            recorder.claim(chosen)
        bridge.transfer(list(uploads), done)
        if stored:
            recorder.describe(stored)
    finally:
        for upload in uploads.values():
            if not upload.done:
                upload.fail()


def _refuse_overwriting(ops: Iterable[Put | Copy]) -> None:
    """Raise NotSupportedError for a chosen key in a storage that would overwrite what has it."""
    for op in {op.backend: op for op in ops if not op.fresh}.values():
        if not bridge.asked(op.backend, op.backend.refuses_taken_keys, f"create {op.key!r}"):
            raise overwriting_error(op)


def _claim(upload: Upload, others: Collection[Upload], frame: Frame) -> None:
    """Note what is to be stored; ObjectExistsError for a key that this transaction has stored, or is about to."""
    known = frame.uploads.get(upload.place)
    if known is not None and (known.done or known in others):
        raise ObjectExistsError(f"the storage key {upload.op.key!r} is used twice in one transaction")
    frame.uploads[upload.place] = upload
