"""What the tests of publishing and of receiving share: a file made here, and a call with everything it
needs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.publish import PublishReport, publish_callset
from vcf_pipeline_tests.vcf_text import header_text, record

SMALL_BLOCKS = ReaderSettings(block_bytes=4096)
_numbers = itertools.count()


def made_vcf(folder: Path, records: int = 1500, broken: int = 0) -> str:
    """Two samples, repeated ALTs, and as many lines without a position as asked for."""
    lines = [
        record(
            "C,G" if number % 5 == 0 else "C",
            f"DP={number}",
            "GT:AD",
            "0/1:3,4" if number % 5 else "1|2:1,2,3",
            "./.",
            pos=100 + number,
        )
        for number in range(records)
    ]
    lines += ["1\tnowhere\t.\tA\tC\t.\t.\t.\tGT\t0/0\t0/0\n"] * broken
    header = header_text(info=("DP,1,Integer",), formats=("GT,1,String", "AD,R,Integer"), samples=("kid", "mum"))
    path = folder / "made.vcf"
    path.write_text(header + "".join(lines))
    return str(path)


def published(
    path: str,
    coordinator: Coordinator,
    folder: Path,
    *,
    progress: Callable[[int, int, int], None] | None = None,
    settings: ReaderSettings = SMALL_BLOCKS,
    **others: Any,
) -> PublishReport:
    return publish_callset(
        path,
        tenant="t",
        label=None,
        settings=settings,
        coordinator=coordinator,
        state_dir=folder / "publish",
        progress=progress,
        now=lambda: "2026-01-01T00:00:00+00:00",
        new_id=lambda: f"id-{next(_numbers)}",
        **others,
    )


def announcements(coordinator: Coordinator) -> list[Announcement]:
    messages = heard(coordinator.wait([CALLSETS], Cursor(), 0.0))
    return [message.event for message in messages if message.event is not None]
