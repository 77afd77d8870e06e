"""Publishing a file: announced last, once, and resumed without doubling."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker
from vcf_pipeline.adapters.ledger.ledger import open_ledger
from vcf_pipeline.domain.errors import BrokerUnavailable, NotFound, TooManyRejects, UsageError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.chunks import ChunkEncoder
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.stages import publish_state
from vcf_pipeline.testing.scripted_broker import DIES, PAUSES, WORKS, ScriptedBroker
from vcf_pipeline_tests.stages.published import SMALL_BLOCKS, announcements, made_vcf, published


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator([EmbeddedBroker(tmp_path / "log")]) as coordinator:
        yield coordinator


def sent_seqs(coordinator: Coordinator, publish_id: str) -> list[int]:
    """Every stored chunk of a publication, repeats too, over all partitions of the tenant's topic."""
    (broker,) = coordinator.brokers
    topic = variants_topic("t")
    found = []
    for partition in broker.end_offsets(topic):
        for message in broker.read(topic, partition, 0, 1 << 30, 1 << 30):
            envelope = frame.decode(message.body)
            if envelope.publish_id == publish_id:
                found.append(envelope.seq)
    return found


def test_a_file_is_sent_then_announced_with_what_was_counted(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path, records=1500, broken=2)
    report = published(path, coordinator, tmp_path)
    (announced,) = announcements(coordinator)
    assert (report.records, report.rejected, report.alleles) == (1502, 2, 1800)
    assert (announced.records, announced.rejected, announced.alleles) == (1502, 2, 1800)
    assert announced.n_chunks == report.chunks
    assert announced.digest == report.digest
    assert str(announced.key) == report.partition
    assert announced.label == report.label == "made"
    assert announced.uri == path
    assert sent_seqs(coordinator, report.publish_id) == list(range(report.chunks))
    assert [segment.to_dict() for segment in announced.segments] == report.segments
    json.dumps(report.segments)
    assert list((tmp_path / "publish").iterdir()) == []


def test_no_frame_is_in_two_threads_at_once(tmp_path: Path, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch):
    """Two threads that ask one frame wait for each other for good, once in thirty publications."""
    encoded, hashed = [], []
    encode, add = ChunkEncoder.batch, TableDigest.add

    def noted_batch(encoder: ChunkEncoder, batch: ParsedBatch, ts: int) -> Iterator[frame.Envelope]:
        encoded.extend([batch.variants, batch.genotypes, batch.consequences, batch.rejects])
        return encode(encoder, batch, ts)

    def noted_rows(digest: TableDigest, table: str, rows: pl.DataFrame) -> None:
        hashed.append(rows)
        add(digest, table, rows)

    monkeypatch.setattr(ChunkEncoder, "batch", noted_batch)
    monkeypatch.setattr(TableDigest, "add", noted_rows)
    published(made_vcf(tmp_path, records=1500, broken=2), coordinator, tmp_path, settings=SMALL_BLOCKS)
    assert len(hashed) == len([rows for rows in encoded if rows is not None]) > 4
    assert not {id(rows) for rows in hashed} & {id(rows) for rows in encoded}


def test_a_file_with_too_many_rejects_is_never_announced_and_leaves_nothing_to_resume(
    tmp_path: Path, coordinator: Coordinator
):
    with pytest.raises(TooManyRejects):
        published(made_vcf(tmp_path, records=1000, broken=100), coordinator, tmp_path)
    assert announcements(coordinator) == []
    assert list((tmp_path / "publish").iterdir()) == []


def test_a_missing_file_is_refused_before_anything_is_made(tmp_path: Path, coordinator: Coordinator):
    with pytest.raises(NotFound):
        published(str(tmp_path / "nowhere.vcf"), coordinator, tmp_path)
    assert not (tmp_path / "publish").exists()


