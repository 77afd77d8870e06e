"""`bench`: each of its measurements on the embedded log, small; what it prints is what its JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from vcf_pipeline.cli.app import main


def benched(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> dict[str, Any]:
    assert main(["--json", "--home", str(home), "bench", *words]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    record: dict[str, Any] = json.loads(line)
    ElementTree.parse(record["plot"])  # noqa: S314 - our own
    assert Path(record["plot"]).is_relative_to(home)
    assert not (home / "log").exists()
    assert record["machine"]["cpus"] >= 1
    return record


def test_stream_tells_rates_latencies_and_codecs(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    record = benched(capsys, tmp_path, "stream", "--records", "3000")
    assert (record["records"], record["variants"], record["broker"]) == (3000, 3000, "embedded")
    assert min(record[name] for name in record if name.endswith("_per_s")) > 0
    assert record["latency_ms"]["1024"]["p50"] <= record["latency_ms"]["1024"]["p99"]
    sizes = {each["codec"]: each["bytes_per_variant"] for each in record["codecs"]}
    assert sizes["zstd 9"] <= sizes["zstd 1"] < sizes["lz4"] < sizes["none"]


def test_load_runs_every_stream(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    record = benched(capsys, tmp_path, "load", "--concurrent-streams", "3", "--records", "500")
    assert (record["streams"], record["failed"], record["variants"]) == (3, 0, 1500)
    assert len(record["streams_by_seconds"]) == 3


def test_load_of_a_real_file_publishes_it_once_for_each_stream(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    source = Path(__file__).parent.parent / "data" / "slivar__clinvar_20191007.vcf.gz"
    record = benched(capsys, tmp_path, "load", "--concurrent-streams", "2", "--records", "100", "--source", str(source))
    assert record["failed"] == 0
    assert record["variants"] >= 2 * 100 - 100
    assert record["source"] == str(source)


def test_memory_is_sampled_while_a_broker_stalls(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    record = benched(capsys, tmp_path, "memory", "--records", "2000", "--stall-seconds", "0.3")
    assert record["seconds"] >= 0.3
    assert record["peak_mb"] >= record["start_mb"] > 0
    assert len(record["samples"]) > 3


def test_a_broker_that_is_not_configured_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["--home", str(tmp_path), "bench", "stream", "--broker", "kafka"]) == 2
    assert "VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS" in capsys.readouterr().err
