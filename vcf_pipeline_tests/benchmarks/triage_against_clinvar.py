"""What triage says of alleles that ClinVar has judged, when ClinVar's own words are withheld from it.

Run by hand: `.venv/bin/python -m vcf_pipeline_tests.benchmarks.triage_against_clinvar FILE…`; annotated files that
carry CLNSIG, CLINICAL_SIGNIFICANCE or an annotation's CLIN_SIG. What it shows and what not is in WORDS.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.triage.heard_claims import CLAIM_KEYS
from vcf_pipeline.domain.triage.tiers import TIER_NAMES, triaged
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

WORDS = """Rows: what ClinVar says (stars aside). Columns: the tier without ClinVar.
It shows how much rests on consequence and frequency alone: unknown and tier 4 for a pathogenic allele are what a lab
without ClinVar misses, tier 1 cannot occur, and tier 2 or 3 for a benign one is work for nobody. It is no measure of
accuracy: files and alleles are few and not drawn at random, ClinVar's own files bring no consequences that are read (so
that most of theirs is unknown), its word is no truth, the rules were not fitted to it, and frequencies that its own
submitters used are among the evidence left."""
SIGNIFICANCES = ("pathogenic", "likely_pathogenic", "conflicting", "uncertain", "likely_benign", "benign", "other")


def judged_alleles(path: Path) -> pl.DataFrame:
    """significance (of the file's claims) and tier (without them) of every allele that has a claim."""
    claims = [f"info_{key}" for keys in CLAIM_KEYS for key in keys.all()]
    found = []
    with open_reader(str(path), ReaderSettings(max_reject_share=1.0)) as reader:
        about = {"has_samples": bool(reader.header.samples), "assembly": reader.assembly.name}
        for batch in reader.batches():
            variants = batch.variants.with_columns(row_id=pl.lit(None, pl.Binary))
            told = triaged(variants, **about)
            withheld = triaged(variants.drop(*claims, "consequence_clin_sig", strict=False), **about)
            found.append(pl.DataFrame([told["significance"], withheld["tier"]]))
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


def table_text(found: pl.DataFrame) -> str:
    heads = found.columns
    lines = [" ".join([f"{heads[0]:18}", *(f"{head:>8}" for head in heads[1:])])]
    lines += [" ".join([f"{row[0]:18}", *(f"{count:8,}" for count in row[1:])]) for row in found.rows()]
    return "\n".join(lines)


def main(paths: Sequence[str]) -> None:
    everything = []
    for path in paths:
        alleles = judged_alleles(Path(path))
        if alleles.height:
            print(f"{Path(path).name}\n{table_text(confusion(alleles))}\n")
            everything.append(alleles)
    if everything:
        print(f"all of them\n{table_text(confusion(pl.concat(everything)))}\n\n{WORDS}")


if __name__ == "__main__":
    main(sys.argv[1:])
