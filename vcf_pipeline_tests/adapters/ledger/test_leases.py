"""Leases: one holder, a growing fence, and a dead holder keeps nobody waiting."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import leases as module
from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.errors import LeaseHeld, Superseded
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline_tests.adapters.ledger.made_ledger import KEY, address, in_another_process, register

NAME = f"parsed_variants/{KEY}"


def never() -> None:
    raise AssertionError("a superseded holder must not get this far")


def _change(ledger: Ledger, **values: Any) -> None:
    with ledger.database.writing() as connection:
        connection.execute(sa.update(schema.leases).values(**values))


def test_fences_grow_and_a_released_lease_is_free_at_once(ledger: Ledger) -> None:
    fences = []
    for _ in range(3):
        with ledger.lease(NAME, wait_seconds=0) as lease:
            fences.append(lease.fence)
    assert fences == sorted(set(fences))


def test_a_second_holder_waits_is_told_once_of_whom_and_gives_up(ledger: Ledger) -> None:
    told: list[str] = []
    with ledger.lease(NAME, wait_seconds=0), pytest.raises(LeaseHeld) as found:  # noqa: SIM117
        with ledger.lease(NAME, wait_seconds=0.2, on_wait=told.append):
            never()
    assert len(told) == 1
    assert str(os.getpid()) in told[0]
    assert found.value.holder == told[0]
    assert found.value.exit_code == 4


def test_a_waiting_one_gets_it_when_it_is_released(ledger: Ledger) -> None:
    waiting, got = threading.Event(), threading.Event()

    def wait() -> None:
        with ledger.lease(NAME, wait_seconds=30, on_wait=lambda _: waiting.set()):
            got.set()

    with ledger.lease(NAME, wait_seconds=0):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(30)
        assert not got.is_set()
    assert got.wait(30)
    thread.join(30)


def _hold_for_ever(url: str, name: str, marker: Path) -> None:
    with open_ledger(url).lease(name, wait_seconds=5):
        marker.touch()
        threading.Event().wait()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(ledger: Ledger, tmp_path: Path) -> None:
    marker = tmp_path / "held"
    child = in_another_process(_hold_for_ever, address(tmp_path), NAME, marker)
    assert child.pid is not None
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        child.join(0.02)
    with pytest.raises(LeaseHeld), ledger.lease(NAME, wait_seconds=0):
        never()
    os.kill(child.pid, signal.SIGKILL)
    killed = time.monotonic()
    # nobody has reaped it yet: a zombie holds nothing either
    with ledger.lease(NAME, wait_seconds=10) as lease:
        assert lease.fence == 2
        assert time.monotonic() - killed < module.RENEWAL_SECONDS / 2
    child.join(10)


def test_a_holder_elsewhere_is_replaced_after_its_expiry_and_not_before(ledger: Ledger) -> None:
    elsewhere = '{"host": "elsewhere", "boot_id": "b", "pid": 1, "started": 1.0}'
    with ledger.lease(NAME, wait_seconds=0) as old:
        _change(ledger, holder=elsewhere)
        with pytest.raises(LeaseHeld, match="elsewhere"), ledger.lease(NAME, wait_seconds=0):
            never()
        _change(ledger, expires_at=1.0)
        with ledger.lease(NAME, wait_seconds=0) as new:
            assert new.fence == old.fence + 1
            with pytest.raises(Superseded):
                old.check()
            with pytest.raises(Superseded):
                old.guard(never)
            new.guard(lambda: None)
        # what the loser releases is not the winner's
        with ledger.lease(NAME, wait_seconds=0) as next_one:
            old._release()
            next_one.check()


def test_renewal_keeps_a_lease_from_expiring(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWAL_SECONDS", 0.01)
    with ledger.lease(NAME, wait_seconds=0) as lease:
        _change(ledger, expires_at=1.0)
        expires = 1.0
        deadline = time.monotonic() + 20
        while expires == 1.0 and time.monotonic() < deadline:
            with ledger.database.reading() as connection:
                expires = connection.execute(sa.select(schema.leases.c.expires_at)).scalar_one()
                now = ledger.database.now(connection)
        assert expires > now
        lease.check()


def test_a_forget_ends_the_lease_of_its_callset_and_no_other(ledger: Ledger) -> None:
    register(ledger)
    other = PartitionKey("default", "f" * 16)
    with ledger.lease(NAME, wait_seconds=0) as mine, ledger.lease(f"parsed_variants/{other}", wait_seconds=0) as others:
        ledger.forget(KEY)
        with pytest.raises(Superseded):
            mine.guard(never)
        others.guard(lambda: None)


def test_who_waited_while_its_callset_was_forgotten_may_write_nothing(ledger: Ledger) -> None:
    register(ledger)
    ledger.forget(KEY)
    with ledger.lease(NAME, wait_seconds=0) as lease:
        with pytest.raises(Superseded, match="forgotten"):
            lease.check()
        with pytest.raises(Superseded, match="forgotten"):
            lease.guard(never)
    register(ledger)
    with ledger.lease(NAME, wait_seconds=0) as lease:
        lease.guard(lambda: None)


def test_nobody_takes_over_while_a_guard_replaces(ledger: Ledger, tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def forget() -> None:
        assert inside.wait(30)
        other.forget(KEY)
        order.append("forgotten")

    def replace() -> None:
        inside.set()
        thread.join(0.3)
        order.append("replaced")

    register(ledger)
    other = open_ledger(address(tmp_path))
    thread = threading.Thread(target=forget)
    with ledger.lease(NAME, wait_seconds=0) as lease:
        thread.start()
        lease.guard(replace)
    thread.join(30)
    other.close()
    assert order == ["replaced", "forgotten"]


def test_a_guard_whose_replacement_fails_passes_the_failure_on(ledger: Ledger) -> None:
    with ledger.lease(NAME, wait_seconds=0) as lease:
        with pytest.raises(ZeroDivisionError):
            lease.guard(lambda: 1 // 0)
        lease.guard(lambda: None)
