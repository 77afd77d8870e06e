"""The topology on several brokers at once: one that is down, one that differs, one that keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL, TOPOLOGY, Topic, variants_topic
from vcf_pipeline.stages.topology import BrokerTopology, apply_topology, look, wanted_topics
from vcf_pipeline.testing.scripted_broker import ScriptedBroker

TOPICS = wanted_topics(["a", "b"])


def states(found: Sequence[BrokerTopology]) -> dict[str, set[str]]:
    return {one.broker: {diff.verdict for diff in one.diffs} for one in found}


def test_the_control_topics_are_wanted_once_and_the_data_topic_of_each_tenant() -> None:
    assert [*CONTROL, variants_topic("a"), variants_topic("b")] == TOPICS


def test_applying_makes_what_is_missing_on_every_broker_and_the_second_time_does_nothing() -> None:
    brokers = [ScriptedBroker(name="one"), ScriptedBroker(name="two")]
    assert states(look(brokers, TOPICS)) == {"one": {"missing"}, "two": {"missing"}}
    assert [len(one.diffs) for one in apply_topology(brokers, TOPICS)] == [len(TOPICS)] * 2
    assert states(look(brokers, TOPICS)) == {"one": {"same"}, "two": {"same"}}
    assert [one.diffs for one in apply_topology(brokers, TOPICS)] == [(), ()]


def test_a_broker_that_does_not_answer_is_named_and_the_other_is_done_all_the_same() -> None:
    dead, alive = ScriptedBroker(name="dead"), ScriptedBroker(name="alive")
    dead.close()
    for found in (look([dead, alive], TOPICS), apply_topology([dead, alive], TOPICS)):
        assert found[0].problem is not None
        assert found[0].problem.exit_code == 4
        assert found[1].problem is None
    assert states(look([alive], TOPICS)) == {"alive": {"same"}}


def test_nothing_is_changed_anywhere_where_one_topic_would_have_to_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, fresh = ScriptedBroker(name="wide"), ScriptedBroker(name="fresh")
    wide.ensure_topics(TOPICS)
    monkeypatch.setitem(TOPOLOGY, CALLSETS.name, replace(TOPOLOGY[CALLSETS.name], partitions=2))
    with pytest.raises(PermanentError, match="wide: vcf-callsets has 3 partitions, and the topology has 2"):
        apply_topology([fresh, wide], TOPICS)
    assert fresh.describe_topics([CALLSETS]) == {CALLSETS: None}


def test_partitions_are_raised_where_the_topology_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = ScriptedBroker()
    broker.ensure_topics(TOPICS)
    monkeypatch.setitem(TOPOLOGY, CALLSETS.name, replace(TOPOLOGY[CALLSETS.name], partitions=5))
    (done,) = apply_topology([broker], TOPICS)
    assert [(diff.topic, diff.verdict) for diff in done.diffs] == [(CALLSETS, "smaller")]
    assert len(broker.end_offsets(CALLSETS)) == 5


def test_a_broker_that_does_not_keep_what_was_applied_is_said_to() -> None:
    class Forgetful(ScriptedBroker):
        def ensure_topics(self, topics: Sequence[Topic]) -> None:
            super().ensure_topics([topic for topic in topics if topic != CALLSETS])

    (done,) = apply_topology([Forgetful()], TOPICS)
    assert done.problem is not None
    assert done.problem.code == "TOPOLOGY_NOT_KEPT"
    assert "vcf-callsets" in str(done.problem)
