"""Every file of the corpus through the whole pipeline: what is on the disk and in the stores is what the file says.

Files that are what they should be end as a callset whose numbers agree; the others end done or refused in one line.
Not here: a freshly parsed file's columns (test_values_are_what_bcftools_prints.py); made bad input (test_bad_input.py).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.domain.identity import PartitionKey, callset_id
from vcf_pipeline.domain.projections.graph_rows import is_linked, scope_of
from vcf_pipeline.domain.projections.search_rows import (
    SEARCH_ROWS,
    TRIAGE_COLUMNS,
    VARIANT_COLUMNS,
    search_rows,
)
from vcf_pipeline.domain.query import Condition
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.complete import complete_callset
from vcf_pipeline.stages.load import load_kuzu, load_lancedb
from vcf_pipeline.stages.triage import triage_callset
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.journeys.test_stream_equals_batch import parse_by_batch
from vcf_pipeline_tests.journeys.test_values_are_what_bcftools_prints import ALTERED_BY_BCFTOOLS
from vcf_pipeline_tests.oracles.bcftools import Bcftools, bcftools
from vcf_pipeline_tests.oracles.columns import compare_tables
from vcf_pipeline_tests.programs import Ended, vcf_pipeline
from vcf_pipeline_tests.vcf_text import header_text

__all__ = ["bcftools"]

WELL_MADE = ("annotated", "large", "mito", "multisample", "sv")
ODD = ("bad", "conformance", "tools", "vrs", "weird")
ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
LONG_SECONDS = 3000

A_DOZEN = [
    "annotated/bcftools__split-vep.vcf",
    "annotated/gemini__test4.vep.snpeff.vcf",
    "annotated/scout__643594.clinical.vcf.gz",
    "annotated/slivar__clinvar_20191007.vcf.gz",
    "annotated/slivar__with-bcsq.vcf",
    "annotated/vcfanno__exac.vcf.gz",
    "annotated/vcfanno__test-gnomad.vcf.gz",
    "mito/bio2zarr__chr_m_indels.vcf.gz",
    "multisample/gatk__test.tooManyAltsNoPLs.g.vcf",
    "multisample/hail__sample2_split.vcf.bgz",
    "sv/vcf2maf__test_delly.vcf",
    "sv/vcfanno__sample.vcf",
]
# One line of our own: where, what, a code, and what to do about it.
ERROR = re.compile(r"error: (?P<where>/\S.*?): expected .+, got .+ \((?P<code>[A-Z_0-9]+)\)\. \S.*")


def files_of(corpus: Path, folders: Iterable[str]) -> list[Path]:
    found = (file for folder in folders for file in (corpus / folder).rglob("*") if file.is_file())
    return sorted(file for file in found if file.name.endswith(ENDINGS))


def key_of(file: Path) -> PartitionKey:
    return PartitionKey("default", callset_id(hashlib.sha256(file.read_bytes()).hexdigest(), None))


def assert_tables_and_stores_agree(control: Control, key: PartitionKey, record: dict[str, Any]) -> None:
    """record: `records, alleles, rejected, stores` as `run --json` gives them."""
    where = (key.tenant, key.callset_id)
    variants = control.tables.read(*where, "parsed_variants", "variants")
    rejects = control.tables.read(*where, "parsed_variants", "rejects")
    assert record["records"] == variants["record_no"].n_unique() + rejects["record_no"].n_unique()
    assert record["rejected"] == rejects.height
    assert record["alleles"] == variants.height == variants["row_id"].n_unique()
    assert record["stores"] == {"lancedb": variants.height, "kuzu": rows_of_the_graph(control, key, variants)}
    expected = list(
        search_rows(
            key.callset_id,
            control.tables.frames(*where, "parsed_variants", "variants", VARIANT_COLUMNS),
            control.tables.frames(*where, "triaged_variants", "triaged", TRIAGE_COLUMNS),
        )
    )
    found = control.lancedb.search(
        key.tenant,
        [Condition("callset_id", "=", key.callset_id)],
        hidden=control.ledger.hidden_loads("lancedb", key.tenant)[1],
        columns=list(SEARCH_ROWS),
        limit=variants.height + 1,
    )
    rows = pl.concat(expected) if expected else pl.DataFrame(schema=SEARCH_ROWS)
    assert_frame_equal(found.sort("record_no", "alt_index"), rows)


def rows_of_the_graph(control: Control, key: PartitionKey, variants: pl.DataFrame) -> int:
    """How many allele rows are in its scope: all of a small callset, the linked ones of a large one."""
    if scope_of(variants.height) == "all":
        return variants.height
    triaged = control.tables.read(key.tenant, key.callset_id, "triaged_variants", "triaged")
    both = pl.concat([variants.select("gene", "impact"), triaged.select("tier", "significance")], how="horizontal")
    return both.filter(is_linked()).height


def assert_disk_says_what_bcftools_says(control: Control, key: PartitionKey, file: Path, oracle: Bcftools) -> None:
    where = (key.tenant, key.callset_id)
    manifest = control.tables.manifest(*where, "parsed_variants")
    assert manifest is not None
    genotypes = (
        control.tables.frames(*where, "parsed_variants", "genotypes") if "genotypes" in manifest.schemas else iter(())
    )
    result = compare_tables(
        *(file, oracle, parse_header(control.tables.header_text(*where))),
        control.tables.read(*where, "parsed_variants", "variants"),
        genotypes,
        records=manifest.records,
        rejected=manifest.rejected,
    )
    name = f"{file.parent.name}/{file.name}"
    altered = {column for altered_file, column in ALTERED_BY_BCFTOOLS if altered_file == name}
    assert {"pos", "ref", "alt", "qual", "filter"} <= set(result.columns)
    assert [line for line in result.differences if line.split(":")[0] not in altered] == []


@pytest.mark.corpus
def test_a_dozen_files_are_on_disk_and_in_both_stores_as_bcftools_prints_them(
    corpus: Path, bcftools: Bcftools, tmp_path: Path
) -> None:
    with Control(load_settings({}, home=tmp_path / "home")) as control:
        for name in A_DOZEN:
            record, key = through_the_stages(control, corpus / name)
            assert record["records"] > 0
            assert record["rejected"] == 0
            assert_tables_and_stores_agree(control, key, record)
            assert_disk_says_what_bcftools_says(control, key, corpus / name, bcftools)


@pytest.mark.parametrize("samples", [(), ("anna",)], ids=["sites", "sample"])
def test_a_file_without_records_is_a_callset_without_rows(tmp_path: Path, samples: tuple[str, ...]) -> None:
    file = tmp_path / "empty.vcf"
    file.write_text(header_text(info=("DP,1,Integer",), formats=("GT,1,String",), samples=samples))
    with Control(load_settings({}, home=tmp_path / "home")) as control:
        record, key = through_the_stages(control, file)
        assert record == {"records": 0, "alleles": 0, "rejected": 0, "stores": {"lancedb": 0, "kuzu": 0}}
        assert_tables_and_stores_agree(control, key, record)
        assert complete_callset(key, ledger=control.ledger, tables=control.tables)


def through_the_stages(control: Control, file: Path) -> tuple[dict[str, Any], PartitionKey]:
    """Every stage of a run, without Dagster; what `run --json` would say of it."""
    key = parse_by_batch(control, file, ReaderSettings())
    with control.ledger.lease(f"triaged_variants/{key}", wait_seconds=1) as lease:
        triage_callset(key=key, tables=control.tables, lease=lease)
    given: dict[str, Any] = {"key": key, "tables": control.tables, "ledger": control.ledger}
    stores = {
        "lancedb": load_lancedb(**given, store=control.lancedb).rows,
        "kuzu": load_kuzu(**given, store=control.kuzu).rows,
    }
    manifest = control.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    assert manifest is not None
    told = {name: getattr(manifest, name) for name in ("records", "alleles", "rejected")}
    return {**told, "stores": stores}, key


@pytest.mark.acceptance
@pytest.mark.corpus
@pytest.mark.timeout(LONG_SECONDS)
def test_every_file_of_the_five_folders_goes_through_run(
    corpus: Path, bcftools: Bcftools, tmp_path: Path, show: Callable[[str], None]
) -> None:
    files = files_of(corpus, WELL_MADE)
    ended = vcf_pipeline(tmp_path / "home", "run", *files, "--json", patience=LONG_SECONDS)
    by_key = {record["partition"]: record for record in ended.records}
    assert set(by_key) == {str(key_of(file)) for file in files}
    with Control(load_settings({}, home=tmp_path / "home")) as control:
        for file in files:
            key = key_of(file)
            record = by_key[str(key)]
            assert_tables_and_stores_agree(control, key, record)
            assert_disk_says_what_bcftools_says(control, key, file, bcftools)
            show(
                f"{file.relative_to(corpus)!s:<92} {record['records']:>8,} records {record['alleles']:>8,} alleles"
                f" {record['rejected']:>4} rejected  graph {record['stores']['kuzu']:>6,}  {record['seconds']:>6.1f} s"
            )


@pytest.mark.acceptance
@pytest.mark.corpus
@pytest.mark.timeout(LONG_SECONDS)
@pytest.mark.parametrize("folder", ODD)
def test_no_odd_file_ends_otherwise_than_done_or_refused_in_one_line(
    corpus: Path, tmp_path: Path, folder: str, show: Callable[[str], None]
) -> None:
    files = files_of(corpus, [folder])
    home = tmp_path / "home"
    ended = vcf_pipeline(home, "run", *files, "--json", check=False, patience=LONG_SECONDS)
    done = {record["partition"]: record for record in ended.records}
    refused = refusals(ended, files)
    assert ended.code == (3 if refused else 0)
    for file in files:
        assert (str(key_of(file)) in done) != (file in refused), file
    show_outcomes(corpus, folder, files, done, refused, show)
    with Control(load_settings({}, home=home)) as control:
        for file in files:
            if file in refused:
                assert_nothing_is_left(control, key_of(file), refused[file])
            else:
                assert_tables_and_stores_agree(control, key_of(file), done[str(key_of(file))])


def refusals(ended: Ended, files: list[Path]) -> dict[Path, str]:
    """The code by file, of stderr's lines; a line that is no such sentence, or of no file, fails."""
    assert "Traceback" not in ended.err
    codes: dict[Path, str] = {}
    for line in ended.err.splitlines():
        if not line.startswith("error:"):
            continue
        sentence = ERROR.fullmatch(line)
        assert sentence is not None, line
        # a name may be the beginning of another one
        named = max((file for file in files if str(file) in sentence["where"]), key=lambda file: len(str(file)))
        assert named not in codes, line
        codes[named] = sentence["code"]
    return codes


