"""What triage says of alleles that ClinVar has judged, when ClinVar's own words are withheld from it.

Run by hand: `.venv/bin/python -m vcf_pipeline_tests.benchmarks.triage_against_clinvar FOLDER`, of annotated files
that carry CLNSIG, CLINICAL_SIGNIFICANCE or an annotation's CLIN_SIG. The last three tables of a run on
the corpus stand in docs/triage.md. What they show and what not is in WORDS.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.triage.heard_claims import CLAIM_KEYS
from vcf_pipeline.domain.triage.tiers import TIER_NAMES, triaged
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

WORDS = """Rows: what ClinVar says. Columns: the tier without any claim.
It shows how much rests on consequence and frequency alone: unknown, 4 and 3 for a pathogenic allele are what a lab
without ClinVar finds late or never, tier 1 cannot occur, and tier 2 or 3 for a benign one is work for nobody. It is no
measure of accuracy: files and alleles are few and not drawn at random, ClinVar's word is no truth, the rules were not
fitted to it, consequences of ClinVar's own files are ClinVar's (MC), and frequencies that its own submitters used are
among the evidence left."""
SIGNIFICANCES = ("pathogenic", "likely_pathogenic", "conflicting", "uncertain", "likely_benign", "benign", "other")
SOUGHT = ("pathogenic", "likely_pathogenic")


def judged_alleles(path: Path) -> pl.DataFrame:
    """significance and stars (of the file's claims), and tier, reasons and consequence (without them), of every allele
    that has a claim.
    """
    claims = [f"info_{key}" for keys in CLAIM_KEYS for key in keys.all()]
    found = []
    with open_reader(str(path), ReaderSettings(max_reject_share=1.0)) as reader:
        about = {"has_samples": bool(reader.header.samples), "assembly": reader.assembly.name}
        for batch in reader.batches():
            variants = batch.variants.with_columns(row_id=pl.lit(None, pl.Binary))
            told = triaged(variants, **about)
            withheld = triaged(variants.drop(*claims, "consequence_clin_sig", strict=False), **about)
            found.append(told.select("significance", "stars").hstack(withheld.select("tier", "reasons", "consequence")))
    return pl.concat(found).filter(pl.col("significance").is_not_null())


def confusion(alleles: pl.DataFrame) -> pl.DataFrame:
    """A row per significance that occurs, in the order of SIGNIFICANCES; a column per tier, and all."""
    tiers = alleles.with_columns(tier=pl.col("tier").cast(pl.String).fill_null("unknown"))
    rows = [
        {
            "ClinVar": name,
            **{tier: mine.filter(pl.col("tier") == tier).height for tier in TIER_NAMES},
            "all": mine.height,
        }
        for name in SIGNIFICANCES
        if (mine := tiers.filter(pl.col("significance") == name)).height
    ]
    return pl.DataFrame(rows, schema={"ClinVar": pl.String, **dict.fromkeys((*TIER_NAMES, "all"), pl.Int64)})


def missed(alleles: pl.DataFrame) -> pl.DataFrame:
    """Why alleles that ClinVar calls P or LP are not in tier 2 without it: tier, reasons, consequence, P, LP."""
    late = alleles.filter(pl.col("significance").is_in(SOUGHT), (pl.col("tier") > 2).fill_null(True))
    told = late.select(
        tier=pl.col("tier").cast(pl.String).fill_null("unknown"),
        reasons=pl.col("reasons").list.join(", "),
        consequence=pl.col("consequence").fill_null("none"),
        **{name: pl.col("significance") == name for name in SOUGHT},
    )
    counted = told.group_by("tier", "reasons", "consequence").agg(pl.col(name).sum().cast(pl.Int64) for name in SOUGHT)
    return counted.sort(pl.sum_horizontal(SOUGHT), "tier", "reasons", "consequence", descending=[True, *[False] * 3])


def table_text(found: pl.DataFrame) -> str:
    """In Markdown, as docs/triage.md has it."""
    rule = ["---:" if dtype == pl.Int64 else "---" for dtype in found.dtypes]
    rows = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in found.iter_rows()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (found.columns, rule, *rows))


def told(alleles: pl.DataFrame) -> str:
    """The three tables of docs/triage.md."""
    reviewed = alleles.filter(pl.col("stars") >= 2)
    return (
        f"All of them:\n\n{table_text(confusion(alleles))}\n\n"
        f"Those with two stars or more:\n\n{table_text(confusion(reviewed))}\n\n"
        f"Why P and LP are not in tier 2 without ClinVar:\n\n{table_text(missed(alleles))}"
    )


def claimed_in(folder: Path) -> dict[str, pl.DataFrame]:
    """File → its judged alleles, of every VCF in the folder that has claims."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".vcf", ".gz", ".bgz"))
    return {path.name: alleles for path in files if (alleles := judged_alleles(path)).height}


def main(folder: str) -> None:
    by_file = claimed_in(Path(folder))
    for name, alleles in by_file.items():
        print(f"{name}\n\n{table_text(confusion(alleles))}\n")
    if by_file:
        print(f"{told(pl.concat(by_file.values()))}\n\n{WORDS}")


if __name__ == "__main__":
    main(sys.argv[1])
