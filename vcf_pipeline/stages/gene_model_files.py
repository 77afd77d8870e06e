"""A gene model kept with its reference, as `bcftools csq` wants them: contigs named alike, an index that can be made.

Not here: the genes of it (sources.py), running the child (computed_consequences.py).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl

from vcf_pipeline.adapters.objects import flush_file, unavailable
from vcf_pipeline.adapters.vcf_files.text_files import fasta_contigs, open_text
from vcf_pipeline.domain.errors import BadSetting
from vcf_pipeline.domain.projections.search_rows import bare_contig
from vcf_pipeline.stages.computed_consequences import CONTIGS, MODEL, REFERENCE


def keep_model(gff: str, fasta: str, folder: Path) -> None:
    """Write the model with the reference's contig names into the folder, link the reference, note its names.

    Raises BadSetting where no contig of the model is in the reference; what reading raises.
    """
    contigs = fasta_contigs(fasta)
    named = {_bare(name): name for name in reversed(contigs)}
    try:
        (folder / REFERENCE).symlink_to(fasta)
        (folder / CONTIGS).write_text(json.dumps(contigs))
        if not _copied(gff, folder / MODEL, named):
            raise BadSetting(
                where=fasta,
                expected=f"the reference of {gff}",
                got="a FASTA with none of its contigs",
                repair="Give --fasta the sequence of the assembly that the gene model is of.",
            )
        for name in (CONTIGS, MODEL):
            flush_file(folder / name)
    except OSError as error:
        raise unavailable(folder, error) from error


def _copied(gff: str, path: Path, named: dict[str, str]) -> int:
    """Lines written. Those on contigs that the reference lacks are left out: csq would stop at them."""
    names: dict[bytes, bytes | None] = {}
    n_lines = 0
    with open_text(gff) as text, gzip.open(path, "wb", compresslevel=1) as copy:
        for block in text.blocks():
            kept: list[bytes] = []
            for line in block.text.splitlines():
                if line.startswith(b"##FASTA"):
                    copy.write(b"\n".join([*kept, b""]))
                    return n_lines
                if line.startswith(b"#") or not line.strip():
                    continue
                contig, tab, rest = line.partition(b"\t")
                if contig not in names:
                    found = named.get(_bare(contig.decode("utf-8", "replace")))
                    names[contig] = found.encode() if found is not None else None
                if (name := names[contig]) is not None:
                    kept.append(name + tab + rest)
            n_lines += len(kept)
            copy.write(b"\n".join([*kept, b""]))
    return n_lines


def _bare(contig: str) -> str:
    return str(pl.DataFrame({"contig": [contig]}).select(bare_contig(pl.col("contig"))).item())
