"""`dlq`: what a person and a script see of dead letters."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcf_pipeline.domain.stream.cursor import Place
from vcf_pipeline.domain.stream.topics import CALLSETS, CONTROL
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.cli.conftest import Cli

POISON = b"\xffnobody reads \x1b[2J this"


@pytest.fixture
def control(home: Path) -> Iterator[Control]:
    with Control(load_settings()) as control:
        yield control


@pytest.fixture
def poison(control: Control) -> Place:
    """A message in the embedded log that was found to be unreadable."""
    (broker,) = control.coordinator.brokers
    broker.ensure_topics(CONTROL)
    (offset,) = broker.append(CALLSETS, 1, [POISON])
    place = Place(broker.name, CALLSETS.full_name, broker.incarnation(CALLSETS), 1, offset)
    control.coordinator.dead_letter(POISON, origin=str(place), reason="no map", code="UNREADABLE_MESSAGE", tenant="lab")
    return place


def lying(control: Control) -> int:
    (broker,) = control.coordinator.brokers
    return broker.end_offsets(CALLSETS)[1]


def test_none_is_said_on_stderr_alone(cli: Cli) -> None:
    ended = cli("dlq", "list")
    assert (ended.code, ended.out, ended.err) == (0, "", "no open dead letters.\n")
    assert cli("dlq", "list", "--json").out == ""


def test_a_letter_is_listed_with_origin_reason_and_attempts(cli: Cli, poison: Place) -> None:
    (record,) = cli("dlq", "list", "--json").records
    assert (record["origin"], record["topic"], record["tenant"]) == (str(poison), "vcf-callsets", "lab")
    assert (record["code"], record["reason"], record["attempts"]) == ("UNREADABLE_MESSAGE", "no map", 1)
    table = cli("dlq", "list").out
    assert record["letter"] in table
    assert "no map" in table


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--topic", "vcf-callsets"], 1),
        (["--topic", "cache-events"], 0),
        (["--reason", "UNREADABLE"], 1),
        (["--since", "1h"], 1),
        (["--until", "1h"], 0),
        (["--since", "2020-01-01", "--until", "2100-01-01T00:00"], 1),
        (["--tenant", "lab"], 1),
        (["--tenant", "other"], 0),
        (["--callset", "00"], 0),
        (["--state", "all"], 1),
        (["--state", "discarded"], 0),
    ],
)
def test_filters_narrow_the_list(cli: Cli, poison: Place, words: list[str], count: int) -> None:
    ended = cli("dlq", "list", "--json", *words)
    assert (ended.code, len(ended.records)) == (0, count)


def test_a_time_that_is_none_and_a_replay_of_nothing_in_particular_are_usage_errors(cli: Cli, poison: Place) -> None:
    assert cli("dlq", "list", "--since", "tomorrow").code == 2
    for verb in ("replay", "discard"):
        ended = cli("dlq", verb)
        assert ended.code == 2
        assert "--all" in ended.err
    assert cli("dlq", "show", "nothing").code == 2


def test_a_letter_is_shown_with_its_message_and_without_what_a_terminal_obeys(cli: Cli, poison: Place) -> None:
    letter = cli("dlq", "list", "--json").records[0]["letter"]
    (record,) = cli("dlq", "show", letter[:6], "--json").records
    assert base64.b64decode(record["body_base64"]) == POISON
    shown = cli("dlq", "show", letter).out
    assert "nobody reads" in shown
    assert "\x1b" not in shown


def test_replaying_sends_it_back_and_a_dry_run_only_says_so(cli: Cli, poison: Place, control: Control) -> None:
    would = cli("dlq", "replay", "--topic", "vcf-callsets", "--dry-run", "--json")
    assert (would.code, would.records[0]["action"], lying(control)) == (0, "would be replayed", 1)
    assert "will come back" in would.err
    done = cli("dlq", "replay", "--all", "--json")
    assert (done.code, done.records[0]["action"], done.records[0]["segment"]["partition"]) == (0, "replayed", 1)
    assert lying(control) == 2
    assert cli("dlq", "replay", "--all").err.endswith("no dead letter is meant by that.\n")
    again = cli("dlq", "replay", done.records[0]["letter"], "--json")
    assert (again.code, lying(control)) == (0, 3)
    (record,) = cli("dlq", "list", "--state", "replayed", "--json").records
    assert (record["replays"], record["attempts"]) == (2, 1)


def test_discarding_lays_it_aside_and_a_dry_run_only_says_so(cli: Cli, poison: Place) -> None:
    assert cli("dlq", "discard", "--all", "--dry-run").out.startswith("would be discarded")
    assert len(cli("dlq", "list", "--json").records) == 1
    assert cli("dlq", "discard", "--all").code == 0
    assert cli("dlq", "list", "--json").records == []
    assert len(cli("dlq", "list", "--state", "discarded", "--json").records) == 1
