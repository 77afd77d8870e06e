"""Files become sources: judged, sorted, versioned by content; what is not understood is refused with the repair."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from vcf_pipeline.adapters.sources import SourceTables
from vcf_pipeline.domain.errors import (
    BadSetting,
    BadSourceName,
    DefectFound,
    InputRefused,
    TooManyRejects,
    Truncated,
    UnknownSource,
    UsageError,
)
from vcf_pipeline.stages.sources import SourceRequest, add_source, effects_of, keys_of_rsid, remove_source
from vcf_pipeline_tests.programs import children
from vcf_pipeline_tests.stages.lab import ONE_STAR, TENANT, TWO_STARS, Lab, claim
from vcf_pipeline_tests.vcf_text import bgzf, header_text, record


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


def test_the_clinvar_of_2019_is_known_by_its_header_and_read_whole(lab, data):
    report = lab.add("clinvar", data / "slivar__clinvar_20191007.vcf.gz")
    assert (report.source.preset, report.source.assembly, report.source.rows) == ("clinvar", "GRCh37", 72)
    assert report.told[0] == "read as clinvar: its INFO has CLNSIG and CLNREVSTAT"
    first = lab.rows_of("clinvar").row(0, named=True)
    assert (first["variant_key"], first["field_CLNSIG"]) == ("1-949392-C-T", "Uncertain_significance")
    assert first["field_variation_id"] == "661610"
    assert lab.rows_of("clinvar")["key_pos"].is_sorted()


def test_the_same_bytes_again_are_no_new_version_and_write_nothing(lab):
    path = lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C"))
    first = lab.add("clinvar", path)
    files = sorted((lab.root / "data").rglob("*"))
    again = lab.add("clinvar", path)
    assert again.unchanged
    assert again.source == first.source
    assert sorted((lab.root / "data").rglob("*")) == files
    assert lab.add("clinvar", path, replaces=True).unchanged


def test_another_file_under_a_name_that_is_taken_needs_the_word_update(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C")))
    other = lab.clinvar("b.vcf", record("T", claim("Pathogenic"), pos=5, ref="C"))
    with pytest.raises(UsageError, match="sources update clinvar"):
        lab.add("clinvar", other)
    report = lab.add("clinvar", other, replaces=True)
    assert report.before is not None
    assert report.before.version != report.source.version
    assert lab.rows_of("clinvar")["field_CLNSIG"].to_list() == ["Pathogenic"]
    assert len(list(lab.source_tables.folder(TENANT, "clinvar").iterdir())) == 1


def test_an_update_of_what_is_not_there_is_refused(lab):
    with pytest.raises(UnknownSource):
        lab.add("clinvar", lab.clinvar("a.vcf"), replaces=True)


def test_what_was_said_of_a_source_holds_for_its_update(lab):
    first = lab.vcf("a.vcf", record("T", "SCORE=1", pos=5), assembly=None, info=("SCORE,1,Float",))
    lab.add("scores", first, assembly="hg19", preset="custom", fields=("SCORE",))
    later = lab.vcf("b.vcf", record("T", "SCORE=2", pos=5), assembly=None, info=("SCORE,1,Float",))
    source = lab.add("scores", later, replaces=True).source
    assert (source.assembly, source.preset, source.fields) == ("GRCh37", "custom", ("SCORE",))


def test_a_source_of_unknown_assembly_is_refused_with_the_repair(lab):
    path = lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5), assembly=None)
    with pytest.raises(BadSetting, match="--assembly GRCh37, GRCh38"):
        lab.add("clinvar", path)
    assert lab.add("clinvar", path, assembly="hg38").source.assembly == "GRCh38"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Clinvar",
        "../../etc",
        "a/b",
        "a b",
        "1clinvar",
        "a" * 32,
        "clin\nvar",
        "clinvár",
        "a\x00",
        "info",
        "file",
        "-a",
    ],
)
def test_a_name_that_is_no_name_is_refused_before_anything_is_read(lab, name):
    with pytest.raises(BadSourceName):
        lab.add(name, lab.root / "there is no such file.vcf")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"preset": "genes"}, "of kind gff3 or gtf"),
        ({"preset": "custom"}, "--fields that name"),
        ({"fields": ("CLNSG",)}, "Perhaps CLNSIG"),
        ({"fasta": "reference.fa"}, "a gene model in GFF3"),
    ],
)
def test_a_request_that_does_not_fit_the_file_is_refused_with_the_repair(lab, request_, said):
    with pytest.raises(BadSetting, match=said):
        lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"))), **request_)


def test_a_vcf_that_is_none_of_the_known_ones_asks_for_a_preset(lab):
    with pytest.raises(BadSetting, match="--fields SCORE,SET"):
        lab.add("mine", lab.vcf("a.vcf", record("T", "DP=3"), info=("DP,1,Integer",)))


def test_fields_alone_make_a_table_or_an_unknown_vcf_a_source_of_what_is_shown(lab):
    (lab.root / "s.tsv").write_text("chrom\tpos\tref\talt\tSCORE\n7\t5\tC\tT\t0.5\n")
    report = lab.add("score", lab.root / "s.tsv", assembly="GRCh38", fields=("SCORE",))
    assert (report.source.preset, report.told[0]) == ("custom", "read as custom: --fields says what is shown of it")
    assert lab.rows_of("score")["field_SCORE"].to_list() == ["0.5"]
    vcf = lab.vcf("a.vcf", record("T", "DP=3"), info=("DP,1,Integer",))
    assert lab.add("depth", vcf, fields=("DP",)).source.preset == "custom"
    with pytest.raises(BadSetting, match="UNKNOWN_PRESET"):
        lab.add("nothing", lab.root / "s.tsv", assembly="GRCh38")


@pytest.mark.parametrize("name", ["hg99", "GRCh39", "chm14"])
def test_an_assembly_that_is_a_slip_is_named_before_anything_else(lab, name):
    (lab.root / "s.tsv").write_text("chrom\tpos\tref\talt\tSCORE\n")
    with pytest.raises(BadSetting, match=f"--assembly: expected GRCh37.*got '{name}'"):
        lab.add("score", lab.root / "s.tsv", assembly=name)


@pytest.mark.parametrize("name", ["mm39", "hg18"])
def test_an_assembly_of_another_species_or_an_old_one_is_taken_as_it_stands(lab, name):
    (lab.root / "s.tsv").write_text("chrom\tpos\tref\talt\tSCORE\n")
    assert lab.add("score", lab.root / "s.tsv", assembly=name, fields=("SCORE",)).source.assembly == name


def test_a_file_whose_name_says_nothing_asks_for_its_kind(lab):
    (lab.root / "regions.dat").write_text("7\t1\t5\n")
    with pytest.raises(BadSetting, match="--kind"):
        lab.add("regions", lab.root / "regions.dat")
    assert lab.add("regions", lab.root / "regions.dat", kind="bed", assembly="GRCh38").source.rows == 1


def test_a_truncated_file_leaves_the_version_before_as_it_was(lab):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C")))
    before = lab.ledger.source(TENANT, "clinvar")
    lines = "".join(record("T", claim("Pathogenic"), pos=at, ref="C") for at in range(1, 4000))
    whole = bgzf((lab.clinvar("b.vcf").read_text() + lines).encode(), end_marker=False)
    (lab.root / "b.vcf.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Truncated):
        lab.add("clinvar", lab.root / "b.vcf.gz", replaces=True)
    assert lab.ledger.source(TENANT, "clinvar") == before
    assert lab.rows_of("clinvar").height == 1
    assert len(list(lab.source_tables.folder(TENANT, "clinvar").iterdir())) == 1


def test_alleles_of_one_record_are_apart_with_their_own_values_and_contigs_are_bare(lab):
    info = ("AC,A,Integer", "AN,1,Integer", "AF,A,Float")
    path = lab.vcf(
        "a.vcf",
        record("T,CA", "AC=5,7;AN=5000;AF=0.001,0.0014", pos=9, ref="C", contig="chrX"),
        record("G", "AC=1;AN=5000", pos=3, contig="MT"),
        info=info,
    )
    lab.add("cohort", path)
    found = lab.rows_of("cohort").select("variant_key", "field_AF", "field_AN", "field_AC").rows()
    assert [(row[0], round(row[1], 6), *row[2:]) for row in found] == [
        ("X-9-C-CA", 0.0014, 5000, "7"),
        ("X-9-C-T", 0.001, 5000, "5"),
        ("M-3-A-G", 0.0002, 5000, "1"),
    ]


def test_a_cohort_with_samples_is_counted_by_its_calls_and_no_sample_is_kept(lab):
    path = lab.vcf(
        "a.vcf",
        record("T", ".", "GT", "0/1", "1/1", pos=9, ref="C"),
        formats=("GT,1,String",),
        samples=("secret-anna", "secret-bert"),
    )
    report = lab.add("house", path)
    assert report.source.preset == "cohort"
    assert lab.rows_of("house").select("field_AF", "field_AC", "field_AN").rows() == [(0.75, "3", 4)]
    texts = [file.read_bytes() for file in (lab.root / "data").rglob("*") if file.is_file()]
    assert not any(b"secret" in text for text in texts)


def test_of_an_allele_told_twice_the_record_that_says_most_is_kept(lab):
    path = lab.clinvar(
        "a.vcf",
        record("T", claim("Benign", ONE_STAR), pos=5, ref="C"),
        record("T", claim("Pathogenic", TWO_STARS), pos=5, ref="C"),
        record("TT", claim("not_provided"), pos=5, ref="CT"),
    )
    report = lab.add("clinvar", path)
    assert report.repeated == 2
    assert lab.rows_of("clinvar")["field_CLNSIG"].to_list() == ["Pathogenic"]
    assert "repetitions" in report.told[-1]


def test_dbsnp_is_read_by_its_accessions_and_found_by_rsid(lab):
    path = lab.vcf(
        "dbsnp.vcf",
        record("T", "RS=77", pos=5, ref="C", contig="NC_000007.14", id="rs77"),
        record("T", "RS=78", pos=5, ref="C", contig="NC_000007.13"),
        info=("RS,1,Integer",),
    )
    path.write_text(path.read_text().replace("##reference=GRCh38", "##reference=GRCh38.p14\n##source=dbSNP"))
    lab.add("dbsnp", path)
    found = keys_of_rsid("rs77", tenant=TENANT, ledger=lab.ledger, tables=lab.source_tables)
    assert [key for _, key in found] == ["7-5-C-T"]
    # of another assembly's accession nothing is known here
    assert lab.rows_of("dbsnp")["variant_key"].to_list() == ["7-5-C-T", "NC_000007.13-5-C-T"]


def test_a_table_of_alleles_is_a_cohort_or_shows_its_fields(lab):
    (lab.root / "t.tsv").write_text("#chrom\tpos\tref\talt\tAF\tAN\tset\nchr7\t5\tC\tT\t0.25\t4000\tA\n")
    lab.add("mine", lab.root / "t.tsv", preset="cohort", fields=("set",), assembly="GRCh38")
    row = lab.rows_of("mine").row(0, named=True)
    assert (row["variant_key"], row["field_AF"], row["field_AN"], row["field_set"]) == ("7-5-C-T", 0.25, 4000, "A")


def test_a_table_with_too_many_lines_that_are_no_alleles_is_refused(lab):
    lines = ["#chrom\tpos\tref\talt\tset\n"] + [f"7\t{'x' if at < 2 else at}\tC\tT\tA\n" for at in range(20)]
    (lab.root / "t.tsv").write_text("".join(lines))
    with pytest.raises(TooManyRejects, match="2 of 20"):
        lab.add("mine", lab.root / "t.tsv", preset="custom", fields=("set",), assembly="GRCh38")
    assert not lab.source_tables.folder(TENANT, "mine").exists() or not any(
        lab.source_tables.folder(TENANT, "mine").iterdir()
    )


def test_a_gene_model_without_genes_and_a_defect_in_it_are_refused(lab):
    (lab.root / "g.gff3").write_text("##gff-version 3\n##sequence-region 7 1 159345973\n")
    with pytest.raises(InputRefused, match="expected genes, got none"):
        lab.add("genes", lab.root / "g.gff3")
    (lab.root / "g.gff3").write_text("##gff-version 3\n##sequence-region 7 1 159345973\n7\tx\tgene\n")
    with pytest.raises(DefectFound, match="line 3"):
        lab.add("genes", lab.root / "g.gff3")


def test_a_removed_source_leaves_no_file_and_its_callsets_are_stale(lab):
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    source = lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Pathogenic"), pos=5, ref="C"))).source
    lab.triage(callset.key)
    assert [effect.is_stale for effect in effects_of(source, ledger=lab.ledger, tables=lab.tables)] == [False]
    remove_source("clinvar", tenant=TENANT, ledger=lab.ledger, tables=lab.source_tables)
    assert not lab.source_tables.folder(TENANT, "clinvar").exists()
    gone = effects_of(source, ledger=lab.ledger, tables=lab.tables, is_removed=True)
    assert [effect.is_stale for effect in gone] == [True]
    report = lab.triage(callset.key)
    assert (report.reused, report.moves) == (False, 1)
    with pytest.raises(UnknownSource):
        remove_source("clinvar", tenant=TENANT, ledger=lab.ledger, tables=lab.source_tables)


# --- killed


class DyingTables(SourceTables):
    """Dies at the moment named: `rows` while they come, `finished` before the ledger hears of them, `swept` after."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root, run_bytes=1)
        self.moment = moment
        self.sweeps = 0

    def writer(self, *args, **given):
        made = super().writer(*args, **given)
        write, finish = made.write, made.finish

        def dying_write(frame: pl.DataFrame) -> None:
            write(frame)
            if self.moment == "rows":
                os.kill(os.getpid(), signal.SIGKILL)

        def dying_finish() -> None:
            finish()
            if self.moment == "finished":
                os.kill(os.getpid(), signal.SIGKILL)

        made.write, made.finish = dying_write, dying_finish
        return made

    def sweep(self, tenant: str, name: str, keep: str | None) -> None:
        self.sweeps += 1
        if self.moment == "swept" and self.sweeps == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().sweep(tenant, name, keep)


