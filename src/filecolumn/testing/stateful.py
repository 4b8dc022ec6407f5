"""A backend against a dictionary: any sequence of calls has the same outcome on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from filecolumn.backends.base import PutMode, StorageBackend
from filecolumn.errors import ObjectExistsError, ObjectNotFoundError

__all__ = ("MODEL_KEYS", "BackendMachine", "check_against_model")

# Few keys, so that they meet; none is a folder of another, which a filesystem cannot hold
MODEL_KEYS = ("a", "a.b", "b/1", "b/2", "b/c/1", "bb/1", "é/*")
# those of the machine that runs
KEYS = st.runner().flatmap(lambda machine: st.sampled_from(_keys_of(machine)))
FOLDERS = st.runner().flatmap(lambda machine: st.sampled_from(_folders_of(machine)))
CHUNKS = st.lists(st.binary(max_size=40), max_size=4)


class _SourceError(Exception):
    pass


class BackendMachine(RuleBasedStateMachine):
    """A Hypothesis state machine that makes the same calls on *backend* and on a dictionary; both start empty."""

    keys: ClassVar[Sequence[str]] = MODEL_KEYS
    """Of what it stores."""

    def __init__(self, backend: StorageBackend) -> None:
        super().__init__()
        self._backend = backend
        self._model: dict[str, bytes] = {}
        backend.delete([stat.key for stat in backend.list()])

    @rule(key=KEYS, chunks=CHUNKS, mode=st.sampled_from(["create", "overwrite"]))
    def put(self, key: str, chunks: list[bytes], mode: PutMode) -> None:
        """Store content; a taken key is refused unless it may be overwritten."""
        refused = mode == "create" and key in self._model
        try:
            stat = self._backend.put(key, chunks, mode=mode)
        except ObjectExistsError:
            assert refused
        else:
            assert not refused
            self._model[key] = b"".join(chunks)
            assert (stat.key, stat.size) == (key, len(self._model[key]))

    @rule(key=KEYS, chunks=CHUNKS, mode=st.sampled_from(["create", "overwrite"]))
    def put_what_fails(self, key: str, chunks: list[bytes], mode: PutMode) -> None:
        """Store content that ends with an error: nothing changes."""

        def source() -> Sequence[bytes]:
            raise _SourceError

        try:
            self._backend.put(
                key, (chunk for part in (chunks, None) for chunk in part or source()), mode=mode
            )
        except (_SourceError, ObjectExistsError):
            return
        raise AssertionError("the error of the source was lost")

    @rule(key=KEYS, start=st.integers(0, 50), length=st.none() | st.integers(0, 50))
    def get(self, key: str, start: int, length: int | None) -> None:
        """Read a range."""
        try:
            content = b"".join(self._backend.get(key, start=start, length=length))
        except ObjectNotFoundError:
            assert key not in self._model
        else:
            assert content == self._model[key][start:][:length]

    @rule(key=KEYS)
    def stat(self, key: str) -> None:
        """Describe, and ask for existence."""
        assert self._backend.exists(key) is (key in self._model)
        try:
            stat = self._backend.stat(key)
        except ObjectNotFoundError:
            assert key not in self._model
        else:
            assert (stat.key, stat.size) == (key, len(self._model[key]))

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete(self, keys: list[str]) -> None:
        """Remove some keys, also one twice."""
        self._backend.delete(keys)
        for key in keys:
            self._model.pop(key, None)

    @rule(folder=FOLDERS, after=st.none() | KEYS)
    def list(self, folder: str, after: str | None) -> None:
        """List a folder."""
        inside = f"{folder}/" if folder else ""
        listed = {stat.key: stat.size for stat in self._backend.list(folder, after=after)}
        assert listed == {
            key: len(content)
            for key, content in self._model.items()
            if key.startswith(inside) and (after is None or key > after)
        }

    @precondition(lambda self: self._model)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        """Copy to a key that is free."""
        source = data.draw(st.sampled_from(sorted(self._model)))
        target = data.draw(st.sampled_from(self.keys))
        if target not in self._model:
            self._backend.copy(source, target)
            self._model[target] = self._model[source]

    def teardown(self) -> None:
        """Compare everything."""
        assert {stat.key: self._backend.get_bytes(stat.key) for stat in self._backend.list()} == self._model


def _keys_of(machine: object) -> Sequence[str]:
    assert isinstance(machine, BackendMachine)
    return machine.keys


def _folders_of(machine: object) -> Sequence[str]:
    """Return the folders of a machine's keys, the root, and one that is none."""
    keys = _keys_of(machine)
    parents = {
        "/".join(parts[:depth]) for key in keys if (parts := key.split("/")) for depth in range(len(parts))
    }
    return sorted({*parents, "c"})


def check_against_model(backend: StorageBackend, *, examples: int, keys: Sequence[str] = MODEL_KEYS) -> None:
    """Try *examples* random sequences of calls on *keys*.

    AssertionError shows the shortest sequence whose outcome differs from that of a dictionary.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )

    class OnBackend(BackendMachine):
        def __init__(self) -> None:
            super().__init__(backend)

    OnBackend.keys = keys
    run_state_machine_as_test(OnBackend, settings=chosen)  # pyright: ignore[reportUnknownMemberType]
