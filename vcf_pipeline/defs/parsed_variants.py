"""The asset `parsed_variants`: a callset's VCF as typed tables, from the stream or from the file. And its checks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from vcf_pipeline.defs.callset_step import (
    FORCE_TAG,
    LEASE_WAIT_SECONDS,
    CheckOutcome,
    StepOutcome,
    materialize,
)
from vcf_pipeline.defs.failures import TRANSIENT_RETRIES
from vcf_pipeline.defs.metadata import column_schema, contig_plot, counts_table, preview
from vcf_pipeline.defs.partitions import CALLSETS
from vcf_pipeline.domain.errors import (
    BrokerTimeout,
    BrokerUnavailable,
    BrokerUnfit,
    ChangedWhileRead,
    NotFound,
    PipelineError,
    StreamBroken,
    TransientError,
)
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.run_plan import PATH_TAG
from vcf_pipeline.domain.tables.schemas import ROW_ID, VARIANTS_HEAD, VARIANTS_TAIL
from vcf_pipeline.domain.vcf.batch import BatchSource
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.wiring import Control

if TYPE_CHECKING:
    from vcf_pipeline.adapters.ledger.callsets import Callset
    from vcf_pipeline.domain.stream.announcement import Announcement

Opener = Callable[[], AbstractContextManager[BatchSource]]
SOURCE_IS_LOST = (NotFound, ChangedWhileRead, StreamBroken, BrokerUnfit, BrokerUnavailable, BrokerTimeout)


@dg.asset(
    partitions_def=CALLSETS,
    group_name="variants",
    kinds={"parquet", "polars"},
    owners=["team:vcf-pipeline"],
    tags={"domain": "genomics"},
    code_version="1",
    backfill_policy=dg.BackfillPolicy.single_run(),
    retry_policy=TRANSIENT_RETRIES,
    check_specs=[
        dg.AssetCheckSpec(
            "no_silent_loss",
            asset="parsed_variants",
            blocking=True,
            description="Every data line is in the tables or among the rejects: records = records kept + rejected.",
        ),
        dg.AssetCheckSpec(
            "stream_complete",
            asset="parsed_variants",
            blocking=True,
            description="What was received is what was announced: chunks, records, alleles and digest.",
        ),
    ],
    metadata={"dagster/column_schema": column_schema(ROW_ID, VARIANTS_HEAD, VARIANTS_TAIL)},
)
def parsed_variants(context: dg.AssetExecutionContext, control: dg.ResourceParam[Control]) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per ALT allele, typed by the header, with genotypes, consequences and the records set aside.

    Read from the announced stream, or from the callset's own file where there is no stream (the batch path); the
    tables are equal either way. Nothing is done when the manifest is current.
    """
    path = context.run.tags.get(PATH_TAG, "")
    force = context.run.tags.get(FORCE_TAG) == "true"
    return materialize(context, control, lambda callset: _parse(context, control, callset, path, force=force))


def _parse(
    context: dg.AssetExecutionContext, control: Control, callset: "Callset", path: str, *, force: bool
) -> StepOutcome:
    from vcf_pipeline.stages.dead_letters import bury_announcement
    from vcf_pipeline.stages.parse import parse_callset, stored_report

    def progress(done: int, total: int, records: int) -> None:
        control.report_progress("parse", done, total, "bytes", records)

    key = callset.key
    with control.ledger.lease(f"parsed_variants/{key}", wait_seconds=LEASE_WAIT_SECONDS) as lease:
        report = None if force else stored_report(callset, control.tables)
        lost: list[PipelineError] = []
        for opener, announced_digest in _openers(control, callset, path):
            if report is not None:
                break
            try:
                with opener() as source:
                    report = parse_callset(
                        source,
                        callset=callset,
                        tables=control.tables,
                        ledger_lease=lease,
                        progress=progress,
                        force=force,
                        announced_digest=announced_digest,
                        instead_of=[str(error) for error in lost],
                    )
            except SOURCE_IS_LOST as error:
                lost.append(error)
                context.log.warning(str(error))
    if report is None:
        # A source that may come back decides before one that is gone, else the one that ought to have been there.
        decisive = next((error for error in lost if isinstance(error, TransientError)), lost[0])
        if isinstance(decisive, StreamBroken) and (announced := _announced(control, callset)) is not None:
            bury_announcement(control.coordinator, announced, control.ledger.announced_at(announced), decisive)
        raise decisive
    manifest = report.manifest
    metadata: dict[str, Any] = {
        "dagster/row_count": report.alleles,
        "records": report.records,
        "rejected": report.rejected,
        "samples": len(manifest.samples),
        "seconds": round(report.seconds, 3),
        "variants_per_second": round(report.variants_per_s),
        "bytes_on_disk": sum(part.size_bytes for part in manifest.parts),
        "engine": report.engine,
        "reused": report.reused,
        "label": callset.label,
        "vcf_version": manifest.vcf_version,
        "assembly": f"{manifest.assembly or 'unknown'}: {manifest.assembly_reason}",
        "digest": report.digest,
        "manifest": dg.MetadataValue.path(
            str(control.tables.manifest_path(key.tenant, key.callset_id, "parsed_variants"))
        ),
        "variants_per_contig": contig_plot(report.per_contig),
    }
    if instead_of := manifest.extra.get("instead_of"):
        metadata["instead_of"] = "; ".join(instead_of)
    if report.defects:
        metadata["defects_by_code"] = counts_table("code", report.defects)
    if control.settings.profile == "development":
        head = control.tables.scan(key.tenant, key.callset_id, "parsed_variants", "variants").head(8).collect()
        metadata["preview"] = preview(head)
    return StepOutcome(report.digest, metadata, _checks(control, callset))