def update_until_it_dies(root: Path, path: str, moment: str) -> None:
    lab = Lab(root)
    add_source(
        path,
        tenant=TENANT,
        name="clinvar",
        request=SourceRequest(),
        ledger=lab.ledger,
        tables=DyingTables(root / "data", moment),
        replaces=True,
    )


@pytest.mark.parametrize("moment", ["rows", "finished", "swept"])
def test_an_update_that_is_killed_leaves_one_whole_version_and_can_be_repeated(lab, moment):
    lab.add("clinvar", lab.clinvar("a.vcf", record("T", claim("Benign"), pos=5, ref="C")))
    before = lab.ledger.source(TENANT, "clinvar")
    newer = lab.clinvar("b.vcf", *(record("T", claim("Pathogenic"), pos=at, ref="C") for at in (5, 6)))
    child = children().Process(target=update_until_it_dies, args=(lab.root, str(newer), moment))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    now = lab.ledger.source(TENANT, "clinvar")
    assert (now.version == before.version) == (moment != "swept")
    assert lab.rows_of("clinvar").height == (1 if moment != "swept" else 2)
    report = lab.add("clinvar", newer, replaces=True)
    assert report.unchanged == (moment == "swept")
    assert lab.rows_of("clinvar")["field_CLNSIG"].to_list() == ["Pathogenic"] * 2
    assert len(list(lab.source_tables.folder(TENANT, "clinvar").iterdir())) == 1


def test_a_header_without_records_is_a_source_that_knows_nothing(lab):
    (lab.root / "e.vcf").write_text(header_text(lines=("##reference=GRCh38",), info=("AC,A,Integer", "AN,1,Integer")))
    assert lab.add("cohort", lab.root / "e.vcf").source.rows == 0
    callset = lab.parse(lab.vcf("calls.vcf", record("T", pos=5, ref="C")))
    assert lab.triage(callset.key).tiers["unknown"] == 1
