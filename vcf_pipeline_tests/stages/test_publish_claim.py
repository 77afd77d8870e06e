"""Several publish the same at once: one announces, and no other says "already published" before somebody has."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker
from vcf_pipeline.adapters.broker.spool import Spool
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.errors import BrokerUnavailable, LeaseHeld
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.stages.publish_claim import RIVAL_PATIENCE_S
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline_tests.adapters.ledger.made_ledger import address, announced, in_another_process
from vcf_pipeline_tests.stages.published import SMALL_BLOCKS, announcements, made_vcf, published

FINGERPRINT = SMALL_BLOCKS.fingerprint()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(address(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator([EmbeddedBroker(tmp_path / "log")]) as coordinator:
        yield coordinator


@pytest.fixture
def path(tmp_path: Path) -> str:
    return made_vcf(tmp_path, records=3)


@pytest.fixture
def key(path: str, tmp_path: Path) -> PartitionKey:
    """Of the file, as another sender learns it."""
    return PartitionKey.parse(published(path, Coordinator([ScriptedBroker()]), tmp_path / "elsewhere").partition)


def claim(ledger: Ledger, key: PartitionKey, publish_id: str = "rival") -> bool:
    return ledger.claim_publication(key.tenant, key.callset_id, publish_id, FINGERPRINT).won


def never(seconds: float) -> None:
    raise AssertionError("there is nobody to wait for")


class Meanwhile:
    """What happens while a publisher waits: one thing at its first look, and the time goes by."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        self.now, self._happens, self.told = 0.0, happens, list[str]()

    def pause(self, seconds: float) -> None:
        if not self.now:
            self._happens()
        self.now += seconds

    def as_arguments(self) -> dict[str, Any]:
        return {"clock": lambda: self.now, "pause": self.pause, "on_wait": self.told.append}


def test_a_rival_with_the_claim_is_waited_for_until_it_has_announced(
    path: str, key: PartitionKey, ledger: Ledger, coordinator: Coordinator, tmp_path: Path
):
    assert claim(ledger, key)
    theirs = announced("rival", FINGERPRINT, key)
    meanwhile = Meanwhile(lambda: ledger.record_announcement(theirs))
    report = published(path, coordinator, tmp_path, receipts=ledger, **meanwhile.as_arguments())
    assert (report.already_published, report.publish_id) == (True, "rival")
    (told,) = meanwhile.told
    assert "about to announce" in told
    assert announcements(coordinator) == []


def _claim_and_hang(url: str, key: PartitionKey, has_claimed: Event) -> None:
    assert claim(open_ledger(url), key)
    has_claimed.set()
    signal.pause()


def test_a_rival_that_is_killed_before_it_announces_leaves_it_to_who_waits(
    path: str, key: PartitionKey, ledger: Ledger, coordinator: Coordinator, tmp_path: Path
):
    has_claimed = multiprocessing.get_context("spawn").Event()
    rival = in_another_process(_claim_and_hang, address(tmp_path), key, has_claimed)

    def kill() -> None:
        rival.kill()
        rival.join()

    meanwhile = Meanwhile(kill)
    try:
        assert has_claimed.wait(60)
        report = published(path, coordinator, tmp_path, receipts=ledger, **meanwhile.as_arguments())
    finally:
        kill()
    (told,) = meanwhile.told
    assert str(rival.pid) in told
    assert not report.already_published
    assert [one.publish_id for one in announcements(coordinator)] == [report.publish_id]


def test_a_rival_that_never_announces_is_an_error_in_the_end_and_a_repeat_goes_on(
    path: str, key: PartitionKey, ledger: Ledger, coordinator: Coordinator, tmp_path: Path
):
    assert claim(ledger, key)
    meanwhile = Meanwhile()
    with pytest.raises(LeaseHeld, match="run this again") as found:
        published(path, coordinator, tmp_path, receipts=ledger, **meanwhile.as_arguments())
    assert (found.value.code, found.value.exit_code) == ("NOT_ANNOUNCED", 4)
    assert len(meanwhile.told) == 1
    assert RIVAL_PATIENCE_S <= meanwhile.now < RIVAL_PATIENCE_S + 1
    assert announcements(coordinator) == []
    ledger.release_publication(key.tenant, key.callset_id, "rival")
    again = published(path, coordinator, tmp_path, receipts=ledger, pause=never)
    assert again.resumed_chunks == again.chunks
    assert len(announcements(coordinator)) == 1


class Mute(Coordinator):
    """Every broker dies just before the announcement."""

    def announce(self, announced: Announcement, *, ts: int, producer: str) -> Announcement | None:
        raise BrokerUnavailable(where="here", got="no broker")


def test_one_that_could_not_announce_keeps_nobody_waiting_while_its_process_lives(
    path: str, ledger: Ledger, coordinator: Coordinator, tmp_path: Path
):
    with pytest.raises(BrokerUnavailable):
        published(path, Mute([ScriptedBroker()]), tmp_path / "first", receipts=ledger)
    report = published(path, coordinator, tmp_path / "second", receipts=ledger, pause=never)
    assert not report.already_published
    assert len(announcements(coordinator)) == 1


def test_one_whose_rival_had_to_spool_it_does_not_spool_it_again(
    path: str, key: PartitionKey, ledger: Ledger, tmp_path: Path
):
    broker = ScriptedBroker()
    broker.die()
    spool = Spool(tmp_path / "spool", 64 << 20)
    assert claim(ledger, key)

    def spooled() -> None:
        assert published(path, Coordinator([broker], spool=spool), tmp_path / "rival").is_spooled
        ledger.release_publication(key.tenant, key.callset_id, "rival")

    with Coordinator([broker], spool=spool) as coordinator:
        meanwhile = Meanwhile(spooled)
        report = published(path, coordinator, tmp_path, receipts=ledger, **meanwhile.as_arguments())
        (kept,) = spool.publications()
        assert (report.is_spooled, report.publish_id) == (True, kept.publish_id)
    assert claim(ledger, key, "the next")


def test_four_at_once_announce_it_once(path: str, ledger: Ledger, coordinator: Coordinator, tmp_path: Path):
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: published(path, coordinator, tmp_path, receipts=ledger), range(4)))
    (told,) = announcements(coordinator)
    assert {report.publish_id for report in reports} == {told.publish_id}
    assert sorted(report.already_published for report in reports) == [False, True, True, True]
