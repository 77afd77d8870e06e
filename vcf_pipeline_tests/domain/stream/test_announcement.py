"""Announcements and segments: round trips, and what cannot be one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from vcf_pipeline.domain.errors import StreamBroken, UnreadableMessage
from vcf_pipeline.domain.stream.announcement import Announcement, Segment, add_segment, is_repeat, missing_seqs
from vcf_pipeline.domain.stream.envelope import decode, encode
from vcf_pipeline.domain.stream.events import CallsetAnnounced
from vcf_pipeline_tests.domain.stream.test_run_plan import announced

ONE = announced(7)
SEGMENT = Segment("embedded", "default.vcf-variants", "life", 2, "p", 5, 9)


def test_an_announcement_survives_its_envelope():
    event = CallsetAnnounced(ONE)
    again = CallsetAnnounced.from_envelope(decode(encode(event.to_envelope(ts=1, producer="test"))))
    assert again == event


def test_fields_that_a_newer_sender_adds_are_passed_over():
    assert Announcement.from_dict({**ONE.to_dict(), "news": 1}) == ONE


def _without(name: str) -> dict[str, Any]:
    record = ONE.to_dict()
    del record[name]
    return record


SEGMENTS = ONE.to_dict()["segments"]


@pytest.mark.parametrize(
    "record",
    [
        *(_without(name) for name in ("id", "segments", "digest", "records", "reader_settings")),
        {**ONE.to_dict(), "records": "1"},
        {**ONE.to_dict(), "records": True},
        {**ONE.to_dict(), "records": -1},
        {**ONE.to_dict(), "rejected": 2},
        {**ONE.to_dict(), "n_chunks": 0},
        {**ONE.to_dict(), "id": "0" * 32},
        {**ONE.to_dict(), "tenant": "../etc"},
        {**ONE.to_dict(), "callset_id": "zz"},
        {**ONE.to_dict(), "segments": []},
        {**ONE.to_dict(), "segments": [1]},
        {**ONE.to_dict(), "segments": [{**SEGMENTS[0], "topic": "other.vcf-variants"}]},
        {**ONE.to_dict(), "segments": [{**SEGMENTS[0], "topic": "nothing"}]},
        {**ONE.to_dict(), "segments": [{**SEGMENTS[0], "publish_id": "another"}]},
        {**ONE.to_dict(), "segments": [{**SEGMENTS[0], "last_offset": -1}]},
    ],
)
def test_what_cannot_be_an_announcement_is_unreadable(record: dict[str, Any]):
    with pytest.raises(UnreadableMessage):
        Announcement.from_dict(record)


def test_an_envelope_of_another_tenant_or_kind_is_unreadable():
    envelope = CallsetAnnounced(ONE).to_envelope(ts=1, producer="test")
    for changed in (replace(envelope, tenant="other"), replace(envelope, kind="notification")):
        with pytest.raises(UnreadableMessage):
            CallsetAnnounced.from_envelope(changed)
    with pytest.raises(UnreadableMessage):
        CallsetAnnounced.from_envelope(replace(envelope, body=msgpack.packb([1])))


def test_segments_grow_over_a_small_gap_and_not_over_a_large_one_or_another_life():
    segments = [SEGMENT]
    add_segment(segments, replace(SEGMENT, first_offset=10, last_offset=12))
    add_segment(segments, replace(SEGMENT, first_offset=20, last_offset=20))
    assert segments == [replace(SEGMENT, last_offset=20)]
    add_segment(segments, replace(SEGMENT, first_offset=90, last_offset=91))
    add_segment(segments, replace(SEGMENT, first_offset=92, last_offset=93, incarnation="next"))
    assert [(one.first_offset, one.last_offset) for one in segments] == [(5, 20), (90, 91), (92, 93)]


def test_missing_numbers_are_named_in_order():
    assert missing_seqs([4, 0, 2], 6) == [1, 3, 5]
    assert missing_seqs(range(3), 3) == []


def test_an_equal_repeat_is_dropped_and_another_body_under_its_number_breaks_the_stream():
    assert not is_repeat({}, 1, b"a")
    assert is_repeat({1: b"a"}, 1, b"a")
    with pytest.raises(StreamBroken) as broken:
        is_repeat({1: b"a"}, 1, b"b")
    assert broken.value.code == "CHUNK_CHANGED"
