"""Stream and batch write equal tables, file by file, on the embedded log, a real Kafka and a real Iggy.

Not here: what a table should hold (test_every_file.py); the same on the embedded log in detail
(test_stream_equals_batch.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.domain.errors import PipelineError
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.adapters.broker.real_brokers import Between
from vcf_pipeline_tests.journeys.test_every_file import A_DOZEN, ODD, WELL_MADE, files_of, key_of, show
from vcf_pipeline_tests.journeys.test_stream_equals_batch import TABLES, parse_by_batch, parse_by_stream
from vcf_pipeline_tests.programs import answered, dagster_daemon, states, vcf_pipeline, wait_until

__all__ = ["show"]

pytestmark = pytest.mark.corpus
BROKERS = ["embedded", "kafka", "iggy"]
LONG_SECONDS = 3000
PECULIAR = [
    "annotated/scout__643594.clinical.vcf.gz",
    "annotated/slivar__with-bcsq.vcf",
    "bad/gt_triploid.vcf",
    "bad/many_alts.vcf",
    "bad/utf8.vcf",
    "large/hap.py__hc.vcf.gz",
    "mito/bio2zarr__chr_m_indels.vcf.gz",
    "multisample/gatk__test.tooManyAltsNoPLs.g.vcf",
    "multisample/hail__sample2_split.vcf.bgz",
    "sv/vcf2maf__test_delly.vcf",
    "sv/vcfanno__sample.vcf",
]


@pytest.fixture(params=BROKERS)
def between(request: pytest.FixtureRequest, real: Callable[[str], Between]) -> Between:
    broker: Between = real(request.param)
    return broker


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batched]:
    """One for all brokers: a file is parsed once."""
    with Control(load_settings({}, home=tmp_path_factory.mktemp("batch") / "home")) as control:
        yield Batched(control)


class Batched:
    """What batch makes of a file: its key, or the code of the refusal."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._found: dict[Path, PartitionKey | str] = {}

    def of(self, file: Path) -> PartitionKey | str:
        if file not in self._found:
            try:
                self._found[file] = parse_by_batch(self.control, file)
            except PipelineError as refusal:
                self._found[file] = refusal.code
        return self._found[file]


def streamed_as_batched(streamed: Control, batched: Batched, file: Path, broker: str) -> str:
    """`equal`, or the code with which both refuse it. Fails where they differ, or another broker was used."""
    expected = batched.of(file)
    if isinstance(expected, str):
        with pytest.raises(PipelineError) as refused:
            parse_by_stream(streamed, file)
        assert refused.value.code == expected
        assert streamed.ledger.announcement(key_of(file)) is None
        return expected
    key = parse_by_stream(streamed, file)
    assert key == expected
    announced = streamed.ledger.announcement(key)
    assert announced is not None
    assert {segment.broker for segment in announced.segments} == {broker}
    where = (key.tenant, key.callset_id, "parsed_variants")
    ours, theirs = streamed.tables.manifest(*where), batched.control.tables.manifest(*where)
    assert ours is not None
    assert theirs is not None
    assert ours.digest == theirs.digest == announced.digest
    for table in TABLES:
        assert (table in ours.schemas) == (table in theirs.schemas)
        if table in theirs.schemas:
            assert_frame_equal(streamed.tables.read(*where, table), batched.control.tables.read(*where, table))
    return "equal"


def test_peculiar_files_come_through_as_batch_writes_them(
    corpus: Path, between: Between, batched: Batched, tmp_path: Path
) -> None:
    with Control(load_settings(between.settings, home=tmp_path / "home")) as streamed:
        for name in PECULIAR:
            assert streamed_as_batched(streamed, batched, corpus / name, between.name) == "equal", name
        refused = streamed_as_batched(streamed, batched, corpus / "bad/latin1.vcf", between.name)
        assert refused == "TOO_MANY_REJECTS"


@pytest.mark.acceptance
@pytest.mark.timeout(LONG_SECONDS)
def test_every_file_that_run_accepts_comes_through_as_batch_writes_it(
    corpus: Path, between: Between, batched: Batched, tmp_path: Path, show: Callable[[str], None]
) -> None:
    started, cpu = time.monotonic(), time.process_time()
    by_key = {key_of(file): file for file in files_of(corpus, (*WELL_MADE, *ODD))}  # the same bytes are one callset
    ends: Counter[str] = Counter()
    with Control(load_settings(between.settings, home=tmp_path / "home")) as streamed:
        for file in by_key.values():
            ends[streamed_as_batched(streamed, batched, file, between.name)] += 1
    assert ends["equal"] > len(by_key) // 2
    refused = ", ".join(f"{code} {count}" for code, count in ends.most_common() if code != "equal")
    show(
        f"{between.name}: {ends['equal']} callsets of {len(by_key)} equal batch, digests and frames; refused by both:"
        f" {refused}; {time.monotonic() - started:.0f} s, {time.process_time() - cpu:.0f} s of CPU"
    )


@pytest.mark.acceptance
@pytest.mark.timeout(LONG_SECONDS)
def test_a_dozen_files_go_through_dagster_as_run_writes_them(
    corpus: Path, between: Between, tmp_path: Path, show: Callable[[str], None]
) -> None:
    """A sender without a ledger where there is a broker elsewhere, a daemon with its sensors, and `run` beside them."""
    control, batch = tmp_path / "control" / "home", tmp_path / "batch" / "home"
    sender = control if between.name == "embedded" else tmp_path / "sender" / "home"
    for home in {sender, control, batch}:
        home.parent.mkdir()
    files = [corpus / name for name in A_DOZEN]
    started = time.monotonic()
    with dagster_daemon(control, tmp_path / "daemon.log", **between.settings):
        published = vcf_pipeline(sender, "publish", *files, "--json", patience=600, **between.settings).records
        keys = {record["partition"] for record in published}
        assert len(keys) == len(files)
        wait_until(
            lambda: {key for key, state in states(control).items() if state == "done"} == keys,
            f"all done; see {tmp_path / 'daemon.log'}",
            600,
        )
    took = time.monotonic() - started
    assert {segment["broker"] for record in published for segment in record["segments"]} == {between.name}
    expected = vcf_pipeline(batch, "run", *files, "--json", patience=600).records
    found = answered(control, "callsets", "list")
    assert {one["partition"]: one["digest"] for one in found} == {one["partition"]: one["digest"] for one in expected}
    for home in (control, batch):
        rows = vcf_pipeline(home, "query", "variants", "--limit", "1000000", "--json", patience=600).records
        assert len(rows) == sum(one["alleles"] for one in expected)
    show(f"{between.name}: {len(files)} files published and run by sensors in {took:.0f} s, as `run` has them")
