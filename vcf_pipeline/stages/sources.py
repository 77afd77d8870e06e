"""A file of reference data → a registered source: judged, read into sorted rows, then made current in the ledger.

Here: what is asked of a file before it is read, versions, what a changed source does to callsets. Not here: what the
lines mean (domain/sources), how rows are sorted and kept (adapters/sources.py), the join (joined_sources.py).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.ledger.sources import Source, source_lease
from vcf_pipeline.adapters.objects import content_sha256, readable_file
from vcf_pipeline.adapters.sources import ROWS, SourceTables, SourceWriter
from vcf_pipeline.adapters.tables import Tables
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.adapters.vcf_files.text_files import open_text
from vcf_pipeline.domain.errors import BadSetting, InputRefused, TooManyRejects, UsageError
from vcf_pipeline.domain.identity import PartitionKey, check_source_name
from vcf_pipeline.domain.sources.alleles import (
    ALLELE_HEAD,
    allele_rows_of,
    field_dtypes,
    one_per_key,
    stored,
    wanted_info,
)
from vcf_pipeline.domain.sources.bed import bed_intervals
from vcf_pipeline.domain.sources.gene_models import GeneReader
from vcf_pipeline.domain.sources.lines import assembly_of_comments
from vcf_pipeline.domain.sources.tsv import TsvReader
from vcf_pipeline.domain.triage.moves import SOURCE_INPUT
from vcf_pipeline.domain.triage.presets import ALLELE_KINDS, KINDS, PRESETS, RSID, Preset, guessed_preset
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.domain.vcf.assembly import ASSEMBLIES, Assembly
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.gene_model_files import keep_model
from vcf_pipeline.stages.joined_sources import Registered, last_column, usable
from vcf_pipeline.stages.triage import ASSET, moves_to_come

SOURCE_CODE = "2"
"""Raised when the same bytes and settings give other rows: a source added again is then another version."""
LEASE_WAIT_SECONDS = 600.0
Progress = Callable[[str, int, int, int], None]
"""Called with (what is done, bytes done, of how many, rows so far)."""
_BLOCK_BYTES = 16 << 20
_COMMENT_BYTES = 1 << 20
_LOOKS_HUMAN = re.compile(r"(?i)(?!hg1[5-8]$)(hg|grch|chm|t2t)[\w.-]*")
"""Names that only a human assembly has; hg15 to hg18 are older ones, which nothing here knows the contigs of."""
_ENDINGS = {
    "vcf": (".vcf", ".bcf"),
    "gff3": (".gff3", ".gff"),
    "gtf": (".gtf",),
    "bed": (".bed",),
    "tsv": (".tsv", ".tab", ".txt"),
}


@dataclass(frozen=True)
class SourceRequest:
    """What a person said of the file; None: look at it. fields: further ones to keep."""

    kind: str | None = None
    preset: str | None = None
    assembly: str | None = None
    fields: tuple[str, ...] | None = None
    fasta: str | None = None


@dataclass(frozen=True)
class SourceReport:
    """source: as it is registered now. before: the version it replaced, None where there was none.

    unchanged: the same bytes and settings were registered already, and nothing was written. told: sentences on what
    was decided and noticed. rejected: lines set aside; repeated: alleles that stood in the file more than once, beyond
    the one kept. seconds: of this call.
    """

    source: Source
    before: Source | None
    unchanged: bool
    told: tuple[str, ...]
    rejected: int
    repeated: int
    seconds: float


@dataclass(frozen=True)
class _Judged:
    """A file before its rows are read."""

    path: str
    sha256: str
    kind: str
    preset: Preset
    assembly: str
    fields: tuple[str, ...]
    fasta: str | None
    fasta_sha256: str | None
    told: tuple[str, ...]

    @property
    def version(self) -> str:
        matters = {
            "code": SOURCE_CODE,
            **{"kind": self.kind, "preset": self.preset.name, "assembly": self.assembly},
            **{"fields": list(self.fields), "fasta": self.fasta_sha256},
        }
        digest = hashlib.blake2b(bytes.fromhex(self.sha256), digest_size=16)
        digest.update(json.dumps(matters, sort_keys=True).encode())
        return digest.hexdigest()


def add_source(
    path: str,
    *,
    tenant: str,
    name: str,
    request: SourceRequest,
    ledger: Ledger,
    tables: SourceTables,
    replaces: bool = False,
    progress: Progress | None = None,
) -> SourceReport:
    """Register a file, or with `replaces` put it in the place of the version that is registered.

    What was said of that one holds for the new one unless it is said anew. The same bytes again change nothing.
    Killed at any moment, the version before is current, and a repetition gives what one call would have given.
    Raises BadSourceName, BadSetting (what cannot be known or does not fit), UsageError (SOURCE_EXISTS), UnknownSource,
    InputRefused, Superseded, StoreUnavailable.
    """
    started = time.monotonic()
    check_source_name(name)
    current = ledger.source(tenant, name) if replaces else ledger.find_source(tenant, name)
    if replaces and current is not None:
        request = _inherited(request, current)
    judged = _judged(path, request, progress)
    with ledger.lease(source_lease(tenant, name), wait_seconds=LEASE_WAIT_SECONDS) as lease:
        current = ledger.find_source(tenant, name)
        if current is not None and current.version == judged.version and (tables.root / current.path / ROWS).is_file():
            tables.sweep(tenant, name, current.path)
            return SourceReport(current, current, True, judged.told, 0, 0, time.monotonic() - started)
        if current is not None and not replaces and current.version != judged.version:
            raise UsageError(
                where=f"source {name}",
                expected="a name that is not taken, or the same file again",
                got=f"another file or other settings than those of version {current.version[:8]}",
                repair=f"`vcf-pipeline sources update {name} FILE` puts it in the place of that one.",
                code="SOURCE_EXISTS",
            )
        tables.sweep(tenant, name, current.path if current is not None else None)
        sort_by, reduced = _shape(judged)
        with tables.writer(
            tenant, name, judged.version, sort_by=sort_by, last=last_column(judged.kind), reduced=reduced
        ) as writer:
            noticed = _read_rows(judged, writer, progress)
            if judged.fasta is not None:
                keep_model(judged.path, judged.fasta, writer.folder)
            lease.check()
            writer.finish()
            source = Source(
                tenant=tenant,
                name=name,
                kind=judged.kind,
                preset=judged.preset.name,
                assembly=judged.assembly,
                version=judged.version,
                uri=judged.path,
                path=writer.path,
                rows=writer.rows,
                settings={
                    "fields": list(judged.fields),
                    "sha256": judged.sha256,
                    "fasta": judged.fasta,
                    "fasta_sha256": judged.fasta_sha256,
                    "fasta_stat": _stat(judged.fasta),
                    "rejected": noticed.rejected,
                    "not_left_aligned": noticed.not_left_aligned,
                },
            )
            before = ledger.put_source(source, lease)
            writer.keep()
            repeated = writer.rows_in - writer.rows
        tables.sweep(tenant, name, source.path)
    told = [*judged.told, *noticed.sentences(source, repeated)]
    return SourceReport(
        ledger.source(tenant, name), before, False, tuple(told), noticed.rejected, repeated, time.monotonic() - started
    )


def remove_source(name: str, *, tenant: str, ledger: Ledger, tables: SourceTables) -> Source:
    """The source that was; its callsets are stale by it. Raises UnknownSource, Superseded."""
    source = ledger.source(tenant, name)
    with ledger.lease(source_lease(tenant, name), wait_seconds=LEASE_WAIT_SECONDS) as lease:
        ledger.drop_source(tenant, name, lease)
        tables.sweep(tenant, name, None)
    return source


@dataclass(frozen=True)
class Effect:
    """What the sources of now mean for one callset. used: it was triaged with the source before."""

    key: PartitionKey
    label: str
    is_stale: bool
    not_joined: str | None


def effects_of(source: Source, *, ledger: Ledger, tables: Tables, is_removed: bool = False) -> list[Effect]:
    """Each triaged callset of the tenant: whether the source as it is now makes its triage stale.

    not_joined: why the callset is not joined with it, else None.
    """
    found = []
    for callset in ledger.callsets(source.tenant):
        manifest = tables.manifest(callset.tenant, callset.callset_id, ASSET)
        if callset.state == "forgotten" or manifest is None:
            continue
        used, reasons = usable([source], manifest.assembly)
        wanted = source.version if used and not is_removed else None
        is_stale = manifest.inputs.get(f"{SOURCE_INPUT}{source.name}") != wanted
        found.append(Effect(callset.key, callset.label, is_stale, reasons.get(source.name)))
    return found


def moves_of(
    keys: Sequence[PartitionKey], *, tables: Tables, registered: Registered, thresholds: TriageThresholds
) -> Iterator[tuple[PartitionKey, pl.DataFrame]]:
    """For each callset the alleles whose tier the next triage will move, and those that will keep it under another
    claim (their old_tier is their new_tier): frames of TIER_MOVES that are not empty.
    """
    for key in keys:
        for frame in moves_to_come(key, tables, thresholds=thresholds, registered=registered, with_claims=True):
            if frame.height:
                yield key, frame


def keys_of_rsid(rsid: str, *, tenant: str, ledger: Ledger, tables: SourceTables) -> list[tuple[Source, str]]:
    """(source, variant_key) of every allele that a registered source calls so. rsid: as in rs80357382.

    Reads the rsIDs of the tenant's sources from their first to their last row group.
    """
    found = []
    for source in ledger.sources(tenant):
        column = f"field_{RSID}"
        if RSID not in PRESETS[source.preset].identifiers:
            continue
        with tables.open(source.path, last_column(source.kind)) as rows:
            for group in rows.groups:
                hits = rows.read(group, ["variant_key", column]).filter(pl.col(column) == rsid)
                found += [(source, key) for key in hits["variant_key"]]
    return found


# --- judging a file


def _inherited(request: SourceRequest, current: Source) -> SourceRequest:
    settings = current.settings
    return SourceRequest(
        kind=request.kind or current.kind,
        preset=request.preset or current.preset,
        assembly=request.assembly or current.assembly,
        fields=request.fields if request.fields is not None else tuple(settings.get("fields", ())),
        fasta=request.fasta or settings.get("fasta"),
    )


def _judged(path: str, request: SourceRequest, progress: Progress | None) -> _Judged:
    file = str(readable_file(path))

    def told_of(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total, 0)

    sha256, _ = content_sha256(file, told_of("checksum"))
    kind = request.kind or _kind_of(file)
    header: Header | None = None
    if kind == "vcf":
        with open_reader(file, ReaderSettings(info=(), formats=(), assembly=request.assembly), sha256=sha256) as reader:
            header, assembly = reader.header, reader.assembly
    else:
        assembly = assembly_of_comments(_comments(file), request.assembly)
    name = _assembly_name(assembly, request.assembly, file)
    fields = request.fields or ()
    preset, why = _preset(kind, header, request.preset, fields, file)
    _check_fields(kind, preset, fields, header, file)
    fasta = fasta_sha256 = None
    if request.fasta is not None:
        fasta, fasta_sha256 = _fasta(request.fasta, kind, told_of("reference"))
    told = (f"read as {preset.name}: {why}", f"assembly {name}: {assembly.reason}")
    return _Judged(file, sha256, kind, preset, name, tuple(fields), fasta, fasta_sha256, told)


def _kind_of(path: str) -> str:
    stem = Path(path).name.lower()
    for ending in (".gz", ".bgz", ".bgzf"):
        stem = stem.removesuffix(ending)
    found = next((kind for kind, endings in _ENDINGS.items() if stem.endswith(endings)), None)
    if found is None:
        raise BadSetting(
            where=path,
            expected="a name that ends in " + ", ".join(ending for endings in _ENDINGS.values() for ending in endings),
            got=repr(Path(path).name),
            repair=f"Say what it is: --kind {'|'.join(KINDS)}.",
            code="UNKNOWN_KIND",
        )
    return found


def _comments(path: str) -> str:
    """The first comment lines of a text, at most 1 MiB."""
    with open_text(path) as text:
        block = next(text.blocks(_COMMENT_BYTES), None)
    start = block.text[:_COMMENT_BYTES] if block is not None else b""
    lines = []
    for line in start.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.startswith(("#", "track", "browser")):
            break
        lines.append(line)
    return "\n".join(lines)


def _preset(
    kind: str, header: Header | None, asked: str | None, fields: Sequence[str], path: str
) -> tuple[Preset, str]:
    if asked is not None:
        preset = PRESETS[asked]
        if kind not in preset.kinds:
            raise BadSetting(
                where=path,
                expected=f"a file of kind {' or '.join(preset.kinds)} for the preset {asked}",
                got=kind,
                repair="Choose another --preset, or name the file's --kind.",
            )
        return preset, "as asked"
    guess = guessed_preset(kind, header)
    if guess is None and fields:
        return PRESETS["custom"], "--fields says what is shown of it"
    if guess is None:
        raise BadSetting(
            where=path,
            expected="a file whose header tells what it is: ClinVar, gnomAD, dbSNP or a cohort with AC and AN",
            got="none of them",
            repair="Say it with --preset, or name fields that are only shown, as in `--fields SCORE,SET`.",
            code="UNKNOWN_PRESET",
        )
    return PRESETS[guess[0]], guess[1]


def _stat(path: str | None) -> list[int] | None:
    """Size and time of change, by which a use of it sees that it is another file now."""
    if path is None:
        return None
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns]


def _check_fields(kind: str, preset: Preset, fields: Sequence[str], header: Header | None, path: str) -> None:
    if fields and kind not in ALLELE_KINDS:
        raise BadSetting(
            where=path,
            expected="--fields for alleles, of a VCF or TSV",
            got=f"a {kind}, whose intervals have a name alone",
            repair="Leave --fields out.",
        )
    if preset.name == "custom" and kind in ALLELE_KINDS and not fields:
        raise BadSetting(
            where=path,
            expected="--fields that name what is to be shown of it",
            got="none",
            repair="Name them, as in `--fields SCORE,SET`, or choose another --preset.",
        )
    declared = header.info if header is not None else dict.fromkeys(fields)
    for name in fields:
        if name not in declared:
            near = difflib.get_close_matches(name, list(declared), 3)
            raise BadSetting(
                where=f"{path}, --fields",
                expected="INFO keys that the header declares",
                got=repr(name[:60]),
                repair=f"Perhaps {' or '.join(near)}." if near else "`bcftools view -h` shows them.",
                code="UNKNOWN_FIELD",
            )


def _assembly_name(assembly: Assembly, asked: str | None, path: str) -> str:
    if asked is not None and _LOOKS_HUMAN.fullmatch(assembly.name or "") and assembly.name not in ASSEMBLIES:
        raise BadSetting(
            where="--assembly",
            expected=f"{', '.join(ASSEMBLIES)}, a name that stands for one of them, or another species' assembly",
            got=repr(asked[:40]),
            repair="What differs in assembly is never joined, so that a slip would leave the source unheard.",
            code="UNKNOWN_ASSEMBLY",
        )
    if assembly.name is not None:
        return assembly.name
    raise BadSetting(
        where=path,
        expected="an assembly that the file tells, since what differs in it is never joined",
        got=assembly.reason,
        repair="Say it: --assembly GRCh37, GRCh38 or T2T-CHM13.",
        code="UNKNOWN_ASSEMBLY",
    )


def _fasta(fasta: str, kind: str, progress: Callable[[int, int], None] | None) -> tuple[str, str]:
    if kind != "gff3":
        raise BadSetting(
            where="--fasta",
            expected="a gene model in GFF3, of which consequences are computed",
            got=kind,
            repair="Leave --fasta out, or give the gene model as GFF3 (Ensembl's).",
        )
    file = str(readable_file(fasta))
    return file, content_sha256(file, progress)[0]


# --- reading its rows


@dataclass
class _Noticed:
    """What was seen on the way."""

    rejected: int = 0
    not_left_aligned: int = 0
    lines: int = 0
    first_reject: str = ""
    largest_share: float = ReaderSettings().max_reject_share

    def sentences(self, source: Source, repeated: int) -> list[str]:
        told = []
        if self.rejected:
            told.append(f"{self.rejected:,} lines were set aside; the first: {self.first_reject}")
        if repeated > 0 and source.kind in ALLELE_KINDS:
            told.append(f"{repeated:,} repetitions of an allele were left out: the one that says most was kept")
        if self.not_left_aligned:
            told.append(
                f"{self.not_left_aligned:,} indels are not left-aligned: `bcftools norm -f REFERENCE` before adding "
                "it makes them match"
            )
        return told


def _shape(judged: _Judged) -> tuple[tuple[str, ...], Callable[[pl.DataFrame], pl.DataFrame]]:
    """(what rows are sorted by, how those at one place are reduced)."""
    if judged.kind in ALLELE_KINDS:
        return ("key_pos", "variant_key"), lambda rows: one_per_key(rows, judged.preset)
    return ("start", "end", "name"), lambda rows: rows.unique(maintain_order=True)


def _read_rows(judged: _Judged, writer: SourceWriter, progress: Progress | None) -> _Noticed:
    noticed = _Noticed()
    if judged.kind == "vcf":
        _read_vcf(judged, writer, noticed, progress)
    else:
        _read_text(judged, writer, noticed, progress)
    return noticed


def _read_vcf(judged: _Judged, writer: SourceWriter, noticed: _Noticed, progress: Progress | None) -> None:
    settings = ReaderSettings(
        info=wanted_info(judged.preset, judged.fields),
        formats=(),
        assembly=judged.assembly,
        block_bytes=_BLOCK_BYTES,
    )
    with open_reader(judged.path, settings, sha256=judged.sha256) as reader:
        for batch in reader.batches():
            rows = allele_rows_of(batch.variants, judged.preset, judged.fields, judged.assembly)
            if batch.rejects.height and not noticed.first_reject:
                noticed.first_reject = "line {}, {}".format(*batch.rejects.select("line", "message").row(0))
            noticed.rejected += batch.rejects.height
            noticed.not_left_aligned += int((~rows["is_left_aligned"]).sum())
            writer.write(rows)
            if progress is not None:
                progress("read", *reader.progress(), writer.rows_in)
    _at_least_empty(judged, writer)


def _read_text(judged: _Judged, writer: SourceWriter, noticed: _Noticed, progress: Progress | None) -> None:
    name = judged.path
    with open_text(name) as text:
        genes = GeneReader("gff3" if judged.kind == "gff3" else "gtf", name) if judged.preset.is_gene_model else None
        table: TsvReader | None = None
        for block in text.blocks():
            body, line = block.text, block.first_line
            if genes is not None:
                writer.write(genes.genes(body, line))
            elif judged.kind == "tsv":
                if table is None:
                    head, body, line = _tsv_header(body, line)
                    table = TsvReader(head, _tsv_fields(judged, head), name)
                variants, texts, rejects = table.alleles(body, line)
                noticed.lines = table.n_lines
                if rejects.height and not noticed.first_reject:
                    noticed.first_reject = "line {}, {}".format(*rejects.select("line", "message").row(0))
                noticed.rejected += rejects.height
                rows = allele_rows_of(variants, judged.preset, judged.fields, judged.assembly, texts)
                noticed.not_left_aligned += int((~rows["is_left_aligned"]).sum())
                writer.write(rows)
            else:
                writer.write(bed_intervals(body, line, name))
            if progress is not None:
                progress("read", *text.progress(), writer.rows_in)
        if genes is not None:
            writer.write(genes.rest())
    if judged.kind == "tsv":
        _check_share(noticed, name)
    _at_least_empty(judged, writer)


def _tsv_header(body: bytes, line: int) -> tuple[str, bytes, int]:
    """(the header line, what follows, the number of its first line). Lines with ## before it are passed over."""
    while body.startswith((b"##", b"\n", b"\r\n")):
        _, _, body = body.partition(b"\n")
        line += 1
    head, _, rest = body.partition(b"\n")
    return head.decode("utf-8", "backslashreplace"), rest, line + 1


