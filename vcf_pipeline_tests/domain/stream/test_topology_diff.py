"""The topology against what a broker has: what is made, what is raised, what is refused."""

from __future__ import annotations

import pytest

from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.stream.topics import CALLSETS, DAY_S, USER_NOTIFICATIONS
from vcf_pipeline.domain.stream.topology_diff import FoundTopic, TopicDiff, Verdict, check_applicable, compared

MONTH = 30 * DAY_S


def of(found: FoundTopic | None) -> TopicDiff:
    (diff,) = compared("iggy", [CALLSETS], {CALLSETS: found})
    return diff


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (FoundTopic(3, MONTH), "same"),
        (FoundTopic(3, None), "same"),
        (FoundTopic(3, 2 * MONTH, replication=3, max_replication=3), "same"),
        (None, "missing"),
        (FoundTopic(2, MONTH), "smaller"),
        (FoundTopic(3, MONTH - 1), "smaller"),
        (FoundTopic(4, MONTH), "larger"),
        (FoundTopic(4, 1.0), "larger"),
        (FoundTopic(3, MONTH, replication=1, max_replication=3), "unfit"),
        (FoundTopic(2, MONTH, not_durable="no fsync"), "unfit"),
    ],
)
def test_each_difference_has_its_verdict_and_says_why(found: FoundTopic | None, verdict: Verdict) -> None:
    diff = of(found)
    assert diff.verdict == verdict
    assert bool(diff.says) == (verdict != "same")


def test_a_topic_that_the_broker_did_not_mention_is_missing() -> None:
    assert [diff.verdict for diff in compared("iggy", [CALLSETS, USER_NOTIFICATIONS], {})] == ["missing", "missing"]


def test_refusing_names_every_topic_that_may_not_be_touched_and_nothing_else() -> None:
    small = compared("kafka", [USER_NOTIFICATIONS], {USER_NOTIFICATIONS: None})
    check_applicable([of(FoundTopic(3, MONTH)), *small])
    with pytest.raises(PermanentError) as refused:
        check_applicable([of(FoundTopic(4, MONTH)), *small])
    assert refused.value.code == "TOPOLOGY_REFUSED"
    assert "iggy: vcf-callsets has 4 partitions, and the topology has 3" in str(refused.value)
    assert "user-notifications" not in str(refused.value)
