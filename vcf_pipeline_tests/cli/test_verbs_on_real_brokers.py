"""`topology`, `dlq`, `publish` and `spool` against a real Kafka and a real Iggy, as against the embedded log.

Not here: each option of theirs (test_topology.py, test_dlq.py, test_publish.py), on the embedded log.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.receive import open_received
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.adapters.broker.real_brokers import Between
from vcf_pipeline_tests.benchmarks.reader_rate import repeated
from vcf_pipeline_tests.cli.conftest import Cli
from vcf_pipeline_tests.programs import BIN, environment, wait_until

POISON = b"\xffnobody reads this"


@pytest.fixture(params=["kafka", "iggy"])
def between(
    request: pytest.FixtureRequest, real: Callable[[str], Between], home: Path, monkeypatch: pytest.MonkeyPatch
) -> Between:
    """A broker with nothing of ours, and the settings that name it."""
    broker = real(request.param)
    for name, text in broker.settings.items():
        monkeypatch.setenv(name, text)
    return broker


@pytest.fixture
def control(between: Between) -> Iterator[Control]:
    with Control(load_settings()) as control:
        yield control


def test_topics_are_missing_then_made_then_as_they_should_be(cli: Cli, between: Between) -> None:
    before = cli("topology", "diff", "--json")
    on_broker = [record for record in before.records if record["broker"] == between.name]
    assert before.code == 1
    assert {record["state"] for record in on_broker} == {"missing"}
    assert "vcf-callsets" in {record["topic"] for record in on_broker}
    assert {record["changed"] for record in cli("topology", "apply", "--json").records} == {"created"}
    assert cli("topology", "diff").code == 0
    again = cli("topology", "apply")
    assert (again.code, again.out) == (0, "")
    shown = [record for record in cli("topology", "show", "--json").records if record["broker"] == between.name]
    topics = {record["topic"]: record for record in shown}
    assert topics["default.vcf-variants"]["partitions"] == 10
    assert topics["vcf-callsets"]["retention_s"] == 30 * 86_400


def test_a_dead_letter_is_listed_shown_and_replayed_to_where_it_came_from(
    cli: Cli, between: Between, control: Control
) -> None:
    broker = next(one for one in control.coordinator.brokers if one.name == between.name)
    broker.ensure_topics(CONTROL)
    (offset,) = broker.append(CALLSETS, 1, [POISON])
    origin = Place(broker.name, CALLSETS.full_name, broker.incarnation(CALLSETS), 1, offset)
    control.coordinator.dead_letter(POISON, origin=str(origin), reason="no map", code="UNREADABLE_MESSAGE")
    (record,) = cli("dlq", "list", "--topic", "vcf-callsets", "--json").records
    assert (record["origin"], record["reason"]) == (str(origin), "no map")
    assert "nobody reads" in cli("dlq", "show", record["letter"]).out
    end = broker.end_offsets(CALLSETS)[1]
    assert cli("dlq", "replay", record["letter"], "--dry-run").code == 0
    assert broker.end_offsets(CALLSETS)[1] == end
    assert cli("dlq", "replay", record["letter"]).code == 0
    last = broker.end_offsets(CALLSETS)[1] - 1
    assert [message.body for message in broker.read(CALLSETS, 1, end, last, 1 << 20)] == [POISON]
    assert cli("dlq", "list", "--json").records == []


def test_a_publish_that_is_killed_goes_on_and_nothing_comes_twice(
    cli: Cli, between: Between, control: Control, home: Path, corpus: Path
) -> None:
    file = home.parent / "long.vcf.gz"
    expected = repeated(corpus / "large" / "hap.py__hc.vcf.gz", file, 500_000, sites=False)
    for tenant in ("first", "second", "third", "fourth", "fifth"):  # a busy machine may see it end before the kill
        words = [BIN / "vcf-pipeline", "publish", file, "--json", "--tenant", tenant]
        sender = home.parent / tenant
        sending = subprocess.Popen(words, env=environment(sender, **between.settings), stdout=subprocess.DEVNULL)
        states = sender / "publish"
        wait_until(
            lambda sending=sending, states=states: (  # type: ignore[misc]
                sending.poll() is not None or any(path.stat().st_size for path in states.rglob("*") if path.is_file())
            ),
            "something acknowledged",
        )
        sending.kill()
        if sending.wait(10) == -signal.SIGKILL:
            break
    assert sending.returncode == -signal.SIGKILL, "it was always quicker than the kill: the file is too short"
    done = subprocess.run(
        words, env=environment(sender, **between.settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    announced: dict[str, Announcement] = {}
    cursor = Cursor.from_json(None)
    while messages := heard(control.coordinator.wait([CALLSETS], cursor, 0.5 if announced else 10.0)):
        cursor = cursor.after(message.place for message in messages)
        events = [message.event for message in messages if message.event is not None]
        announced |= {event.publish_id: event for event in events if event.tenant == tenant}
    (event,) = announced.values()
    with open_received(event, control.coordinator) as source:
        records = sum(batch.n_records for batch in source.batches())
    assert records == event.records == expected


def test_with_the_broker_gone_a_file_waits_in_the_spool_until_it_is_back(
    cli: Cli, between: Between, data: Path
) -> None:
    trio = data / "scout__643594.clinical.vcf.gz"
    between.server.kill()
    try:
        kept = cli("publish", trio, "--json")
        assert (kept.code, kept.records[0]["spooled"]) == (0, True)
        assert cli("spool", "status", "--json").records[0]["publications"] != []
        assert cli("spool", "drain").code == 4
    finally:
        between.server.start()
    wait_until(lambda: cli("spool", "drain").code == 0, "the broker is back and has taken it")
    assert cli("spool", "status", "--json").records[0]["publications"] == []
