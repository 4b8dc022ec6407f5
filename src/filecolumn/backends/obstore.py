"""`ObstoreBackend`: S3, GCS, Azure, HTTP, local folders and memory through obstore.

Here are the synchronous calls; `obstore_async` has those that need no thread, `obstore_base` what
both need, `obstore_store` what the kinds of stores differ in, `obstore_terms` obstore's words in
ours.  A local folder is read and written below `LocalRoot`, which follows no links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from obstore import sign
from obstore.exceptions import AlreadyExistsError

from filecolumn.backends.base import (
    PutMode,
    SignMethod,
    Stat,
    check_folder,
    check_range,
    list_folder,
    list_unfinished,
    local_stat,
)
from filecolumn.backends.local import LocalRoot
from filecolumn.backends.obstore_async import ObstoreAsync
from filecolumn.backends.obstore_base import PART_SIZE, PARTS_IN_FLIGHT, ObstoreBase
from filecolumn.backends.obstore_terms import range_options, stat_of_meta, stat_of_put
from filecolumn.backends.parts import batches, each_key, first_part
from filecolumn.backends.threads import fed
from filecolumn.backends.translate import SourceGuard, TranslatedChunks
from filecolumn.errors import StorageError
from filecolumn.naming import RESERVED_FOLDER, check_key
from filecolumn.public import name_methods_after
from filecolumn.source import CHUNK_SIZE

if TYPE_CHECKING:
    from obstore import Attributes, GetResult, ObjectMeta, PutResult

__all__ = ("ObstoreBackend",)

DELETE_BATCH = 1000


class ObstoreBackend(ObstoreAsync):
    """A storage behind an obstore store.

    *fs* is a URL (`file:///folder/`, `memory://`, `s3://bucket/prefix/`, `gs://...`, `az://...`,
    `https://...`) or a store of `obstore.store`; *config* are obstore's own settings for a URL,
    such as `aws_region`.  What they do not say is taken from environment variables such as `AWS_REGION`
    and `AWS_ALLOW_HTTP`, which obstore knows.  A local folder is made if it is missing; with `fsync=False` its
    content may be lost by a power failure after the commit.  Raises ValueError for a URL that
    obstore cannot read.
    """

    def put(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: PutMode = "create",
    ) -> Stat:
        guard = SourceGuard(chunks)
        attributes = self._attributes(content_type, metadata)
        with self._translated(f"store {key!r}", guard):
            if self._root is not None:
                # obstore writes by path, where a link may appear meanwhile
                return local_stat(key, self._root.write(key, guard, overwrite=mode == "overwrite"))
            whole, rest = first_part(guard, PART_SIZE)
            if rest is None:
                result = self._put_whole(check_key(key), whole, attributes, mode)
            else:
                self._refuse_taken(key, mode)
                send = partial(
                    self.store.put,
                    check_key(key),
                    attributes=attributes,
                    use_multipart=True,
                    chunk_size=PART_SIZE,
                    max_concurrency=PARTS_IN_FLIGHT,
                )
                result = fed(rest, send)
        return stat_of_put(key, guard.size, result)

    def _put_whole(self, key: str, content: bytes, attributes: Attributes | None, mode: PutMode) -> PutResult:
        send = partial(self.store.put, key, content, attributes=attributes, use_multipart=False)
        try:
            return send(mode=mode)
        except AlreadyExistsError:
            # Azure takes the blocks of an upload that was given up for a blob
            if not self._leftovers_take_keys or self.exists(key):
                raise
            return send(mode="overwrite")

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        if self._root is not None:
            return self._get_local(self._root, key, start, length)
        if length == 0:
            self.stat(key)
            return iter(())
        try:
            with self._translated(f"read {key!r}"):
                result = self.store.get(check_key(key), options=range_options(start, length))
        except StorageError:
            # a range past the end, which some stores refuse and others do not tell from other errors
            if (start or length) and start >= self.stat(key).size:
                return iter(())
            raise
        return self._stream(key, result)

    def stat(self, key: str) -> Stat:
        with self._translated(f"describe {key!r}"):
            if self._root is not None:
                return local_stat(key, self._root.stat(key))
            # a HEAD as `head` makes it, but with the media type
            result = self.store.get(check_key(key), options={"head": True})
            return stat_of_meta(result.meta, result.attributes)

    def delete(self, keys: str | Iterable[str]) -> None:
        if self._root is not None:
            self._delete_local(self._root, keys)
            return
        for batch in batches(map(check_key, each_key(keys)), DELETE_BATCH):
            with self._translated(f"delete {len(batch)} objects, the first {batch[0]!r}"):
                self._delete_batch(batch)

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        if self._root is not None:
            # obstore's own listing follows links out of the folder
            yield from list_folder(self._root, prefix, after=after)
            return
        with self._translated(f"list {prefix!r}"):
            # Some services ignore the offset: the comparison below is what counts
            pages = cast(
                "Iterable[Sequence[ObjectMeta]]",
                self.store.list(check_folder(prefix) or None, offset=after),  # pyright: ignore[reportUnknownMemberType]
            )
            for page in pages:
                for meta in page:
                    if _is_listed(meta["path"], after):
                        yield stat_of_meta(meta)

    def list_unfinished(self) -> Iterator[Stat]:
        return iter(()) if self._root is None else list_unfinished(self._root)

    def delete_unfinished(self, keys: str | Iterable[str]) -> None:
        # obstore refuses the names of its own stage files
        if self._root is not None:
            self._delete_local(self._root, keys)

    def copy(self, source: str, target: str) -> Stat:
        if self._root is not None:
            return super().copy(source, target)
        with self._translated(f"copy {source!r} to {target!r}"):
            # overwrite=False is not to be had on S3; the target's key is ours and new
            self.store.copy(check_key(source), check_key(target))
        return self.stat(target)

    def sign(self, key: str, *, expires_in: float = 3600, method: SignMethod = "GET") -> str:
        if self._signer is None:
            return super().sign(key, expires_in=expires_in, method=method)
        self._check_signable(self._signer, key)
        with self._translated(f"sign {key!r}"):
            return sign(self._signer, method, check_key(key), timedelta(seconds=expires_in))

    def _get_local(self, root: LocalRoot, key: str, start: int, length: int | None) -> Iterator[bytes]:
        check_range(start, length)
        with self._translated(f"read {key!r}"):
            chunks = root.read(key, start, length)
        return TranslatedChunks(chunks, lambda: self._translated(f"read {key!r}"))

    def _delete_local(self, root: LocalRoot, keys: str | Iterable[str]) -> None:
        for key in each_key(keys):
            with self._translated(f"delete {key!r}"):
                root.remove(key)

    def _delete_batch(self, batch: Sequence[str]) -> None:
        try:
            self.store.delete(batch)
        except FileNotFoundError:
            # Some stores refuse a missing key and do not say what became of the others
            for key in batch:
                with suppress(FileNotFoundError):
                    self.store.delete(key)

    def _stream(self, key: str, result: GetResult) -> Iterator[bytes]:
        with self._translated(f"read {key!r}"):
            for chunk in result.stream(min_chunk_size=CHUNK_SIZE):
                yield bytes(chunk)


name_methods_after(ObstoreBackend, ObstoreAsync, ObstoreBase)


def _is_listed(path: str, after: str | None) -> bool:
    return not path.startswith(f"{RESERVED_FOLDER}/") and (after is None or path > after)
