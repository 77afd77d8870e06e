"""`publish`: from standard input, with a receipt, following a folder."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vcf_pipeline.cli import publish
from vcf_pipeline.cli.meter import STOP_ASKED
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable, BrokerUnfit
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import SPOOL_PATH
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages import receipts
from vcf_pipeline.testing.iggy_stub import IggyStub
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.adapters.broker.kafka_server import free_ports
from vcf_pipeline_tests.cli.conftest import Cli
from vcf_pipeline_tests.stages.published import made_vcf


def _pipe(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))


def test_standard_input_is_the_same_callset_as_its_file_and_leaves_nothing_behind(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(made_vcf(tmp_path, records=20))
    _pipe(file.read_bytes(), monkeypatch)
    (piped,) = cli("publish", "-", "--label", "from a pipe", "--json").records
    assert (piped["label"], piped["records"], piped["already_published"]) == ("from a pipe", 20, False)
    assert list((home / "incoming").iterdir()) == []
    (again,) = cli("publish", file, "--json").records
    assert (again["partition"], again["already_published"]) == (piped["partition"], True)


def test_standard_input_that_was_cut_is_refused_under_its_own_name_and_a_killed_ones_file_is_swept(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(made_vcf(tmp_path, records=2000)).read_bytes()
    (home / "incoming").mkdir(parents=True)
    (home / "incoming" / "stdin-of-a-killed-one").write_bytes(whole)
    _pipe(whole[: whole.rindex(b"\t")], monkeypatch)
    ended = cli("publish", "-", "--json")
    assert (ended.code, ended.records) == (3, [])
    line = whole.count(b"\n")
    assert f"error: standard input line {line}: expected a last line that is whole" in ended.err
    assert "incoming" not in ended.err
    assert list((home / "incoming").iterdir()) == []
    _pipe(whole, monkeypatch)
    (record,) = cli("publish", "-", "--json").records
    assert (record["label"], record["records"]) == ("standard input", 2000)


def test_standard_input_announces_no_address_since_none_stays(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pipe(Path(made_vcf(tmp_path, records=20)).read_bytes(), monkeypatch)
    (record,) = cli("publish", "-", "--json").records
    with Control(load_settings({}, home=home)) as control:
        announced = control.ledger.announcement(PartitionKey.parse(record["partition"]))
        assert announced is not None
        assert announced.uri == ""


def test_a_receipt_says_that_what_was_sent_is_stored_and_searchable(cli: Cli, tmp_path: Path) -> None:
    file = made_vcf(tmp_path, records=20)
    assert cli("run", file).code == 0
    ended = cli("publish", file, "--wait", "--timeout", "20", "--json")
    sent, receipt = ended.records
    assert ended.code == 0
    assert receipt["whole"]
    assert sent["alleles"] == receipt["sent"] == receipt["stored"] == receipt["searchable"]
    assert sent["digest"] == receipt["digest_stored"]


def test_a_receipt_that_does_not_come_in_time_is_exit_1_and_says_what_to_look_at(cli: Cli, tmp_path: Path) -> None:
    ended = cli("publish", made_vcf(tmp_path, records=20), "--wait", "--timeout", "0", "--json")
    assert (ended.code, ended.records[1]["receipt"]) == (1, "waiting")
    assert "is the daemon running?" in ended.err


@pytest.fixture
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iggy is configured, and nobody is at its address."""
    (port,) = free_ports(1)
    monkeypatch.setenv("VCF_PIPELINE_IGGY__URL", f"iggy://user:word@127.0.0.1:{port}")


def test_with_no_broker_left_the_home_of_control_has_its_callset_run_from_the_file(
    cli: Cli, home: Path, tmp_path: Path, no_broker: None
) -> None:
    file = made_vcf(tmp_path, records=20)
    with Control(load_settings({}, home=home)) as control:
        _ = control.ledger  # where there is one, this home is control's
    ended = cli("publish", file, "--json")
    (sent,) = ended.records
    assert (ended.code, sent["spooled"], sent["registered_for_batch"]) == (0, True, True)
    with Control(load_settings({}, home=home)) as control:
        (callset,) = control.ledger.callsets()
    assert (str(callset.key), callset.path, callset.state) == (sent["partition"], SPOOL_PATH, "registered")


