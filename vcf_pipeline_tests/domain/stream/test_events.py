"""What was heard, up to what is left for later. The kinds of events: test_stage_events.py, test_announcement.py."""

from __future__ import annotations

from vcf_pipeline.domain.stream.cursor import Place
from vcf_pipeline.domain.stream.events import Heard, before


def at(broker: str, partition: int, offset: int) -> Heard:
    return Heard(Place(broker, "vcf-callsets", "life", partition, offset), None)


def test_what_lies_behind_a_place_that_is_left_waits_with_it_in_its_own_partition_alone():
    messages = [at(broker, partition, offset) for broker in "ab" for partition in (0, 1) for offset in (4, 6, 9)]
    taken = before(messages, [at("a", 0, 6).place, at("b", 1, 4).place])
    assert taken == [at("a", 0, 4), *messages[3:6], *messages[6:9]]
    assert before(messages, []) == messages
