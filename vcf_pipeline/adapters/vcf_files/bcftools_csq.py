"""`bcftools csq` in a child process: a sites-only VCF, a gene model and its reference → the same sites with BCSQ.

Not here: which alleles are asked about and what is made of the answer (stages/computed_consequences.py).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vcf_pipeline.domain.errors import EngineStopped

SECONDS = 3600
_SAID = 300


def bcftools_is_installed() -> bool:
    return shutil.which("bcftools") is not None


def sort_sites(sites: Path, output: Path, *, seconds: int = SECONDS) -> None:
    """The same lines by contig and position. Raises EngineStopped."""
    _run(["bcftools", "sort", "-T", str(output.parent / "sort"), "-o", str(output), str(sites)], seconds)


def run_csq(sites: Path, *, fasta: Path, gff: Path, output: Path, seconds: int = SECONDS) -> None:
    """Each allele by itself, no haplotypes (`-l`), as VCF text. sites: sorted; its contigs are named as fasta's are.

    The index of fasta is made beside it where it is missing. Raises EngineStopped: not installed, refused (a REF that
    is not the reference's, a model of another style), or not done in time.
    """
    _run(["bcftools", "csq", "-l", "-O", "v", "-f", str(fasta), "-g", str(gff), "-o", str(output), str(sites)], seconds)


def _run(command: list[str], seconds: int) -> None:
    where = " ".join(command[:2])
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except FileNotFoundError as error:
        raise EngineStopped(
            where=where,
            expected="bcftools on the PATH",
            got="none",
            repair="Install it (Debian: apt-get install bcftools).",
            code="BCFTOOLS_MISSING",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EngineStopped(
            where=where,
            expected=f"an end within {seconds:,} s",
            got="none",
            repair="Annotate the file beforehand, with VEP or bcftools csq itself.",
            code="BCFTOOLS_TOO_SLOW",
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise EngineStopped(
            where=where,
            expected="exit code 0",
            got=f"{done.returncode}: {said[-_SAID:] or 'no word'}",
            repair="Callset, gene model and reference have to be of one assembly, the model in Ensembl's style.",
            code="BCFTOOLS_FAILED",
        )
