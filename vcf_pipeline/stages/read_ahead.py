"""The next item is fetched while this one is worked on: for what works outside the interpreter's lock, or waits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], thread_name: str) -> Iterator[Item]:
    """The same items, none of them None, in the same order, and the same exception at the same place.

    One ahead, so memory is that of one item more. Only that thread runs `items`; it has ended once this is closed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix=thread_name) as reading:
        ahead = reading.submit(next, items, None)
        while (item := ahead.result()) is not None:
            ahead = reading.submit(next, items, None)
            yield item
