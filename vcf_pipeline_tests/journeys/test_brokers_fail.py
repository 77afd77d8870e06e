"""Brokers die, freeze, slow down, restart and lose topics at random moments of a seed; every callset arrives whole.

In memory, with short times: what is measured is the logic, not a vendor. The long form on real brokers is in chaos/.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.routing import Rules
from vcf_pipeline.adapters.broker.spool import Spool
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import StreamBroken, TransientError
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.stream.topics import CALLSETS, variants_topic
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.batch import BatchSource
from vcf_pipeline.stages.receive import open_received
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline_tests.stages.published import SMALL_BLOCKS, made_vcf, published

FROZEN_AFTER_S = 0.15
CALLSETS_PER_SENDER = 3
SENDERS = 2
FAULTS = (*("die", "freeze", "slow", "restart", "restart") * 2, "recreate")
QUIET = Rules(failback_after_s=0.1, look_every_s=0.05)


@dataclass
class Trouble:
    """At every step of a sender the dice say whether something happens to a broker; the seed says all of it."""

    brokers: list[ScriptedBroker]
    dice: random.Random
    said: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, done: int, total: int, records: int) -> None:
        with self.lock:
            if self.dice.random() > 0.3:
                return
            broker, fault = self.dice.choice(self.brokers), self.dice.choice(FAULTS)
            self.said.append(f"{broker.name} {fault}")
            if fault == "slow":
                broker.slow(self.dice.uniform(0.001, 0.02))
            elif fault == "recreate":
                if variants_topic("t") in broker._logs:
                    broker.restart()
                    broker.recreate(variants_topic("t"))
            else:
                getattr(broker, fault)()


def digest_of(source: BatchSource) -> str:
    digest = TableDigest()
    for batch in source.batches():
        tables = {
            "variants": batch.variants,
            "genotypes": batch.genotypes,
            "consequences": batch.consequences,
            "rejects": batch.rejects,
        }
        for table, rows in tables.items():
            if rows is not None:
                digest.add(table, rows)
    return digest.value()


def batch_digest(path: str) -> str:
    with open_reader(path, SMALL_BLOCKS) as reader:
        return digest_of(reader)


@dataclass
class Receiver:
    """What control's sensor does: hears every broker, keeps the first announcement of each callset."""

    coordinator: Coordinator
    announced: dict[str, Announcement] = field(default_factory=dict)
    heard_twice: int = 0
    cursor: Cursor = field(default_factory=Cursor)

    def listen(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.hear(0.1)

    def hear(self, seconds: float) -> int:
        try:
            messages = heard(self.coordinator.wait([CALLSETS], self.cursor, seconds))
        except TransientError:
            return 0
        self.cursor = self.cursor.after(message.place for message in messages)
        for message in messages:
            assert message.event is not None, message.reason
            key = str(message.event.key)
            self.heard_twice += key in self.announced
            self.announced.setdefault(key, message.event)
        return len(messages)

    def table_digest(self, announced: Announcement) -> tuple[str, str]:
        """(digest, where from): the stream, or the callset's own file where no broker can serve a segment any more."""
        try:
            with open_received(announced, self.coordinator) as source:
                return digest_of(source), "stream"
        except (StreamBroken, TransientError):
            return batch_digest(announced.uri), "file"


@pytest.fixture
def brokers() -> list[ScriptedBroker]:
    return [ScriptedBroker(name=name, call_timeout_s=1.0) for name in ("iggy", "kafka")]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_brokers_every_callset_arrives_whole_and_once(
    seed: int, brokers: list[ScriptedBroker], stack: ExitStack, tmp_path: Path
):
    def coordinator(spool: Spool | None) -> Coordinator:
        made = Coordinator(brokers, spool=spool, frozen_after_s=FROZEN_AFTER_S, rules=QUIET, patience_s=5.0)
        return stack.enter_context(made)

    trouble = Trouble(brokers, random.Random(seed))
    senders = [coordinator(Spool(tmp_path / f"spool-{number}", 64 << 20)) for number in range(SENDERS)]
    receiver = Receiver(coordinator(None))
    expected: dict[str, str] = {}
    problems: list[BaseException] = []
    are_done = threading.Event()

    def send(number: int) -> None:
        try:
            for one in range(CALLSETS_PER_SENDER):
                folder = tmp_path / f"files-{number}-{one}"
                folder.mkdir()
                path = made_vcf(folder, records=800 + 100 * (number + SENDERS * one), broken=one)
                report = published(path, senders[number], folder, progress=trouble.step)
                expected[report.partition] = batch_digest(path)
                assert report.digest == expected[report.partition]
        except BaseException as problem:
            problems.append(problem)

    listening = threading.Thread(target=receiver.listen, args=(are_done.is_set,))
    sending = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in (listening, *sending):
        thread.start()
    for thread in sending:
        thread.join(100)
    are_done.set()
    listening.join(10)
    assert problems == []
    assert len(trouble.said) > 10
    for broker in brokers:
        broker.restart()
    for sender in senders:
        drained = sender.drain()
        assert (drained.left, drained.reason) == (0, "")
    while receiver.hear(0.3):
        pass
    assert sorted(receiver.announced) == sorted(expected)
    assert len(expected) == SENDERS * CALLSETS_PER_SENDER
    got = {key: receiver.table_digest(announced) for key, announced in receiver.announced.items()}
    assert {key: digest for key, (digest, _) in got.items()} == expected
    named = {segment.broker for announced in receiver.announced.values() for segment in announced.segments}
    sources = [source for _, source in got.values()]
    print(
        f"seed {seed}: {len(trouble.said)} faults, {sources.count('stream')} by stream, "
        f"{sources.count('file')} by file, "
        f"segments on {', '.join(sorted(named))}, {receiver.heard_twice} heard twice"
    )
    assert "spool" not in named
