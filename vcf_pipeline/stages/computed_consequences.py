"""Consequences of a callset that brings none, from a registered gene model and its reference, by `bcftools csq`.

Here: when that is done, what the child is given, how its answer comes back to the alleles. Not here: the child
(adapters/vcf_files/bcftools_csq.py), what a consequence weighs (domain/triage).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vcf_pipeline.adapters.ledger.sources import Source
from vcf_pipeline.adapters.sources import SourceTables
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.adapters.vcf_files.bcftools_csq import bcftools_is_installed, run_csq, sort_sites
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import EngineStopped, InputRefused
from vcf_pipeline.domain.projections.search_rows import bare_contig
from vcf_pipeline.domain.tables.manifest import Manifest
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

INPUT = "consequences"
"""Name of the input of a triage's manifest that says by what they were computed."""
MODEL, REFERENCE, CONTIGS = "model.gff3.gz", "reference.fa", "contigs.json"
"""Files beside the rows of a gene model that has a reference: the model with the reference's names of contigs, a link
to the reference, beside which its index is made, and its names.
"""
_SEQUENCES = ("snv", "mnv", "ins", "del", "indel")
_COLUMNS = ["record_no", "alt_index", "contig", "pos", "ref", "alt", "variant_type"]
COMPUTED = ("consequence", "impact", "gene")
_DTYPES = {"record_no": pl.Int64(), "alt_index": pl.Int16(), **dict.fromkeys(COMPUTED, pl.Categorical())}


@dataclass(frozen=True)
class Computed:
    """model: whose consequences they are, None where none were computed. note: for people, "" where there is nothing
    to say. rows: record_no, alt_index, consequence, impact, gene of the alleles that have one.
    """

    model: Source | None
    note: str
    rows: pl.DataFrame


def computing_model(parsed: Manifest, used: Sequence[Source]) -> Source | None:
    """The gene model that consequences would be computed from; None where the callset has its own, or none is there."""
    if parsed.rows("consequences"):
        return None
    return next((source for source in used if source.kind == "gff3" and source.settings.get("fasta")), None)


def wanted_input(parsed: Manifest, used: Sequence[Source], stored: Manifest | None) -> dict[str, str]:
    """What the triage's inputs say of it: nothing where nothing is computed.

    What another machine with bcftools computed is not taken back by one without.
    """
    model = computing_model(parsed, used)
    if model is None:
        return {}
    by = f"bcftools csq of {model.name}"
    is_there = stored is not None and stored.inputs.get(INPUT) == by
    return {INPUT: by} if is_there or bcftools_is_installed() else {}


def computed_consequences(
    parsed: Manifest, used: Sequence[Source], *, tables: Tables, source_tables: SourceTables | None
) -> Computed:
    """Ask the child about every allele that has a sequence. What it refuses is told, and triage goes on without.

    Memory: the alleles in genes, about 25 bytes each. The child's files are gone when this returns.
    """
    nothing = pl.DataFrame(schema=_DTYPES)
    model = computing_model(parsed, used)
    if model is None or source_tables is None:
        return Computed(None, "", nothing)
    if not bcftools_is_installed():
        note = (
            f"the file has no consequences, and bcftools, which would compute them from {model.name}, is not installed"
        )
        return Computed(None, note, nothing)
    folder = source_tables.root / model.path
    try:
        _check_reference(model)
        with tempfile.TemporaryDirectory(prefix="vcf-pipeline-csq-") as work:
            sites = _sites(Path(work), parsed, tables, json.loads((folder / CONTIGS).read_text()))
            annotated = Path(work) / "annotated.vcf"
            run_csq(sites, fasta=folder / REFERENCE, gff=folder / MODEL, output=annotated)
            rows = pl.concat([nothing, *_answers(annotated)])
    except InputRefused as error:
        return Computed(None, f"no consequences were computed from {model.name}: {error}", nothing)
    return Computed(model, f"consequences computed by bcftools csq from {model.name}", rows)


def _check_reference(model: Source) -> None:
    path = Path(str(model.settings["fasta"]))
    stat = path.stat() if path.is_file() else None
    now = [stat.st_size, stat.st_mtime_ns] if stat is not None else None
    if now != model.settings.get("fasta_stat"):
        raise EngineStopped(
            where=str(path),
            expected="the reference as it was when the gene model was added",
            got="another file" if now else "none",
            repair=f"`vcf-pipeline sources update {model.name} {model.uri} --fasta …` takes the one of now.",
            code="REFERENCE_CHANGED",
        )


def _sites(work: Path, parsed: Manifest, tables: Tables, contigs: Sequence[str]) -> Path:
    """A sorted VCF without samples: a line per allele, ID tells which one, contigs as the reference names them."""
    bare = pl.DataFrame({"contig": contigs}).select(bare_contig(pl.col("contig"))).to_series()
    by_bare = dict(zip(bare, contigs, strict=True))
    path = work / "sites.vcf"
    order = _Order()
    with path.open("w", encoding="utf-8") as file:
        file.write("##fileformat=VCFv4.2\n")
        file.writelines(f"##contig=<ID={name}>\n" for name in contigs)
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for frame in tables.frames(parsed.tenant, parsed.callset_id, "parsed_variants", "variants", _COLUMNS):
            named = frame.filter(pl.col("variant_type").is_in(_SEQUENCES)).with_columns(
                contig=bare_contig(pl.col("contig")).replace_strict(
                    list(by_bare), list(by_bare.values()), default=None, return_dtype=pl.String
                )
            )
            lines = named.filter(pl.col("contig").is_not_null()).select(
                "contig",
                "pos",
                pl.concat_str("record_no", "alt_index", separator="_"),
                "ref",
                "alt",
                *(pl.lit(".").alias(name) for name in ("qual", "filter", "info")),
            )
            order.look(lines)
            file.write(lines.write_csv(separator="\t", include_header=False, quote_style="never"))
    if order.is_sorted:
        return path
    sort_sites(path, work / "sorted.vcf")
    return work / "sorted.vcf"


class _Order:
    """Whether lines came contig by contig, each by position."""

    def __init__(self) -> None:
        self.is_sorted = True
        self._done: set[str] = set()
        self._contig, self._pos = "", 0

    def look(self, lines: pl.DataFrame) -> None:
        for (contig,), part in lines.group_by("contig", maintain_order=True):
            if contig != self._contig:
                self._done.add(self._contig)
                self._contig, self._pos = str(contig), 0
            self.is_sorted &= contig not in self._done and part["pos"].is_sorted() and part["pos"][0] >= self._pos
            self._pos = part["pos"][-1]
        # within a frame, a contig that comes back is not seen by grouping
        self.is_sorted &= lines["contig"].rle_id().n_unique() == lines["contig"].n_unique()


def _answers(path: Path) -> Iterator[pl.DataFrame]:
    settings = ReaderSettings(info=("BCSQ",), max_reject_share=1.0)
    with open_reader(str(path), settings) as reader:
        for batch in reader.batches():
            named = pl.col("id").list.first().str.split_exact("_", 1).struct
            yield (
                batch.variants.filter(pl.col("consequence").is_not_null())
                .select(named.field("field_0").alias("record_no"), named.field("field_1").alias("alt_index"), *COMPUTED)
                .select(pl.col(name).cast(dtype) for name, dtype in _DTYPES.items())
            )
