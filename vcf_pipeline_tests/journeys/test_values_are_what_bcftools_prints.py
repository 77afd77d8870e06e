"""Real files, read by either engine, beside what bcftools prints of them, column by column.

Not here: made files with one peculiarity each (domain/vcf), which files are refused (adapters/vcf_files).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.oracles.bcftools import Bcftools, BcftoolsError, bcftools
from vcf_pipeline_tests.oracles.columns import compare

__all__ = ["bcftools"]

BCF = "large/hap.py__pg-hg38.bcf"
"""Only htslib reads it, so there is no second engine to compare with."""

QUICK = [
    "annotated/annonars__gnomad-exomes.X.vcf.bgz",
    "annotated/bcftools__split-vep.vcf",
    "annotated/clinvar__clinvar_alleles_example_750_rows.single.b38.vcf",
    "annotated/gatk__regressionTestHg19Large_expected.vcf",
    "annotated/gemini__test4.vep.snpeff.vcf",
    "annotated/scout__643594.clinical.vcf.gz",
    "annotated/slivar__ashk-trio.vcf.gz",
    "annotated/slivar__clinvar_20191007.vcf.gz",
    "annotated/slivar__with-bcsq.vcf",
    "annotated/vcfanno__exac.vcf.gz",
    "annotated/vcfanno__test-gnomad.vcf.gz",
    BCF,
    "mito/bio2zarr__chr_m_indels.vcf.gz",
    "multisample/gatk__test.tooManyAltsNoPLs.g.vcf",
    "multisample/hail__sample2_split.vcf.bgz",
    "sv/vcf2maf__test_delly.vcf",
    "sv/vcfanno__sample.vcf",
]
LONG = [
    "large/bio2zarr__NA12878.prod.chr20snippet.g.vcf.gz",
    "large/hap.py__hc.vcf.gz",
    "large/hap.py__performance.vcf.gz",
    "multisample/opencga__10k.chr22.phase3_shapeit2_mvncall_integrated_v5.20130502.genotypes.vcf.gz",
]
EVERY = [*QUICK, *(pytest.param(name, marks=pytest.mark.acceptance) for name in LONG)]

ALTERED_BY_BCFTOOLS = {
    ("annotated/scout__643594.clinical.vcf.gz", "info_CADD"): (
        "declared Integer, holds reals such as 2.444; htslib keeps the digits before the point, we promote"
    ),
}
"""(file, column) → why bcftools' value is not the file's. Nothing else may differ, and each of these does."""

ALTERED_BY_HTSLIB = {
    ("annotated/scout__643594.clinical.vcf.gz", "info_CADD"): "as bcftools: an Integer that holds reals",
    ("annotated/scout__643594.clinical.vcf.gz", "info_raw"): "kept beside defective values, in htslib's writing",
}
"""(file, column) → why the engine cyvcf2 cannot give the file's value: the file is not a valid one there."""


@pytest.mark.corpus
@pytest.mark.parametrize("name", EVERY)
def test_core_columns_info_and_gt_are_what_bcftools_prints(corpus: Path, bcftools: Bcftools, name: str) -> None:
    result = compare(corpus / name, bcftools)
    assert result.records > 0
    assert result.rejected == 0
    assert {"pos", "ref", "alt", "qual", "filter"} <= set(result.columns)
    altered = {column for file, column in ALTERED_BY_BCFTOOLS if file == name}
    unexpected = [line for line in result.differences if line.split(":")[0] not in altered]
    assert unexpected == []
    assert {line.split(":")[0] for line in result.differences} == altered


@pytest.mark.acceptance
@pytest.mark.corpus
def test_no_file_of_the_five_folders_is_left_out(corpus: Path) -> None:
    folders = ("annotated", "large", "multisample", "mito", "sv")
    there = {f"{folder}/{file.name}" for folder in folders for file in (corpus / folder).iterdir()}
    assert there == {*QUICK, *LONG}


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("annotated/bcftools__split-vep.vcf", "CSQ"),
        ("annotated/scout__643594.clinical.vcf.gz", "CSQ"),
        ("annotated/annonars__gnomad-exomes.X.vcf.bgz", "vep"),
    ],
)
def test_consequences_are_what_split_vep_prints(corpus: Path, bcftools: Bcftools, name: str, key: str) -> None:
    """Not ExAC's: its records were split without their entries, and split-vep gives those of the lost alleles too."""
    try:
        printed = bcftools.split_vep(corpus / name, key, "%POS %REF %Consequence %SYMBOL").decode()
    except BcftoolsError as error:
        pytest.skip(f"bcftools has no split-vep: {error}")
    tables, _ = _tables(corpus / name, ReaderSettings())
    rows = (
        tables["consequences"]
        .filter(pl.col("source") == key)
        .join(tables["variants"], on=["record_no", "alt_index"], validate="m:1")
        .select(pl.format("{} {} {} {}", "pos", "ref", pl.col("terms").list.join("&"), pl.col("gene").fill_null(".")))
    )
    assert Counter(rows.to_series()) == Counter(printed.splitlines())


def _tables(vcf: Path, settings: ReaderSettings) -> tuple[dict[str, pl.DataFrame], str]:
    parts: dict[str, list[pl.DataFrame]] = {}
    digest = TableDigest()
    with open_reader(str(vcf), settings) as reader:
        assert settings.engine in ("auto", reader.engine)
        for batch in reader.batches():
            for table in ("variants", "genotypes", "consequences", "rejects"):
                frame = getattr(batch, table)
                if frame is not None:
                    parts.setdefault(table, []).append(frame)
                    digest.add(table, frame)
    return {table: pl.concat(frames, how="diagonal_relaxed") for table, frames in parts.items()}, digest.value()


def _columns_that_differ(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> Iterator[str]:
    assert left.keys() == right.keys()
    for table, frame in left.items():
        other = right[table]
        assert frame.columns == other.columns
        assert frame.height == other.height
        for column in frame.columns:
            try:
                assert_frame_equal(frame.select(column), other.select(column), check_exact=True)
            except AssertionError:
                yield column


@pytest.mark.corpus
@pytest.mark.parametrize("name", [name for name in EVERY if name != BCF])
def test_both_engines_fill_equal_tables(corpus: Path, name: str) -> None:
    own, own_digest = _tables(corpus / name, ReaderSettings(engine="own"))
    other, other_digest = _tables(corpus / name, ReaderSettings(engine="cyvcf2"))
    altered = {column for file, column in ALTERED_BY_HTSLIB if file == name}
    assert set(_columns_that_differ(own, other)) == altered
    assert (own_digest == other_digest) == (not altered)


@pytest.mark.corpus
def test_a_bcf_fills_the_tables_of_the_text_it_was_made_from(corpus: Path, bcftools: Bcftools, tmp_path: Path) -> None:
    text = corpus / "mito/bio2zarr__chr_m_indels.vcf.gz"
    bcf = tmp_path / "made_by_bcftools.bcf"
    bcf.write_bytes(bcftools.view(text, "-Ob"))
    from_text, text_digest = _tables(text, ReaderSettings())
    from_bcf, bcf_digest = _tables(bcf, ReaderSettings())
    assert list(_columns_that_differ(from_text, from_bcf)) == []
    assert text_digest == bcf_digest
