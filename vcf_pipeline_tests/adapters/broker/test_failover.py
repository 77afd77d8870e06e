"""Several brokers: away from one that dies or freezes, into the spool where none is left, back when it is well."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.coordinator import FROZEN_AFTER_S, Coordinator
from vcf_pipeline.adapters.broker.publisher import Window
from vcf_pipeline.adapters.broker.routing import Rules
from vcf_pipeline.adapters.broker.spool import SPOOL, Spool
from vcf_pipeline.domain.breaker import Pauses
from vcf_pipeline.domain.errors import (
    BadSetting,
    BadTenantName,
    BrokerTimeout,
    BrokerUnavailable,
    BrokerUnfit,
    MessageTooLarge,
    PermanentError,
    TopicFull,
    TopicRecreated,
)
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.events import place_of
from vcf_pipeline.domain.stream.topics import CALLSETS, Topic, variants_topic
from vcf_pipeline.testing.scripted_broker import FULL, ScriptedBroker

TOPIC = variants_topic("t")
QUICK = Rules(failback_after_s=0.2, look_every_s=0.05, pauses=Pauses(first_s=0.05, most_s=0.1))
Make = Callable[..., Coordinator]


@pytest.fixture
def iggy() -> ScriptedBroker:
    return ScriptedBroker(name="iggy", call_timeout_s=3.0)


@pytest.fixture
def kafka() -> ScriptedBroker:
    return ScriptedBroker(name="kafka", call_timeout_s=3.0)


@pytest.fixture
def make(iggy: ScriptedBroker, kafka: ScriptedBroker) -> Iterator[Make]:
    made: list[Coordinator] = []

    def make(**given: object) -> Coordinator:
        options: dict[str, object] = {"frozen_after_s": 0.2, "rules": QUICK, "patience_s": 1.0}
        made.append(Coordinator([iggy, kafka], **(options | given)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for broker in (iggy, kafka):
        broker.restart()
    for coordinator in made:
        coordinator.close()


def bodies(coordinator: Coordinator, segments: Sequence[Segment]) -> list[bytes]:
    return [message.body for segment in segments for message in coordinator.read_segment(segment)]


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("fault", ["die", "freeze"])
def test_a_broker_that_fails_in_the_middle_costs_no_chunk_and_the_segments_name_both(
    fault: str, iggy: ScriptedBroker, make: Make
):
    coordinator = make()
    with coordinator.publisher("t", "p") as publisher:
        for seq in range(20):
            publisher.send(seq, b"%d" % seq)
        publisher.flush()
        getattr(iggy, fault)()
        for seq in range(20, 40):
            publisher.send(seq, b"%d" % seq)
    assert [segment.broker for segment in publisher.segments] == ["iggy", "kafka"]
    assert coordinator.in_use == "kafka"
    iggy.restart()
    assert bodies(coordinator, publisher.segments) == [b"%d" % seq for seq in range(40)]
    assert "iggy → kafka" in " ".join(coordinator.status()["notes"])


def test_a_dead_or_frozen_broker_costs_at_most_a_second_by_the_defaults(iggy: ScriptedBroker, make: Make):
    """Printed, and bounded generously: two busy cores are no stop-watch."""
    for fault in ("die", "freeze"):
        coordinator = make(frozen_after_s=FROZEN_AFTER_S, rules=None)
        coordinator.emit(Envelope(id="e", kind="notification", tenant="t", body=b""), CALLSETS, "key")
        getattr(iggy, fault)()
        started = time.monotonic()
        segment = coordinator.emit(Envelope(id="f", kind="notification", tenant="t", body=b""), CALLSETS, "key")
        seconds = time.monotonic() - started
        print(f"{fault}: {seconds:.3f} s until the message was on {segment.broker}")
        assert segment.broker == "kafka"
        assert seconds < 3.0
        iggy.restart()


def test_a_publication_that_takes_longer_has_the_next_broker_ready(kafka: ScriptedBroker, make: Make):
    seconds = itertools.count(0.0, 0.3)
    coordinator = make(clock=lambda: next(seconds))
    with coordinator.publisher("t", "p") as publisher:
        for seq in range(5):
            publisher.send(seq, b"x")
            publisher.flush()
    until(lambda: kafka.describe_topics([TOPIC])[TOPIC] is not None)
    assert {segment.broker for segment in publisher.segments} == {"iggy"}


def test_a_slow_broker_that_answers_is_kept(iggy: ScriptedBroker, make: Make):
    coordinator = make()
    iggy.slow(0.6)
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
    assert [segment.broker for segment in publisher.segments] == ["iggy"]


def test_it_goes_back_when_the_preferred_is_well_again_and_no_batch_pays_for_the_probes(
    iggy: ScriptedBroker, make: Make
):
    coordinator = make()
    iggy.freeze()
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"0")
        publisher.flush()
        assert coordinator.in_use == "kafka"
        iggy.restart()
        seq = 0

        def is_back() -> bool:
            nonlocal seq
            seq += 1
            publisher.send(seq, b"%d" % seq)
            publisher.flush()
            return coordinator.in_use == "iggy"

        until(is_back)
    assert bodies(coordinator, publisher.segments) == [b"%d" % number for number in range(seq + 1)]


def test_a_full_topic_sends_the_batch_elsewhere(kafka: ScriptedBroker):
    with Coordinator([ScriptedBroker([FULL], name="iggy"), kafka]) as coordinator:
        with coordinator.publisher("t", "p") as publisher:
            publisher.send(0, b"a")
        assert [segment.broker for segment in publisher.segments] == ["kafka"]


def test_a_broker_that_is_set_up_wrongly_is_gone_round_and_alone_it_says_so(kafka: ScriptedBroker):
    class Wrong(ScriptedBroker):
        def ensure_topics(self, topics: Sequence[Topic]) -> None:
            raise BadSetting(where="VCF_PIPELINE_IGGY__URL", expected="a user it knows", got="another password")

    with Coordinator([Wrong(name="iggy"), kafka]) as coordinator:
        segment = coordinator.emit(Envelope(id="e", kind="notification", tenant="t", body=b""), CALLSETS, "key")
        assert segment.broker == "kafka"
        assert "another password" in " ".join(coordinator.status()["notes"])
    with Coordinator([Wrong(name="iggy")]) as coordinator, pytest.raises(BadSetting):
        coordinator.emit(Envelope(id="e", kind="notification", tenant="t", body=b""), CALLSETS, "key")


def unfit(code: str) -> BrokerUnfit:
    return BrokerUnfit(where="iggy", expected="another server", got="this one", repair="Change it.", code=code)


class Unfit(ScriptedBroker):
    """Answers every ping, and makes no topic until it is mended."""

    problem: PermanentError | None = unfit("BROKER_VERSION")
    asked = 0

    def ensure_topics(self, topics: Sequence[Topic]) -> None:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        super().ensure_topics(topics)


@pytest.mark.parametrize("code", ["BROKER_VERSION", "TOPIC_NOT_DURABLE"])
def test_a_broker_that_is_unfit_is_told_once_and_the_next_one_takes_over(
    code: str, kafka: ScriptedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    iggy = Unfit(name="iggy")
    iggy.problem = unfit(code)
    spool = Spool(tmp_path / "spool", 64 << 20)
    with Coordinator([iggy, kafka], spool=spool, rules=QUICK) as coordinator:
        with coordinator.publisher("t", "p") as publisher:
            for seq in range(3):
                publisher.send(seq, b"%d" % seq)
                publisher.flush()
            until(lambda: iggy.asked > 3)  # it is asked aside whether it was mended, and not chosen meanwhile
            publisher.send(3, b"3")
        assert [segment.broker for segment in publisher.segments] == ["kafka"]
        assert bodies(coordinator, publisher.segments) == [b"0", b"1", b"2", b"3"]
    assert sum(f"iggy failed: {iggy.problem.message}" in record.message for record in caplog.records) == 1
    assert sum("iggy → kafka" in record.message for record in caplog.records) == 1
    assert not spool.path.exists()


def test_an_unfit_broker_that_was_mended_is_gone_back_to(kafka: ScriptedBroker):
    iggy = Unfit(name="iggy")
    with Coordinator([iggy, kafka], rules=QUICK) as coordinator:
        assert coordinator.emit(event(1), CALLSETS, "key").broker == "kafka"
        iggy.problem = None
        until(lambda: coordinator.emit(event(2), CALLSETS, "key").broker == "iggy")


@pytest.mark.parametrize("unfit_first", [True, False])
def test_an_unfit_broker_beside_one_that_is_down_leaves_what_is_sent_to_the_spool(
    unfit_first: bool, kafka: ScriptedBroker, tmp_path: Path
):
    kafka.die()
    brokers = [Unfit(name="iggy"), kafka]
    spool = Spool(tmp_path / "spool", 64 << 20)
    with Coordinator(brokers if unfit_first else brokers[::-1], spool=spool) as coordinator:
        with coordinator.publisher("t", "p") as publisher:
            publisher.send(0, b"a")
        assert [segment.broker for segment in publisher.segments] == [SPOOL]
        assert len(spool.publications()) == 1
        with pytest.raises(BrokerUnavailable):
            coordinator.send_now(TOPIC, 0, [b"a"], "p", ())


def test_an_unfit_broker_alone_or_pinned_says_so(kafka: ScriptedBroker):
    for brokers, pin in (([Unfit(name="iggy")], None), ([Unfit(name="iggy"), kafka], "iggy")):
        with Coordinator(brokers, pin=pin) as coordinator, pytest.raises(BrokerUnfit, match="BROKER_VERSION"):
            coordinator.emit(event(1), CALLSETS, "key")
    assert kafka._logs == {}


def test_what_is_wrong_with_the_message_itself_goes_to_no_other_broker(iggy: ScriptedBroker, kafka: ScriptedBroker):
    iggy.max_message_bytes = 10
    with Coordinator([iggy, kafka]) as coordinator, pytest.raises(MessageTooLarge):
        coordinator.emit(event(1), CALLSETS, "key")
    assert kafka._logs == {}


def test_a_name_that_is_wrong_on_every_broker_goes_to_no_other_one(kafka: ScriptedBroker):
    misnamed = Unfit(name="iggy")
    misnamed.problem = BadTenantName(where="tenant", expected="a name", got="A/B")
    with Coordinator([misnamed, kafka]) as coordinator, pytest.raises(BadTenantName):
        coordinator.emit(event(1), CALLSETS, "key")
    assert kafka._logs == {}


def test_with_no_broker_left_chunks_go_to_the_spool_and_to_the_first_one_that_is_back(
    iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make, tmp_path: Path
):
    coordinator = make(spool=Spool(tmp_path / "spool", 64 << 20))
    iggy.die()
    kafka.freeze()
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"0")
        publisher.flush()
        assert coordinator.in_use == SPOOL
        kafka.restart()
        seq = 0

        def is_out() -> bool:
            nonlocal seq
            seq += 1
            publisher.send(seq, b"%d" % seq)
            publisher.flush()
            return coordinator.in_use == "kafka"

        until(is_out)
    assert [segment.broker for segment in publisher.segments] == [SPOOL, "kafka"]
    status = coordinator.status()
    assert status["spool"]["publications"] == 1
    assert status["brokers"]["iggy"]["healthy"] is False


def test_a_full_spool_reaches_the_publisher(iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make, tmp_path: Path):
    coordinator = make(spool=Spool(tmp_path / "spool", 16 << 20))
    iggy.die()
    kafka.die()
    with pytest.raises(TopicFull, match="spool drain"), coordinator.publisher("t", "p") as publisher:
        for seq in range(20):
            publisher.send(seq, b"x" * (1 << 20))
        publisher.flush()


def test_pinned_nothing_goes_elsewhere_it_is_tried_for_its_time_and_then_said(
    iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make, tmp_path: Path
):
    coordinator = make(pin="iggy", spool=Spool(tmp_path / "spool", 64 << 20), patience_s=0.5)
    iggy.die()
    with pytest.raises(BrokerUnavailable) as error, coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        publisher.flush()
    assert error.value.exit_code == 4
    assert not (tmp_path / "spool").exists()
    assert kafka._logs == {}


def test_pinned_it_reconnects_and_goes_on(iggy: ScriptedBroker, make: Make):
    coordinator = make(pin="iggy", patience_s=20.0)
    with coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        publisher.flush()
        iggy.die()
        publisher.send(1, b"b")
        until(lambda: any("iggy failed" in note for note in coordinator.status()["notes"]))
        iggy.restart()
    assert bodies(coordinator, publisher.segments) == [b"a", b"b"]


def test_a_topic_that_was_deleted_with_chunks_in_it_is_said_at_once(iggy: ScriptedBroker, make: Make):
    coordinator = make()
    with pytest.raises(TopicRecreated), coordinator.publisher("t", "p") as publisher:
        publisher.send(0, b"a")
        publisher.flush()
        iggy.recreate(TOPIC)
        publisher.send(1, b"b")
        publisher.flush()


def test_memory_is_flat_before_a_broker_that_stalls(iggy: ScriptedBroker, make: Make):
    """A stalled one answers pings and takes nothing: what is sent stops at the window, whatever the time."""
    window = Window(bytes=1 << 20, chunks=4)
    coordinator = make(window=window)
    iggy.gate.clear()
    tracemalloc.start()
    try:
        with pytest.raises(KeyboardInterrupt), coordinator.publisher("t", "p") as publisher:
            for seq in range(10):
                publisher.send(seq, bytes(100_000))
            before = tracemalloc.get_traced_memory()[0]
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                time.sleep(0.05)
            grown = tracemalloc.get_traced_memory()[0] - before
            assert grown < window.bytes
            raise KeyboardInterrupt
    finally:
        tracemalloc.stop()
        iggy.gate.set()


# ---- hearing


def event(number: int) -> Envelope:
    return Envelope(id=f"event-{number}", kind="notification", tenant="t", body=b"%d" % number)


def ids(messages: Sequence[object]) -> list[str]:
    return sorted(frame.decode(message.body).id for message in messages)  # type: ignore[attr-defined]


def put(broker: ScriptedBroker, *numbers: int) -> None:
    broker.ensure_topics([CALLSETS])
    broker.append(CALLSETS, 0, [frame.encode(event(number)) for number in numbers])


def test_the_first_broker_that_has_something_answers(kafka: ScriptedBroker, make: Make):
    coordinator = make()
    put(kafka, 1)
    started = time.monotonic()
    assert ids(coordinator.wait([CALLSETS], Cursor(), 20.0)) == ["event-1"]
    assert time.monotonic() - started < 10.0


def test_what_all_of_them_have_comes_over_a_few_waits_and_nothing_twice(
    iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make
):
    coordinator = make()
    put(iggy, 1, 2)
    put(kafka, 3)
    cursor, found = Cursor(), []
    while messages := coordinator.wait([CALLSETS], cursor, 0.3):
        found += ids(messages)
        cursor = cursor.after(place_of(message) for message in messages)
    assert sorted(found) == ["event-1", "event-2", "event-3"]
    assert {broker for broker, _ in cursor.topics} == {"iggy", "kafka"}


@pytest.mark.parametrize("fault", ["die", "freeze"])
def test_a_broker_that_is_down_costs_nothing_is_named_and_read_from_the_cursor_when_it_is_back(
    fault: str, iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make
):
    coordinator = make()
    put(iggy, 1)
    messages = coordinator.wait([CALLSETS], Cursor(), 5.0)
    cursor = Cursor().after(place_of(message) for message in messages)
    put(iggy, 2)
    put(kafka, 3)
    getattr(iggy, fault)()
    messages = coordinator.wait([CALLSETS], cursor, 5.0)
    assert ids(messages) == ["event-3"]
    cursor = cursor.after(place_of(message) for message in messages)
    assert coordinator.wait([CALLSETS], cursor, 0.1) == []
    assert "iggy" in " ".join(coordinator.status()["notes"])
    assert coordinator.status()["brokers"]["iggy"]["heard"] is False
    iggy.restart()
    assert ids(coordinator.wait([CALLSETS], cursor, 10.0)) == ["event-2"]


def test_a_broker_that_comes_back_while_others_are_listened_to_is_heard(
    iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make
):
    coordinator = make()
    put(iggy, 1)
    iggy.die()
    messages: list[object] = []

    def hear() -> bool:
        messages.extend(coordinator.wait([CALLSETS], Cursor(), 0.7))
        iggy.restart()
        return bool(messages)

    until(hear)
    assert ids(messages) == ["event-1"]


def test_with_all_of_them_down_it_raises_since_nobody_looked(iggy: ScriptedBroker, kafka: ScriptedBroker, make: Make):
    coordinator = make()
    iggy.die()
    kafka.die()
    with pytest.raises(BrokerUnavailable):
        coordinator.wait([CALLSETS], Cursor(), 0.1)
    iggy.freeze()
    kafka.freeze()
    with pytest.raises((BrokerUnavailable, BrokerTimeout)):
        make().wait([CALLSETS], Cursor(), 0.0)


def test_a_topic_deleted_meanwhile_is_made_anew_and_heard(iggy: ScriptedBroker, make: Make):
    coordinator = make()
    put(iggy, 1)
    messages = coordinator.wait([CALLSETS], Cursor(), 5.0)
    cursor = Cursor().after(place_of(message) for message in messages)
    with iggy._changed:
        del iggy._logs[CALLSETS]
    assert coordinator.wait([CALLSETS], cursor, 0.1) == []
    put(iggy, 2)
    assert ids(coordinator.wait([CALLSETS], cursor, 5.0)) == ["event-2"]


def test_a_log_that_is_only_heard_is_read_and_never_sent_to(iggy: ScriptedBroker, kafka: ScriptedBroker):
    with Coordinator([iggy], also_heard=[kafka], patience_s=0.2) as coordinator:
        put(kafka, 1)
        assert ids(coordinator.wait([CALLSETS], Cursor(), 5.0)) == ["event-1"]
        iggy.die()
        with pytest.raises(BrokerUnavailable):
            coordinator.emit(event(2), CALLSETS, "key")
