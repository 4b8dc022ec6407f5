"""`BackendSuite`: the storage contract of `filecolumn.backends.base`, word for word, as tests."""

from __future__ import annotations

from filecolumn.backends.base import StorageBackend
from filecolumn.testing.identity import IdentityCases
from filecolumn.testing.keeping import KeepingCases
from filecolumn.testing.reading import ReadingCases
from filecolumn.testing.stateful import check_against_model
from filecolumn.testing.writing import WritingCases

__all__ = ("BackendSuite",)


class BackendSuite(WritingCases, ReadingCases, KeepingCases, IdentityCases):
    """Subclass it as `TestMyBackend`, with a fixture `backend` over an empty place.

    Every case runs sync and async, and those of `put` with asynchronous content, too; it needs no
    plugin of pytest.  What a storage cannot do its `capabilities` say, and the cases ask them.
    """

    def test_any_sequence_of_calls_is_as_on_a_dictionary(self, writer: StorageBackend) -> None:
        check_against_model(writer, examples=self.examples, keys=self.model_keys)