def test_a_receipt_of_what_stays_in_the_spool_is_exit_4_and_says_how_it_goes_on(
    cli: Cli, home: Path, tmp_path: Path, no_broker: None
) -> None:
    ended = cli("publish", made_vcf(tmp_path, records=20), "--wait", "--timeout", "0.1", "--json")
    sent, receipt = ended.records
    assert (ended.code, sent["spooled"], receipt["receipt"], receipt["whole"]) == (4, True, "spooled", False)
    assert receipt["next"] == "vcf-pipeline spool drain --follow"
    assert receipt["reason"]
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert sent["partition"] in line
    assert "It is kept" in line
    assert receipt["next"] in line
    with Control(load_settings({}, home=home)) as control:
        assert control.spool.has_announced()


def test_what_was_spooled_and_is_sent_on_while_it_is_waited_for_leaves_the_spool(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = IggyStub()
    stub.start()
    monkeypatch.setenv("VCF_PIPELINE_IGGY__URL", stub.url)
    monkeypatch.setenv("VCF_PIPELINE_IGGY__HTTP_URL", stub.http_url)
    stub.kill()
    really = receipts.receipts

    def back_now(*given: Any, **named: Any) -> Iterator[receipts.Receipt]:
        stub.start()
        return really(*given, **named)

    monkeypatch.setattr(receipts, "receipts", back_now)
    try:
        ended = cli("publish", made_vcf(tmp_path, records=20), "--wait", "--timeout", "2", "--json")
    finally:
        stub.kill()
    sent, receipt = ended.records
    assert (sent["spooled"], receipt["receipt"]) == (True, "waiting")  # for a daemon, which nobody started
    assert (ended.code, receipt["next"]) == (1, None)
    with Control(load_settings({}, home=home)) as control:
        assert not control.spool.has_announced()


def test_what_was_spooled_and_is_done_by_batch_has_its_receipt(cli: Cli, tmp_path: Path, no_broker: None) -> None:
    file = made_vcf(tmp_path, records=20)
    assert cli("run", file).code == 0
    ended = cli("publish", file, "--wait", "--timeout", "20", "--json")
    sent, receipt = ended.records
    assert (ended.code, sent["spooled"], receipt["whole"]) == (0, True, True)


@pytest.mark.parametrize(
    "words",
    [[], ["--follow", "/nowhere/at/all"], ["-", "-"], ["--follow", ".", "--wait"], ["--follow", ".", "--label", "x"]],
    ids=str,
)
def test_nothing_to_publish_or_two_things_at_once_is_a_usage_error(cli: Cli, words: list[str]) -> None:
    ended = cli("publish", *words)
    assert (ended.code, ended.out) == (2, "")


def test_a_followed_file_that_a_broker_or_a_setting_kept_from_being_published_is_tried_again(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    made = made_vcf(folder, records=20)
    os.utime(made, (time.time() - 60,) * 2)
    monkeypatch.setattr(publish, "FOLLOW_RETRY_S", 0.0)
    about = {"where": "iggy", "expected": "another", "got": "this"}
    faults = [BadSetting(**about, code="LOGIN_REFUSED"), BrokerUnfit(**about), BrokerUnavailable(**about), OSError("?")]
    really = publish.published

    def published(*given: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop(0)
        return really(*given, **named)

    class Stop(threading.Event):
        polls = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.polls += 1
            return self.polls >= 6

    monkeypatch.setattr(publish, "published", published)
    monkeypatch.setattr(publish, "STOP_ASKED", Stop())
    ended = cli("publish", "--follow", folder, "--json")
    assert ended.err.count("error: ") == 4
    assert [record["records"] for record in ended.records] == [20]


def test_a_followed_folder_is_published_as_files_settle_each_once_until_it_is_stopped(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    old = time.time() - 60
    made = Path(made_vcf(folder, records=20))
    broken = folder / "broken.vcf"
    broken.write_text("this is no VCF\n")
    for file in (made, broken):
        os.utime(file, (old, old))
    (folder / "growing.vcf").write_text("##fileformat=VCFv4.2\n")
    os.utime(folder / "growing.vcf", (old + 3600, old + 3600))
    monkeypatch.setattr(publish, "FOLLOW_POLL_S", 0.05)
    polls = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            polls.append(timeout)
            return len(polls) >= 3

    monkeypatch.setattr(publish, "STOP_ASKED", Stop())
    ended = cli("publish", "--follow", folder, "--json")
    assert ended.code == 130
    assert "stopped: what was published stays" in ended.err
    assert [record["records"] for record in ended.records] == [20]
    assert ended.err.count("broken.vcf") == 1
    assert "growing" not in ended.err
    assert not STOP_ASKED.is_set()
    polls.clear()
    assert cli("publish", "--follow", folder, "--json").records == []
