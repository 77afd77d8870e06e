"""GFF3 and GTF → genes: contig, place, symbol, id, biotype, strand.

Dialects: Ensembl, GENCODE, RefSeq; a GTF without gene lines (UCSC, old Ensembl) has its genes put together from their
transcripts and exons. Rules: the GFF3 specification 1.26 (percent-encoding, ##FASTA); GTF2.2.
Not here: consequences (adapters/vcf_files/bcftools_csq.py), what a line is (lines.py).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote

import polars as pl

from vcf_pipeline.domain.projections.search_rows import bare_contig
from vcf_pipeline.domain.sources.lines import INTERVALS, columns_of, lines_of, with_positions

_COLUMNS = ("contig", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
_GENE_TYPES = {"gff3": ["gene", "ncRNA_gene", "pseudogene"], "gtf": ["gene"]}
_PARTS = ["transcript", "exon", "CDS"]
_NAMES = {"gff3": ("gene_name", "Name", "gene", "gene_id"), "gtf": ("gene_name", "gene", "gene_id")}
_IDS = {"gff3": ("gene_id", "ID"), "gtf": ("gene_id",)}
_BIOTYPES = {
    "gff3": ("biotype", "gene_biotype", "gene_type"),
    "gtf": ("gene_biotype", "gene_type", "biotype"),
}


class GeneReader:
    """Blocks of one GFF3 or GTF, in order, → frames of INTERVALS. It remembers what is asked for at the end."""

    def __init__(self, kind: Literal["gff3", "gtf"], where: str) -> None:
        self._kind, self._where = kind, where
        self._is_over = False
        self._n_genes = 0
        self._parts: list[pl.DataFrame] = []

    def genes(self, text: bytes, first_line: int) -> pl.DataFrame:
        """The genes of a block, in the file's order. Raises DefectFound."""
        if self._is_over:
            return pl.DataFrame(schema=INTERVALS)
        if self._kind == "gff3":
            at = 0 if text.startswith(b"##FASTA") else text.find(b"\n##FASTA") + 1
            if at or text.startswith(b"##FASTA"):
                text, self._is_over = text[:at], True
        lines = columns_of(lines_of(text, first_line, self._where), _COLUMNS, self._where)
        genes = self._read(lines.filter(pl.col("type").is_in(_GENE_TYPES[self._kind])))
        self._n_genes += genes.height
        if self._kind == "gtf" and not self._n_genes:
            self._parts.append(_spans(self._read(lines.filter(pl.col("type").is_in(_PARTS)))))
            if len(self._parts) > 50:
                self._parts = [_spans(pl.concat(self._parts))]
        else:
            self._parts = []
        return genes

    def rest(self) -> pl.DataFrame:
        """At the end: the genes of a file that has no lines of their own for them."""
        return _spans(pl.concat(self._parts)) if self._parts else pl.DataFrame(schema=INTERVALS)

    def _read(self, lines: pl.DataFrame) -> pl.DataFrame:
        frame = with_positions(lines, self._where, lowest=1)
        strand = pl.when(pl.col("strand").is_in(["+", "-"])).then("strand")
        read = frame.select(
            "contig",
            "start",
            "end",
            name=self._attribute(_NAMES[self._kind]),
            id=self._attribute(_IDS[self._kind]),
            biotype=self._attribute(_BIOTYPES[self._kind]),
            strand=strand,
        ).with_columns(pl.col("id").str.strip_prefix("gene:"))
        if self._kind == "gff3":
            read = _percent_decoded(read, ["contig", "name", "id", "biotype"])
        contig = bare_contig(pl.col("contig"))
        named = pl.coalesce("name", "id", pl.concat_str("contig", pl.lit(":"), "start", pl.lit("-"), "end"))
        return read.with_columns(name=named, contig=contig).select(
            pl.col(name).cast(dtype) for name, dtype in INTERVALS.items()
        )

    def _attribute(self, keys: tuple[str, ...]) -> pl.Expr:
        """The value of the first key that stands there, not empty."""
        pattern = r"(?:^|;)\s*{key}=([^;]+)" if self._kind == "gff3" else r'(?:^|;)\s*{key}\s+"?([^";]+)"?'
        found = [pl.col("attributes").str.extract(pattern.replace("{key}", key), 1) for key in keys]
        return pl.coalesce(*(value.str.strip_chars().replace("", None) for value in found))


def _percent_decoded(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """%2C → a comma, and so on; each different text once, those with a % alone."""
    decoded = []
    for column in columns:
        texts = frame[column].unique().drop_nulls()
        coded = texts.filter(texts.str.contains("%", literal=True)).to_list()
        if coded:
            decoded.append(pl.col(column).replace(coded, [unquote(text) for text in coded]))
    return frame.with_columns(decoded)


def _spans(parts: pl.DataFrame) -> pl.DataFrame:
    """One row a gene: from its first to its last part, on one contig and strand."""
    return (
        parts.group_by(["contig", "strand", "id", "name"], maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("biotype").drop_nulls().first())
        .select(pl.col(name).cast(dtype) for name, dtype in INTERVALS.items())
    )
