"""A ledger in a folder, callsets in it, announcements of them, and other processes that open it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.identity import PartitionKey, announcement_id
from vcf_pipeline.domain.stream.announcement import Announcement, Segment
from vcf_pipeline.domain.stream.topics import variants_topic
from vcf_pipeline_tests.programs import children

KEY = PartitionKey("default", "0123456789abcdef")


def address(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def register(ledger: Ledger, key: PartitionKey = KEY, **changed: Any) -> tuple[Callset, bool]:
    values = {
        "label": "trio",
        "uri": "/data/trio.vcf",
        "sha256": "0" * 64,
        "size_bytes": 7,
        "assembly": None,
        "reader_settings": {"mode": "quarantine", "info": ["DP"]},
        "settings_fingerprint": "f" * 16,
        "correlation_id": "c",
    }
    return ledger.register(key.tenant, key.callset_id, **{**values, **changed})


def announced(publish_id: str = "p1", fingerprint: str = "f" * 16, key: PartitionKey = KEY) -> Announcement:
    segment = Segment("embedded", variants_topic(key.tenant).full_name, "i", 0, publish_id, 0, 3)
    return Announcement(
        id=announcement_id(key.tenant, key.callset_id, publish_id),
        tenant=key.tenant,
        callset_id=key.callset_id,
        publish_id=publish_id,
        correlation_id=f"c-{publish_id}",
        label="trio, sent",
        uri="/sender/trio.vcf",
        sha256="0" * 64,
        size_bytes=7,
        assembly=None,
        reader_settings={"mode": "quarantine"},
        settings_fingerprint=fingerprint,
        segments=(segment,),
        n_chunks=4,
        records=3,
        alleles=3,
        rejected=0,
        digest="d1:" + "0" * 32,
        vcf_version="VCFv4.2",
        created_at="2026-01-01T00:00:00Z",
    )


def in_another_process(work: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    """Started afresh: an engine must not cross a fork."""
    child = children().Process(target=work, args=arguments)
    child.start()
    return child
