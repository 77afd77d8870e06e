"""Dead letters over whole brokers: heard from each, read back, sent back, and never lost by a poison among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.errors import StreamBroken, UsageError
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.dead_letters import MAX_BODY_BYTES, LetterRecord, Wanted
from vcf_pipeline.domain.stream.events import heard, place_of
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL, DEAD_LETTERS, Topic, variants_topic
from vcf_pipeline.stages.announce_records import announce_ended
from vcf_pipeline.stages.dead_letters import discard, find_letters, hear_letters, message_of, replay
from vcf_pipeline.testing.scripted_broker import ScriptedBroker

MUCH = 1 << 30


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


@pytest.fixture
def broker() -> ScriptedBroker:
    broker = ScriptedBroker(name="scripted", max_message_bytes=1 << 20)
    broker.ensure_topics([*CONTROL, variants_topic("t")])
    return broker


@pytest.fixture
def coordinator(broker: ScriptedBroker) -> Coordinator:
    return Coordinator([broker], patience_s=0.0)


def buried(coordinator: Coordinator, broker: ScriptedBroker, topic: Topic, partition: int, body: bytes) -> Place:
    """A message that lies in a topic and whose listener could not read it."""
    (offset,) = broker.append(topic, partition, [body])
    place = Place(broker.name, topic.full_name, broker.incarnation(topic), partition, offset)
    coordinator.dead_letter(body, origin=str(place), reason="no envelope", code="UNREADABLE_MESSAGE")
    return place


def listed(coordinator: Coordinator, ledger: Ledger) -> list[LetterRecord]:
    assert hear_letters(coordinator, ledger) == []
    return find_letters(ledger, Wanted())


def test_without_any_topic_there_are_no_letters(ledger: Ledger) -> None:
    assert listed(Coordinator([ScriptedBroker()]), ledger) == []


def test_letters_of_every_topic_are_heard_once_and_give_the_message_back(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    for number, topic in enumerate([*CONTROL, variants_topic("t")]):
        buried(coordinator, broker, topic, 0, b"junk %d" % number)
    found = listed(coordinator, ledger)
    assert {record.origin_topic for record in found} == {topic.full_name for topic in CONTROL} | {"t.vcf-variants"}
    # the junk that stood among the letters is listed as one too, and is the same message as its own letter
    assert len(found) == len(CONTROL) + 1
    for record in found:
        assert message_of(coordinator, record).startswith(b"junk")
    assert {record.attempts for record in listed(coordinator, ledger)} == {1}


def test_a_broker_that_is_down_is_named_and_the_others_letters_are_heard(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    buried(coordinator, broker, CALLSETS, 0, b"junk")
    dead = ScriptedBroker(name="dead")
    dead.close()
    (problem,) = hear_letters(Coordinator([dead, broker]), ledger)
    assert problem.exit_code == 4
    assert len(find_letters(ledger, Wanted())) == 1


def test_replaying_puts_the_very_same_bytes_into_the_partition_they_came_from(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    place = buried(coordinator, broker, CALLSETS, 2, b"\xff\x00junk")
    (record,) = listed(coordinator, ledger)
    (planned,) = replay(coordinator, ledger, [record], dry_run=True)
    assert (planned.refused, planned.segment) == ("", None)
    assert broker.end_offsets(CALLSETS)[2] == place.offset + 1
    assert planned.still_unreadable
    for times in (1, 2):
        (done,) = replay(coordinator, ledger, [record], dry_run=False)
        assert done.segment is not None
        assert (done.segment.topic, done.segment.partition) == ("vcf-callsets", 2)
        assert [message.body for message in broker.read(CALLSETS, 2, 0, MUCH, MUCH)] == [b"\xff\x00junk"] * (times + 1)
    assert listed(coordinator, ledger) == []
    assert [(one.state, one.replays) for one in ledger.dead_letters()] == [("replayed", 2)]


def test_replaying_goes_to_the_broker_of_the_origin_and_one_that_is_gone_fails_its_own_letters_alone(
    broker: ScriptedBroker, ledger: Ledger
) -> None:
    kafka, gone = ScriptedBroker(name="kafka"), ScriptedBroker(name="gone")
    for each in (kafka, gone):
        each.ensure_topics(CONTROL)
    coordinator = Coordinator([broker, kafka, gone], patience_s=0.0)
    for number, each in enumerate((gone, kafka, broker)):
        buried(coordinator, each, CALLSETS, 1, b"junk %d" % number)
    records = sorted(listed(coordinator, ledger), key=lambda record: record.origin)
    gone.die()
    sent = {one.record.origin.partition(":")[0]: one for one in replay(coordinator, ledger, records, dry_run=False)}
    assert sent["gone"].problem is not None
    assert sent["gone"].problem.exit_code == 4
    for name, each in (("kafka", kafka), ("scripted", broker)):
        segment = sent[name].segment
        assert segment is not None
        assert (segment.broker, segment.partition) == (name, 1)
        assert each.end_offsets(CALLSETS)[1] == 2
    without = Coordinator([broker, kafka], patience_s=0.0)
    for dry_run in (True, False):
        refused = {
            one.record.origin.partition(":")[0]: one.refused
            for one in replay(without, ledger, records, dry_run=dry_run)
        }
        assert "gone" in refused.pop("gone")
        assert set(refused.values()) == {""}


def test_the_end_of_a_publication_is_replayed_where_its_messages_lie(ledger: Ledger) -> None:
    iggy, kafka = ScriptedBroker(name="iggy"), ScriptedBroker(name="kafka")
    coordinator = Coordinator([iggy, kafka], patience_s=0.0)
    for each in (iggy, kafka):
        each.ensure_topics([*CONTROL, variants_topic("t")])
    record = {"chromosome": "1", "position": 7, "reference": "A", "alternate": "C"}
    told = {"v": 1, "tenant": "t", "publish_id": "x", "seq": 0}
    end = {**told, "id": "x/end", "kind": "variants/end", "body": {"n_chunks": 1, "partition": 3}}
    buried(coordinator, kafka, CALLSETS, 2, json.dumps(end).encode())
    kafka.append(
        variants_topic("t"),
        3,
        [json.dumps({**told, "id": "x/0", "kind": "variants/records", "body": [record]}).encode()],
    )
    cursor = Cursor().after(map(place_of, coordinator.wait([CALLSETS], Cursor(), 0.0)))
    (done,) = replay(coordinator, ledger, listed(coordinator, ledger), dry_run=False)
    assert done.refused == ""
    (again,) = heard(coordinator.wait([CALLSETS], cursor, 1.0))
    assert again.ended is not None
    announced = announce_ended(again.ended, coordinator, again.place.broker, "2026-01-01T00:00:00+00:00")
    assert [segment.broker for segment in announced.segments] == ["kafka"]


def test_a_message_too_large_to_copy_is_fetched_from_its_origin_until_that_is_gone(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    place = buried(coordinator, broker, variants_topic("t"), 3, body)
    (record,) = listed(coordinator, ledger)
    assert record.is_cut
    assert record.size_bytes == len(body)
    assert message_of(coordinator, record) == body
    (done,) = replay(coordinator, ledger, [record], dry_run=False)
    assert done.segment is not None
    broker.expire(variants_topic("t"), 3, place.offset + 1)
    with pytest.raises(StreamBroken):
        message_of(coordinator, record)
    (refused,) = replay(coordinator, ledger, [record], dry_run=False)
    assert refused.refused


def test_a_letter_whose_topic_was_made_anew_is_gone_and_the_others_go_on(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    buried(coordinator, broker, CALLSETS, 0, b"first")
    old = listed(coordinator, ledger)
    broker.recreate(DEAD_LETTERS)
    buried(coordinator, broker, CALLSETS, 0, b"second")
    outcomes = {
        one.record.size_bytes: one for one in replay(coordinator, ledger, listed(coordinator, ledger), dry_run=False)
    }
    assert outcomes[6].segment is not None
    assert "incarnation" in outcomes[5].refused
    assert [record.id for record in listed(coordinator, ledger)] == [old[0].id]


def test_letters_after_the_topic_was_emptied_are_heard_though_as_many_as_before_have_come(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    broker.append(DEAD_LETTERS, 0, [b"old 0", b"old 1"])
    assert len(listed(coordinator, ledger)) == 2
    broker.regress(DEAD_LETTERS, 0, 0)
    assert len(listed(coordinator, ledger)) == 2
    broker.append(DEAD_LETTERS, 0, [b"new 00", b"new 11"])
    assert sorted(record.size_bytes for record in listed(coordinator, ledger)) == [5, 5, 6, 6]


def test_letters_that_lie_before_what_is_kept_are_passed_over(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    for number in range(6):
        buried(coordinator, broker, CALLSETS, 0, b"%d" % number)
    ends = broker.end_offsets(DEAD_LETTERS)
    partition = max(ends, key=lambda number: ends[number])
    broker.expire(DEAD_LETTERS, partition, ends[partition] - 1)
    assert len(listed(coordinator, ledger)) == 6 - (ends[partition] - 1)


def test_what_stood_in_the_topic_of_letters_itself_does_not_go_back_there(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    broker.append(DEAD_LETTERS, 0, [b"noise"])
    (record,) = listed(coordinator, ledger)
    (outcome,) = replay(coordinator, ledger, [record], dry_run=False)
    assert "dead-letters" in outcome.refused
    assert sum(broker.end_offsets(DEAD_LETTERS).values()) == 1


def test_discarding_lays_aside_and_a_dry_run_does_not(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    buried(coordinator, broker, CALLSETS, 0, b"junk")
    found = listed(coordinator, ledger)
    assert len(list(discard(ledger, found, dry_run=True))) == 1
    assert listed(coordinator, ledger) == found
    list(discard(ledger, found, dry_run=False))
    assert listed(coordinator, ledger) == []


def test_an_id_that_is_none_or_several_is_an_error_that_says_so(
    coordinator: Coordinator, broker: ScriptedBroker, ledger: Ledger
) -> None:
    for number in range(20):
        buried(coordinator, broker, CALLSETS, 0, b"%d" % number)
    found = listed(coordinator, ledger)
    assert find_letters(ledger, Wanted(ids=(found[0].id[:12],))) == [found[0]]
    with pytest.raises(UsageError, match="UNKNOWN_LETTER"):
        find_letters(ledger, Wanted(ids=("nothing",)))
    starts = [record.id[0] for record in found]
    shared = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(UsageError, match="AMBIGUOUS_LETTER"):
        find_letters(ledger, Wanted(ids=(shared,)))