def assert_nothing_is_left(control: Control, key: PartitionKey, code: str) -> None:
    """Of a refused file: a row of the ledger that says why, and no more."""
    callset = control.ledger.callset(key)
    assert callset is not None
    assert (callset.state, callset.code) == ("refused", code)
    folder = control.tables.root / key.tenant / key.callset_id
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert control.ledger.announcement(key) is None
    for store in ("lancedb", "kuzu"):
        assert control.ledger.current_load(store, key) is None


def show_outcomes(
    corpus: Path,
    folder: str,
    files: list[Path],
    done: dict[str, dict[str, Any]],
    refused: dict[Path, str],
    show: Callable[[str], None],
) -> None:
    counts = Counter(refused.values())
    aside = sum(record["rejected"] > 0 for record in done.values())
    told = ", ".join(f"{code} {count}" for code, count in counts.most_common())
    show(
        f"{folder}: {len(files)} files, {len(files) - len(refused)} done ({aside} with rejects), {len(refused)} refused"
    )
    show(f"  {told or 'none refused'}")
    for file, code in sorted(refused.items()):
        show(f"    {code:<18} {file.relative_to(corpus)}")


@pytest.fixture
def show(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """A line on the terminal, of a test that passes too."""

    def line(text: str) -> None:
        with capfd.disabled():
            print(f"\n{text}", end="", flush=True)

    return line