def _tsv_fields(judged: _Judged, head: str) -> list[str]:
    """Those of the preset that the table has, and all that were asked for."""
    columns = head.lstrip("#").rstrip("\r\n").split("\t")
    return list(dict.fromkeys([*(key for key in judged.preset.fields() if key in columns), *judged.fields]))


def _check_share(noticed: _Noticed, path: str) -> None:
    if noticed.rejected > noticed.lines * noticed.largest_share:
        raise TooManyRejects(
            where=path,
            expected=f"at most {noticed.largest_share:.0%} of the lines set aside",
            got=f"{noticed.rejected:,} of {noticed.lines:,}",
            repair=f"The first: {noticed.first_reject}",
            rejected=noticed.rejected,
            records=noticed.lines,
            by_code={},
        )


def _at_least_empty(judged: _Judged, writer: SourceWriter) -> None:
    """A table without rows has its columns all the same; a file of intervals has some, or is another sort of file."""
    if judged.kind not in ALLELE_KINDS:
        if not writer.rows_in:
            raise InputRefused(
                where=judged.path,
                expected="genes" if judged.preset.is_gene_model else "intervals",
                got="none in it",
                repair="Is it the right file, and its --kind?",
                code="NO_ROWS",
            )
        return
    dtypes = {stored(key): dtype for key, dtype in field_dtypes(judged.preset, judged.fields).items()}
    writer.write(pl.DataFrame(schema={**ALLELE_HEAD, **dtypes}))
