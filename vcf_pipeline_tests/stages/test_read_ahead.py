"""read_ahead: order, exceptions, one ahead and no thread left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vcf_pipeline.stages.read_ahead import read_ahead


def test_items_come_in_order_and_whole() -> None:
    assert list(read_ahead(iter(range(1, 100)), "a")) == list(range(1, 100))
    assert list(read_ahead(iter(()), "a")) == []


def test_the_next_item_is_fetched_while_this_one_is_worked_on() -> None:
    is_asked = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        is_asked.set()
        yield 2

    ahead = read_ahead(items(), "a")
    assert next(ahead) == 1
    assert is_asked.wait(10)
    assert list(ahead) == [2]


def test_no_more_than_one_item_is_fetched_ahead() -> None:
    fetched: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in (1, 2, 3):
            fetched.append(number)
            if number == 3:
                third.set()
            yield number

    ahead = read_ahead(items(), "a")
    assert next(ahead) == 1
    assert fetched in ([1], [1, 2])
    assert next(ahead) == 2
    assert third.wait(10)


def test_an_exception_comes_where_it_came_without_reading_ahead() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    ahead = read_ahead(items(), "a")
    assert next(ahead) == 1
    with pytest.raises(LookupError, match="gone"):
        next(ahead)


def test_its_thread_has_ended_once_it_is_closed() -> None:
    def items() -> Iterator[int]:
        yield from range(1, 1_000_000)

    ahead = read_ahead(items(), "closed-early")
    assert isinstance(next(ahead), int)
    ahead.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("closed-early")]
