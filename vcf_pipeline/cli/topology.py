"""`topology apply|show|diff`: the topics on every broker that is configured, against the table they are made from.

Not here: what is compared (domain/stream/topology_diff.py), what is done about it (stages/topology.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vcf_pipeline.cli.output import Call, exit_code_of, one_line, stderr_line, table_lines, verb, verb_group

if TYPE_CHECKING:
    from vcf_pipeline.domain.stream.topics import Topic
    from vcf_pipeline.domain.stream.topology_diff import TopicDiff
    from vcf_pipeline.stages.topology import BrokerTopology
    from vcf_pipeline.wiring import Control

app = verb_group("The topics on every configured broker: make them, show them, compare them with the topology.")
_DAY_S = 86_400
HEADS = ("broker", "topic", "partitions", "kept", "copies", "state")


@app.command("show")
@verb
def show(call: Call) -> int:
    """Show every topic as each broker has it, for every tenant, or for --tenant alone."""
    from vcf_pipeline.stages.topology import look
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        found = look(control.coordinator.brokers, _topics(call, control))
    _print(call, [diff for one in found for diff in one.diffs])
    return _told(found)


@app.command("diff")
@verb
def diff(call: Call) -> int:
    """Show what `apply` would change or refuse. Exits 0 where there is nothing, 1 where there is something."""
    from vcf_pipeline.stages.topology import look
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        found = look(control.coordinator.brokers, _topics(call, control))
    differing = [diff for one in found for diff in one.diffs if diff.verdict != "same"]
    _print(call, differing)
    if not differing and not any(one.problem for one in found):
        stderr_line("every broker is as the topology says.")
    return max(_told(found), int(bool(differing)))


@app.command("apply")
@verb
def apply(call: Call) -> int:
    """Create missing topics, raise partitions and retention. Idempotent; never makes anything smaller."""
    from vcf_pipeline.stages.topology import apply_topology
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        done = apply_topology(control.coordinator.brokers, _topics(call, control))
    changed = [diff for one in done if one.problem is None for diff in one.diffs]
    for one in changed:
        how = "created" if one.verdict == "missing" else "raised"
        call.emit(
            {**record_of(one), "changed": how},
            [f"{how}  {one.broker}  {one.topic.full_name}  ({', '.join(one.says)})"],
        )
    if not changed and not any(one.problem for one in done):
        stderr_line("nothing to do: every broker is as the topology says.")
    return _told(done)


def _topics(call: Call, control: Control) -> list[Topic]:
    """--tenant names one, so that a machine without the ledger can ask too; else every tenant that is known."""
    from vcf_pipeline.stages.topology import wanted_topics

    tenant = control.settings.tenant
    if call.tenant is not None:
        return wanted_topics([tenant])
    return wanted_topics(sorted({tenant, *control.ledger.tenants()}))


def _print(call: Call, diffs: Sequence[TopicDiff]) -> None:
    if call.json:
        for one in diffs:
            call.emit(record_of(one))
        return
    if diffs:
        call.emit({}, table_lines(HEADS, [_row(one) for one in diffs], right=("partitions", "copies")))


def record_of(diff: TopicDiff) -> dict[str, Any]:
    """kept_s: null where it is kept for ever, and where there is no topic."""
    found = diff.found
    return {
        "broker": diff.broker,
        "topic": diff.topic.full_name,
        "state": diff.verdict,
        "partitions": found and found.partitions,
        "retention_s": found and found.retention_s,
        "replication": found and found.replication,
        "durable": None if found is None else not found.not_durable,
        "wanted": {"partitions": diff.topic.rule.partitions, "retention_s": diff.topic.rule.retention_s},
        "differences": list(diff.says),
    }


def _row(diff: TopicDiff) -> tuple[object, ...]:
    found = diff.found
    said = diff.verdict if diff.verdict == "same" else f"{diff.verdict}: {', '.join(diff.says)}"
    if found is None:
        return (diff.broker, diff.topic.full_name, "-", "-", "-", said)
    kept = "for ever" if found.retention_s is None else f"{found.retention_s / _DAY_S:g} days"
    return (diff.broker, diff.topic.full_name, found.partitions, kept, found.replication, said)


def _told(found: Sequence[BrokerTopology]) -> int:
    """Say which brokers did not answer; the worst exit code."""
    worst = 0
    for one in found:
        if one.problem is not None:
            stderr_line(f"error: {one.broker}: {one_line(str(one.problem))}")
            worst = max(worst, exit_code_of(one.problem))
    return worst