class StopAt:
    """A person's Ctrl-C after so many records, when something of them is acknowledged."""

    def __init__(self, records: int, states: Path) -> None:
        self.records, self.states = records, states

    def __call__(self, done: int, total: int, records: int) -> None:
        if records < self.records:
            return
        deadline = time.monotonic() + 30
        while not any(state.read_text().count("\n") > 1 for state in self.states.glob("*.jsonl")):
            assert time.monotonic() < deadline, "nothing is acknowledged"
            time.sleep(0.001)
        raise KeyboardInterrupt


def stopped(path: str, coordinator: Coordinator, folder: Path) -> dict[str, str]:
    """Stop in the middle, and give the head of the state that is kept."""
    with pytest.raises(KeyboardInterrupt):
        published(path, coordinator, folder, progress=StopAt(700, folder / "publish"))
    (state,) = (folder / "publish").glob("*.jsonl")
    head: dict[str, str] = json.loads(state.read_text().split("\n")[0])
    return head


def test_a_stopped_publication_is_not_announced_and_goes_on_without_doubling(tmp_path: Path):
    # in memory: what a slow disk has under way at a Ctrl-C is not waited for, and may stand there twice
    coordinator = Coordinator([ScriptedBroker()])
    path = made_vcf(tmp_path)
    whole = published(path, Coordinator([ScriptedBroker()]), tmp_path / "elsewhere")
    head = stopped(path, coordinator, tmp_path)
    assert announcements(coordinator) == []
    report = published(path, coordinator, tmp_path)
    assert report.publish_id == head["publish_id"]
    assert 0 < report.resumed_chunks < report.chunks
    assert sorted(sent_seqs(coordinator, report.publish_id)) == list(range(report.chunks))
    assert (report.digest, report.chunks, report.records) == (whole.digest, whole.chunks, whole.records)
    assert len(announcements(coordinator)) == 1


