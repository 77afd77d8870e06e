"""URI → callset in the ledger. Same bytes, same callset, whatever the file is called.

What cannot be a callset is refused before anything but a ledger row with the reason exists of it.
Not here: publishing to a stream (publish.py), Dagster's partition (defs/launch.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.adapters.objects import content_sha256, readable_file
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import InputRefused
from vcf_pipeline.domain.identity import PartitionKey, callset_id
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

ENDINGS = (".gz", ".bgz", ".bgzf", ".vcf", ".bcf")


def label_of(path: Path) -> str:
    """The file's name without its endings: what people call the callset. Never part of an id, key or topic."""
    name = path.name
    while name.lower().endswith(ENDINGS) and name.rfind(".") > 0:
        name = name[: name.rfind(".")]
    return name


def register_callset(
    path: str,
    *,
    tenant: str,
    label: str | None,
    settings: ReaderSettings,
    ledger: Ledger,
    new_id: Callable[[], str],
    progress: Callable[[int, int], None] | None = None,
    way: str = "batch",
) -> tuple[Callset, bool]:
    """The callset of the file, and whether it is new (or comes back after a `forget`).

    Raises NotFound, with nothing kept; NotAVcf, Truncated or another InputRefused, with a ledger row *refused* that
    says why, or as it was where the callset was done before. progress(bytes, of how many) while the file is read once
    for its checksum. way: how it came, as the ledger calls it.
    """
    file = readable_file(path)
    sha256, size_bytes = content_sha256(str(file), progress)
    refusal: InputRefused | None = None
    try:
        with open_reader(str(file), settings, sha256=sha256):
            pass  # opening reads the header, which is all that can be said before the records are read
    except InputRefused as refused:
        refusal = refused
        known = ledger.callset(PartitionKey(tenant, callset_id(sha256, settings.assembly)))
        if known is not None and known.state == "done":
            refusal.add_sentence(stands(known.alleles or 0, known.reader_settings))
            raise
    callset, is_new = ledger.register(
        tenant,
        callset_id(sha256, settings.assembly),
        label=label or label_of(file),
        uri=str(file),
        sha256=sha256,
        size_bytes=size_bytes,
        assembly=settings.assembly,
        reader_settings=settings.as_record(),
        settings_fingerprint=settings.fingerprint(),
        correlation_id=new_id(),
        path=way,
    )
    if refusal is not None:
        ledger.mark_refused(callset.key, str(refusal), refusal.code, generation=callset.generation)
        raise refusal
    return callset, is_new


def stands(alleles: int, reader_settings: dict[str, Any]) -> str:
    """What a refusal adds where an earlier result of the callset stays as it is."""
    mode = reader_settings.get("mode", ReaderSettings().mode)
    return f"The earlier result stands: {alleles:,} alleles, read in mode {mode}."
