"""What every store promises. Not here: how rows are made (domain/projections), who may load (ledger)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import polars as pl


class RowStore(Protocol):
    """A store that keeps rows by load. The ledger says which loads count; the store knows nothing of it.

    Writers of different loads may work at once, in different processes. `add` is all or nothing: a writer
    killed in the middle leaves no visible row, or all of them under its load_id.
    """

    def add(self, tenant: str, load_id: str, frames: Iterator[pl.DataFrame]) -> int:
        """All rows in one commit; the number of them, which may be 0.

        Raises StoreUnavailable, and whatever `frames` raises: then nothing was added.
        """
        ...

    def count(self, tenant: str, load_id: str) -> int:
        """Rows of a load; 0 for one that nobody has heard of. Raises StoreUnavailable."""
        ...

    def remove(self, tenant: str, load_ids: Sequence[str]) -> None:
        """No row of these loads is left; unknown ones are no error. Raises StoreUnavailable."""
        ...


class VersionedStore(Protocol):
    """A store whose every version is a file that never changes once it is published in the ledger."""

    def discard(self, path: str) -> None:
        """The version is gone from the disk; one that is gone already is no error."""
        ...
