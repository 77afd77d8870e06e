"""The embedded log: the contract, and what only files can do to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker
from vcf_pipeline.adapters.broker.embedded_files import mapped
from vcf_pipeline.domain.errors import (
    BrokerTimeout,
    BrokerUnavailable,
    OffsetLost,
    TopicFull,
    TopicMissing,
    TransientError,
)
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline_tests.adapters.broker.contract import MUCH, TOPIC, BrokerContract, Opened, bodies_of

SPAWN = multiprocessing.get_context("spawn")
FORK = multiprocessing.get_context("fork")


class TestEmbeddedBroker(BrokerContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        return lambda: EmbeddedBroker(tmp_path / "log", max_message_bytes=1 << 20)


@pytest.fixture
def broker(tmp_path: Path) -> EmbeddedBroker:
    broker = EmbeddedBroker(tmp_path / "log")
    broker.ensure_topics([TOPIC, CALLSETS])
    return broker


def _append_many(folder: Path, worker: int) -> None:
    broker = EmbeddedBroker(folder)
    broker.ensure_topics([TOPIC])
    for step in range(20):
        broker.append(TOPIC, 0, [b"%d:%d" % (worker, step)])
    broker.close()


def test_many_processes_create_and_append_without_a_gap(tmp_path: Path):
    folder = tmp_path / "log"
    workers = [SPAWN.Process(target=_append_many, args=(folder, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    messages = EmbeddedBroker(folder).read(TOPIC, 0, 0, MUCH, MUCH)
    assert [message.offset for message in messages] == list(range(60))
    for number in range(3):
        mine = [message.body for message in messages if message.body.startswith(b"%d:" % number)]
        assert mine == [b"%d:%d" % (number, step) for step in range(20)]


def _append_until_killed(folder: Path, written: str) -> None:
    broker = EmbeddedBroker(folder)
    with open(written, "ab", buffering=0) as acknowledged:  # noqa: PTH123
        for step in range(100_000):
            first, _ = broker.append(TOPIC, 0, [b"%d" % step, b"x" * 5000])
            acknowledged.write(b"%d\n" % first)


def test_a_writer_killed_at_any_moment_loses_nothing_acknowledged_and_leaves_no_half_batch(
    broker: EmbeddedBroker, tmp_path: Path
):
    written = tmp_path / "acknowledged"
    writer = SPAWN.Process(target=_append_until_killed, args=(broker.folder, str(written)))
    writer.start()
    assert broker.wait({(TOPIC, 0): 60}, 30.0, MUCH)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join(30)
    messages = broker.read(TOPIC, 0, 0, MUCH, MUCH)
    acknowledged = written.read_bytes().split()
    assert len(messages) % 2 == 0
    assert len(messages) >= 2 * len(acknowledged) > 0
    assert [message.body for message in messages[::2]] == [b"%d" % step for step in range(len(messages) // 2)]
    assert list(broker.append(TOPIC, 0, [b"next"])) == [len(messages)]  # the dead writer holds nothing


def _append_in_child(broker: EmbeddedBroker) -> None:
    broker.append(TOPIC, 0, [b"child"])
    os._exit(0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(broker: EmbeddedBroker):
    broker.append(TOPIC, 0, [b"parent"])
    child = FORK.Process(target=_append_in_child, args=(broker,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert list(broker.append(TOPIC, 0, [b"after"])) == [2]
    assert bodies_of(broker) == [b"parent", b"child", b"after"]


def test_a_deleted_log_is_a_missing_topic_and_made_again_another_incarnation(broker: EmbeddedBroker):
    broker.append(TOPIC, 0, [b"old"])
    before = broker.incarnation(TOPIC)
    for path in broker.folder.glob("tenant-*"):
        path.unlink()
    with pytest.raises(TopicMissing):
        broker.append(TOPIC, 0, [b"lost"])
    broker.ensure_topics([TOPIC])
    assert broker.incarnation(TOPIC) != before
    assert bodies_of(broker) == []


def test_retention_by_age_leaves_a_lost_offset_and_never_gives_it_again(tmp_path: Path):
    now = [1_000_000.0]
    broker = EmbeddedBroker(tmp_path / "log", clock=lambda: now[0])
    broker.ensure_topics([TOPIC])
    broker.append(TOPIC, 0, [b"a", b"b"])
    now[0] += 6 * 86_400
    broker.append(TOPIC, 0, [b"c"])
    assert broker.retain(TOPIC) == 0
    now[0] += 2 * 86_400
    assert broker.retain(TOPIC) == 2
    with pytest.raises(OffsetLost) as lost:
        broker.read(TOPIC, 0, 0, 9, MUCH)
    assert lost.value.first_available == 2
    assert [message.offset for message in broker.read(TOPIC, 0, 2, 9, MUCH)] == [2]
    now[0] += 8 * 86_400
    assert broker.retain(TOPIC) == 1
    assert list(broker.append(TOPIC, 0, [b"d"])) == [3]


def test_an_append_drops_by_itself_what_is_past_its_retention(tmp_path: Path):
    now = [1_000_000.0]
    EmbeddedBroker(tmp_path / "log", clock=lambda: now[0]).ensure_topics([TOPIC])
    for body in (b"a", b"b"):
        sender = EmbeddedBroker(tmp_path / "log", clock=lambda: now[0])
        sender.append(TOPIC, 0, [body])
        sender.append(TOPIC, 1, [body])
        now[0] += 8 * 86_400
    reader = EmbeddedBroker(tmp_path / "log", clock=lambda: now[0])
    assert [message.offset for message in reader.read(TOPIC, 0, 1, 9, MUCH)] == [1]
    for partition in (0, 1):
        with pytest.raises(OffsetLost):
            reader.read(TOPIC, partition, 0, 9, MUCH)


def test_a_full_disk_is_topic_full_and_stores_nothing(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path / "log", max_bytes=400_000)
    broker.ensure_topics([TOPIC])
    broker.append(TOPIC, 0, [b"x" * 100_000])
    with pytest.raises(TopicFull):
        broker.append(TOPIC, 0, [b"y" * 100_000] * 6)
    assert len(bodies_of(broker)) == 1
    assert list(broker.append(TOPIC, 0, [b"z"])) == [1]


def test_a_log_locked_by_another_writer_is_a_timeout(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path / "log", busy_s=0.05)
    broker.ensure_topics([TOPIC])
    other = sqlite3.connect(broker.path_of(TOPIC), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BrokerTimeout):
        broker.append(TOPIC, 0, [b"a"])
    other.execute("ROLLBACK")
    other.close()
    assert list(broker.append(TOPIC, 0, [b"a"])) == [0]


def test_a_damaged_log_says_how_to_repair_it(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path / "log")
    broker.ensure_topics([CALLSETS])
    broker.close()
    path = broker.path_of(CALLSETS)
    path.write_bytes(b"this is no database" * 100)
    broker = EmbeddedBroker(tmp_path / "log")
    with pytest.raises(BrokerUnavailable, match="Move it away"):
        broker.end_offsets(CALLSETS)
    assert "damaged" in broker.health().reason


def test_the_log_is_private(broker: EmbeddedBroker):
    assert broker.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in broker.folder.glob("*.db")} == {0}


def test_every_error_of_sqlite_and_of_files_has_a_place_in_the_tree():
    kinds = [kind for kind in vars(sqlite3).values() if isinstance(kind, type) and issubclass(kind, sqlite3.Error)]
    assert len(kinds) > 5
    for kind in [*kinds, OSError, PermissionError]:
        assert isinstance(mapped(kind("text"), "log"), TransientError)
