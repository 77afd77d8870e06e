"""Dead letters: written from any bytes, read from any bytes, chosen by what a person says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.adapters.broker.port import Message
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.dead_letters import (
    MAX_BODY_BYTES,
    Letter,
    LetterRecord,
    Wanted,
    chosen,
    letter_id,
    read_letter,
    why_not_replayed,
    write_letter,
)
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.topics import DEAD_LETTERS

ORIGIN = "kafka:vcf-callsets[2]@17/1a2b"


def heard(body: bytes) -> Letter:
    return read_letter(Message(DEAD_LETTERS, 1, 5, body, broker="kafka", incarnation="life"))


def sent(body: bytes, **said: Any) -> Letter:
    return heard(frame.encode(write_letter(body, **{"origin": ORIGIN, "reason": "no map", "ts": 2000, **said})))


@given(st.binary(max_size=300), st.text(max_size=50))
def test_any_message_and_any_reason_make_a_letter_that_gives_the_bytes_back(body: bytes, reason: str) -> None:
    letter = sent(body, reason=reason)
    assert letter.body == body
    assert (letter.origin, letter.origin_topic) == (ORIGIN, "vcf-callsets")
    assert (letter.size_bytes, letter.at, letter.attempts, letter.is_cut) == (len(body), 2.0, 1, False)
    assert "\0" not in letter.reason


@given(st.binary(max_size=300))
def test_what_is_no_letter_in_the_topic_of_letters_is_a_letter_about_itself(body: bytes) -> None:
    letter = heard(body)
    assert letter.body == body
    assert letter.origin == "kafka:dead-letters[1]@5/life"
    assert letter.code == "UNREADABLE_MESSAGE"


@given(
    st.dictionaries(
        st.sampled_from(["origin", "origin_topic", "tenant", "callset_id", "code", "reason", "attempts", "is_cut"]),
        st.one_of(st.none(), st.integers(-(2**63), 2**63), st.text(max_size=5000), st.binary(), st.booleans()),
    )
)
def test_attributes_that_anybody_could_have_written_are_cut_to_what_the_index_holds(said: dict[str, Any]) -> None:
    letter = heard(frame.encode(Envelope(id="x" * 200, kind="dead-letter", tenant="t", body=b"", attributes=said)))
    assert len(letter.id) <= 64
    assert len(letter.tenant) <= 39
    assert len(letter.reason) <= 2000
    assert 1 <= letter.attempts < 1 << 62


def test_the_same_bytes_in_one_topic_are_the_same_letter_wherever_they_lay() -> None:
    first, second = sent(b"junk"), sent(b"junk", origin="iggy:vcf-callsets[0]@99/7", attempts=2)
    assert first.id == second.id == letter_id("vcf-callsets", b"junk")
    assert sent(b"junk", origin="kafka:database-writes[0]@1/7").id != first.id
    assert second.attempts == 2


def test_a_large_message_is_named_not_copied() -> None:
    letter = sent(b"x" * (MAX_BODY_BYTES + 1))
    assert letter.is_cut
    assert letter.body == b""
    assert letter.size_bytes == MAX_BODY_BYTES + 1
    assert not sent(b"x" * MAX_BODY_BYTES).is_cut


def test_a_letter_knows_the_tenant_and_callset_that_its_message_names() -> None:
    body = frame.encode(Envelope(id="i", kind="k", tenant="lab", callset_id="0" * 16, body=b""))
    assert (sent(body).tenant, sent(body).callset_id) == ("lab", "0" * 16)
    strange = frame.encode(Envelope(id="i", kind="k", tenant="../etc", callset_id="x", body=b""))
    assert (sent(strange).tenant, sent(strange).callset_id) == ("", "")
    assert sent(body, tenant="other", callset_id="1" * 16).tenant == "other"


def test_a_place_comes_back_from_its_text_and_another_text_is_none() -> None:
    place = Place("iggy", "lab-b.vcf-variants", "2026-01-01:7/9", 9, 12)
    assert Place.parse(str(place)) == place
    assert Place.parse("announcement 7 of vcf-callsets") is None
    assert Cursor().after([place]).has_passed(place)
    assert not Cursor().has_passed(place)


def record(number: int = 1, **changed: Any) -> LetterRecord:
    values: dict[str, Any] = {
        "id": f"{number:016x}",
        "place": Place("kafka", "dead-letters", "i", 0, number),
        "origin": ORIGIN,
        "origin_topic": "vcf-callsets",
        "tenant": "lab",
        "callset_id": "ab" * 8,
        "code": "MISSING_CHUNKS",
        "reason": "publication 7: 2 missing",
        "attempts": 1,
        "size_bytes": 4,
        "is_cut": False,
        "state": "open",
        "replays": 0,
        "first_at": 100.0,
        "last_at": 200.0,
    }
    return LetterRecord(**{**values, **changed})


@pytest.mark.parametrize(
    ("wanted", "is_meant"),
    [
        (Wanted(), True),
        (Wanted(topic="vcf-callsets"), True),
        (Wanted(topic="vcf-variants"), False),
        (Wanted(reason="missing_chunks"), True),
        (Wanted(reason="2 Missing"), True),
        (Wanted(reason="timeout"), False),
        (Wanted(since=200.0, until=200.0), True),
        (Wanted(since=200.1), False),
        (Wanted(until=199.9), False),
        (Wanted(callset="abab"), True),
        (Wanted(callset="lab/abab"), True),
        (Wanted(callset="other/abab"), False),
        (Wanted(callset="ba"), False),
        (Wanted(tenant="lab"), True),
        (Wanted(tenant="other"), False),
        (Wanted(states=("discarded",)), False),
        (Wanted(ids=("0000",), topic="elsewhere", states=()), True),
        (Wanted(ids=("1",)), False),
    ],
)
def test_every_condition_that_is_given_holds_and_named_ones_are_meant_whatever_became_of_them(
    wanted: Wanted, is_meant: bool
) -> None:
    assert bool(chosen([record()], wanted)) == is_meant


def test_a_data_topic_is_meant_with_and_without_its_tenant() -> None:
    data = record(origin_topic="lab.vcf-variants")
    assert chosen([data], Wanted(topic="vcf-variants")) == chosen([data], Wanted(topic="lab.vcf-variants")) == [data]


def test_only_what_came_from_a_topic_of_messages_can_go_back() -> None:
    assert why_not_replayed(record()) == ""
    assert "no place" in why_not_replayed(record(origin="somewhere"))
    assert "dead-letters" in why_not_replayed(record(origin="kafka:dead-letters[0]@1/i"))
