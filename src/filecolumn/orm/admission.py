"""Whether a column takes what is stored already: staged files, copies, moves from other columns.

Pending content is held to the policy on its way into the storage (`transfer.Put.policy`).  What
is there is judged by its facts and its first bytes, which are read back if this process has not
seen them: a row's content type is only what some other column believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from filecolumn.facts import FileFacts
from filecolumn.file import FileObject
from filecolumn.orm import bridge
from filecolumn.orm.type import StoredObject
from filecolumn.state import Phase
from filecolumn.transfer import Inspect, Operation

__all__ = ("Arrival", "admit")


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
        if self.file._phase is Phase.STAGED:
            self.file._retype(decided)


def admit(arrivals: Iterable[Arrival]) -> None:
    """Raise ContentRejectedError for the first file that its column refuses; nothing is changed in a storage."""
    judged = list(arrivals)
    known: dict[int, FileFacts] = {id(arrival): arrival.file._known() for arrival in judged}
    looks: dict[Operation, Arrival] = {}
    for arrival in judged:
        if not arrival.is_known(known[id(arrival)]):
            backend, key = arrival.file._located()
            looks[Inspect(backend, key, arrival.file._known())] = arrival

    def done(op: Operation, facts: FileFacts) -> None:
        known[id(looks[op])] = facts

    bridge.transfer(list(looks), done)
    for arrival in judged:
        arrival.judge(known[id(arrival)])