def test_a_torn_line_of_the_state_costs_a_repeat_and_nothing_else(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    stopped(path, coordinator, tmp_path)
    (state,) = (tmp_path / "publish").glob("*.jsonl")
    state.write_text(state.read_text()[:-40])
    report = published(path, coordinator, tmp_path)
    assert set(sent_seqs(coordinator, report.publish_id)) == set(range(report.chunks))


def test_another_version_or_other_settings_begin_anew(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    head = stopped(path, coordinator, tmp_path)
    report = published(path, coordinator, tmp_path, settings=replace(SMALL_BLOCKS, info=()))
    assert report.publish_id != head["publish_id"]
    assert report.resumed_chunks == 0


def test_chunks_that_come_out_otherwise_than_those_acknowledged_begin_anew(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    head = stopped(path, coordinator, tmp_path)
    (state,) = (tmp_path / "publish").glob("*.jsonl")
    lines = state.read_text().split("\n")
    entry = json.loads(lines[1])
    entry["hashes"][0] = "00" * 16
    state.write_text("\n".join([lines[0], json.dumps(entry), *lines[2:]]))
    report = published(path, coordinator, tmp_path)
    assert report.publish_id != head["publish_id"]
    assert sorted(sent_seqs(coordinator, report.publish_id)) == list(range(report.chunks))


def test_a_state_file_of_garbage_begins_anew(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    stopped(path, coordinator, tmp_path)
    (state,) = (tmp_path / "publish").glob("*.jsonl")
    state.write_text("garbage\n")
    assert published(path, coordinator, tmp_path).resumed_chunks == 0


def test_two_publishers_of_one_file_at_once_do_not_share_a_state(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    reports = []

    def meanwhile(done: int, total: int, records: int) -> None:
        if not reports:
            reports.append(published(path, coordinator, tmp_path))

    outer = published(path, coordinator, tmp_path, progress=meanwhile)
    assert reports[0].publish_id != outer.publish_id
    assert reports[0].digest == outer.digest
    for report in (outer, reports[0]):
        assert sorted(sent_seqs(coordinator, report.publish_id)) == list(range(report.chunks))


def test_a_broker_that_dies_for_good_leaves_a_state_that_goes_on(tmp_path: Path):
    path = made_vcf(tmp_path)
    broker = ScriptedBroker(appends=[WORKS, PAUSES, *[DIES] * 50])
    now = [0.0]
    coordinator = Coordinator(
        [broker], clock=lambda: now[0], pause=lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    with pytest.raises(BrokerUnavailable):
        published(path, coordinator, tmp_path)
    broker._appends.clear()
    report = published(path, coordinator, tmp_path)
    assert set(sent_seqs(coordinator, report.publish_id)) == set(range(report.chunks))
    assert len(announcements(coordinator)) == 1


@dataclass(frozen=True)
class Answer:
    won: bool
    published_as: str | None = None
    has_other_settings: bool = False
    held_by: str | None = None


class InMemoryReceipts:
    """What control knows, for one callset."""

    def __init__(self) -> None:
        self.known: Announcement | None = None
        self.answer = Answer(won=True)
        self.claims: list[str] = []

    def published(self, key: PartitionKey) -> Announcement | None:
        return self.known

    def claim_publication(self, tenant: str, callset_id: str, publish_id: str, settings_fingerprint: str) -> Answer:
        self.claims.append(publish_id)
        return self.answer

    def release_publication(self, tenant: str, callset_id: str, publish_id: str) -> None:
        self.claims.remove(publish_id)

    def record_announcement(self, announced: Announcement) -> str:
        self.known = announced
        return "accepted"


def test_what_control_knows_as_published_is_not_sent_again(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    receipts = InMemoryReceipts()
    first = published(path, coordinator, tmp_path, receipts=receipts)
    assert receipts.claims == [first.publish_id]
    assert announcements(coordinator) == [receipts.known]
    second = published(path, coordinator, tmp_path, receipts=receipts)
    assert second.already_published
    assert second.published_as == f"{first.partition} (made)"
    assert (second.digest, second.chunks) == (first.digest, first.chunks)
    assert len(announcements(coordinator)) == 1
    assert len(receipts.claims) == 1


def test_what_control_has_given_up_is_sent_again_once(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path, records=3)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    first = published(path, coordinator, tmp_path, receipts=ledger)
    key = PartitionKey.parse(first.partition)
    ledger.mark_failed(key, "its topic is gone", "TOPIC_MISSING", permanent=True, generation=0)
    second, third = (published(path, coordinator, tmp_path, receipts=ledger) for _ in range(2))
    ledger.close()
    assert (second.already_published, third.already_published) == (False, True)
    assert third.publish_id == second.publish_id
    assert [one.publish_id for one in announcements(coordinator)] == [first.publish_id, second.publish_id]


def test_a_lost_claim_announces_nothing(tmp_path: Path, coordinator: Coordinator):
    receipts = InMemoryReceipts()
    receipts.answer = Answer(won=False, published_as="t/0123")
    report = published(made_vcf(tmp_path), coordinator, tmp_path, receipts=receipts)
    assert report.already_published
    assert report.published_as == "t/0123"
    assert announcements(coordinator) == []
    assert list((tmp_path / "publish").iterdir()) == []


def test_other_settings_need_replace(tmp_path: Path, coordinator: Coordinator):
    path = made_vcf(tmp_path)
    receipts = InMemoryReceipts()
    published(path, coordinator, tmp_path, receipts=receipts)
    receipts.answer = Answer(won=False, has_other_settings=True)
    others = replace(SMALL_BLOCKS, info=())
    with pytest.raises(UsageError, match="--replace"):
        published(path, coordinator, tmp_path, receipts=receipts, settings=others)
    report = published(path, coordinator, tmp_path, receipts=receipts, settings=others, replace=True)
    assert not report.already_published
    assert len(announcements(coordinator)) == 2


def test_the_state_is_private(tmp_path: Path, coordinator: Coordinator):
    stopped(made_vcf(tmp_path), coordinator, tmp_path)
    folder = tmp_path / "publish"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert publish_state.__doc__