def _checks(control: Control, callset: "Callset") -> list[CheckOutcome]:
    """Counted again from the tables on disk, not from what the writer says it wrote."""
    key = callset.key
    manifest = control.tables.manifest(key.tenant, key.callset_id, "parsed_variants")
    if manifest is None:
        return [CheckOutcome("no_silent_loss", passed=False), CheckOutcome("stream_complete", passed=False)]
    kept = _records_in(control, key, "variants")
    rejected = _records_in(control, key, "rejects")
    loss = {"records": manifest.records, "kept": kept, "rejected": rejected}
    announced = _announced(control, callset)
    arrived: dict[str, Any] = {"source": "stream" if "segments" in manifest.source else "file"}
    complete = True
    if announced is not None:
        complete = (announced.records, announced.alleles, announced.digest) == (
            manifest.records,
            manifest.alleles,
            manifest.digest,
        )
        arrived |= {"announced_records": announced.records, "announced_alleles": announced.alleles}
    return [
        CheckOutcome("no_silent_loss", kept + rejected == manifest.records, loss),
        CheckOutcome("stream_complete", complete, arrived),
    ]


def _records_in(control: Control, key: PartitionKey, table: str) -> int:
    """Records with a row in the table, which is in their order: counted where the number changes, without a set."""
    total, last = 0, -1
    for frame in control.tables.frames(key.tenant, key.callset_id, "parsed_variants", table, ["record_no"]):
        numbers = frame["record_no"].to_numpy()
        if len(numbers):
            total += int(numbers[0] != last) + int((numbers[1:] != numbers[:-1]).sum())
            last = int(numbers[-1])
    return total


def _openers(control: Control, callset: "Callset", path: str) -> list[tuple[Opener, str | None]]:
    """Where the callset can be read from, best first, each with the digest that its tables must have.

    The announced stream, then the file; on a batch run the other way round.
    """
    announcement = _announced(control, callset)
    if announcement is None:
        return [(lambda: _file(callset), None)]
    from vcf_pipeline.stages.receive import open_received

    stream: Opener = lambda: open_received(announcement, control.coordinator)  # noqa: E731 - one of two, alike
    openers: list[tuple[Opener, str | None]] = [(stream, announcement.digest), (lambda: _file(callset), None)]
    return openers[::-1] if path == "batch" else openers


def _announced(control: Control, callset: "Callset") -> "Announcement | None":
    """The callset's announcement, unless it was registered with other reader settings since."""
    found = control.ledger.announcement(callset.key)
    return found if found is not None and found.settings_fingerprint == callset.settings_fingerprint else None


@contextmanager
def _file(callset: "Callset") -> Iterator[BatchSource]:
    from vcf_pipeline.adapters.objects import content_sha256
    from vcf_pipeline.adapters.vcf_files.reader import open_reader

    sha256, _ = content_sha256(callset.uri)
    if sha256 != callset.sha256:
        raise ChangedWhileRead(
            where=callset.uri,
            expected=f"the bytes that were registered (sha256 {callset.sha256[:12]}…)",
            got=f"others (sha256 {sha256[:12]}…)",
            repair="Register the file as it is now: it becomes a callset of its own.",
        )
    with open_reader(callset.uri, ReaderSettings.from_record(callset.reader_settings), sha256=sha256) as reader:
        yield reader
