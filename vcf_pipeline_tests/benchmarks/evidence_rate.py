"""How many alleles a second are joined with sources: one of alleles (as gnomAD), a gene model, both; bcftools beside.

Run by hand: `.venv/bin/python -m vcf_pipeline_tests.benchmarks.evidence_rate [ALLELES]`. Made input, the same each
time: a callset of ALLELES on three contigs, half of which a source of four times as many knows; a gene every 50,000
bases, of median length 20,000, about as a human genome has them.
`bcftools annotate` is given the same two files as BGZF with an index and copies the same three fields, so that it
reads and writes VCF where we read and write columns: the ratio is of the task, not of the join alone.
The floor of the design is 300,000 a second.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.domain.triage.evidence import wanted_columns
from vcf_pipeline.stages.joined_sources import joined_sources
from vcf_pipeline_tests.stages.lab import TENANT, Lab

CONTIGS = ("1", "2", "3")
GENE_EVERY = 50_000
HEADER = "\n".join(
    [
        "##fileformat=VCFv4.3",
        "##reference=GRCh38",
        *(f"##contig=<ID={name}>" for name in CONTIGS),
        '##INFO=<ID=AF,Number=A,Type=Float,Description="AF">',
        '##INFO=<ID=AN,Number=1,Type=Integer,Description="AN">',
        '##INFO=<ID=nhomalt,Number=A,Type=Integer,Description="n">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n",
    ]
)


def made_alleles(n: int, seed: int) -> pl.DataFrame:
    """n different SNVs, sorted: contig, pos, ref, alt."""
    draw = np.random.default_rng(seed)
    number = np.unique(draw.integers(0, 6 * n * len(CONTIGS), 2 * n))
    number = np.sort(draw.choice(number, n, replace=False))
    contig, place = number // (6 * n), number % (6 * n)
    bases = pl.Series(["A", "C", "G", "T"])
    ref = place // 3 % 4
    return pl.DataFrame(
        {
            "contig": pl.Series(CONTIGS).gather(contig),
            "pos": 1 + place // 3 * 40,
            "ref": bases.gather(ref),
            "alt": bases.gather((ref + 1 + place % 3) % 4),
        }
    )


def write_vcf(path: Path, alleles: pl.DataFrame, info: pl.Expr) -> None:
    lines = alleles.select(
        "contig", "pos", pl.lit(".").alias("id"), "ref", "alt", pl.lit(50), pl.lit("PASS").alias("f"), info.alias("i")
    )
    with path.open("w") as file:
        file.write(HEADER)
        file.write(lines.write_csv(separator="\t", include_header=False, quote_style="never"))


def measured(what: str, n: int, act: Callable[[], object]) -> tuple[float, float]:
    """(alleles a second, alleles a CPU-second), printed with the memory they took."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    more = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cpu += more.ru_utime + more.ru_stime - children.ru_utime - children.ru_stime
    print(
        f"{what}: {n / wall:,.0f} alleles a second, {n / cpu:,.0f} a CPU-second; "
        f"{after.ru_maxrss / 1024:,.0f} MB at most so far"
    )
    return n / wall, n / cpu


def write_inputs(folder: Path, n: int) -> int:
    """calls.vcf, known.vcf and genes.bed; how many alleles the first has."""
    known = made_alleles(4 * n, 1)
    calls = pl.concat([known.sample(n // 2, seed=2), made_alleles(n - n // 2, 3)])
    calls = calls.unique(["contig", "pos", "ref", "alt"]).sort("contig", "pos", "ref", "alt")
    write_vcf(folder / "known.vcf", known, "AF=0.0" + pl.col("pos").cast(pl.String) + ";AN=152000;nhomalt=3")
    write_vcf(folder / "calls.vcf", calls, pl.lit("."))
    rng = np.random.default_rng(4)
    span = int(known["pos"].max())
    n_genes = len(CONTIGS) * span // GENE_EVERY
    lengths = np.minimum(rng.lognormal(9.9, 1.3, n_genes).astype(np.int64), 2_400_000)
    genes = pl.DataFrame(
        {
            "contig": pl.Series(CONTIGS).gather(rng.integers(0, len(CONTIGS), n_genes)),
            "start": (starts := rng.integers(1, span, n_genes)),
            "end": starts + 1 + lengths,
            "name": [f"G{at}" for at in range(n_genes)],
        }
    )
    (folder / "genes.bed").write_text(genes.write_csv(separator="\t", include_header=False))
    return calls.height


def join(lab: Lab, callset: Callset) -> None:
    """Every allele with whatever is registered."""
    columns = wanted_columns(lab.tables.schema(TENANT, callset.callset_id, "parsed_variants", "variants"))
    with joined_sources(lab.registered, TENANT, "GRCh38") as (sources, _):
        for frame in lab.tables.frames(TENANT, callset.callset_id, "parsed_variants", "variants", columns=columns):
            sources.joined(frame)
        print(f"    known: {sources.matched}, row groups read: {sources.groups_read}")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        n = write_inputs(lab.root, n)
        callset = lab.parse(lab.root / "calls.vcf")
        measured("registering the source of alleles", 4 * n, lambda: lab.add("known", lab.root / "known.vcf"))
        measured("join of alleles", n, lambda: join(lab, callset))
        measured("triage with it, written", n, lambda: lab.triage(callset.key))
        lab.add("genes", lab.root / "genes.bed", assembly="GRCh38")
        measured("join of alleles and intervals", n, lambda: join(lab, callset))
        measured("triage with both, written", n, lambda: lab.triage(callset.key))
        if shutil.which("bcftools") is None:
            print("bcftools is not installed: no peer")
            return
        for name in ("known", "calls"):
            subprocess.run(["bgzip", str(lab.root / f"{name}.vcf")], check=True)
            subprocess.run(["bcftools", "index", str(lab.root / f"{name}.vcf.gz")], check=True)
        command = ["bcftools", "annotate", "-a", str(lab.root / "known.vcf.gz"), "-c", "INFO/AF,INFO/AN,INFO/nhomalt"]
        command += ["-O", "v", "-o", str(lab.root / "annotated.vcf"), str(lab.root / "calls.vcf.gz")]
        measured("bcftools annotate", n, lambda: subprocess.run(command, check=True))
        lab.close()


if __name__ == "__main__":
    main()
