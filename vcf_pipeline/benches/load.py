"""`bench load`: as many publications at once as asked for, through one coordinator.

Not here: a single one's figures (stream.py).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.benches.figures import Watch, new_ids, percentiles, publish
from vcf_pipeline.domain.errors import PipelineError


def bench_load(paths: list[Path], coordinator: Coordinator, scratch: Path) -> dict[str, Any]:
    """paths: a file for each stream, of contents that differ. What fails is counted and told, and stops no other."""
    new_id = new_ids()

    def one(path: Path) -> dict[str, Any]:
        watch = Watch()
        try:
            report = publish(path, coordinator, scratch / "publish", new_id)
        except PipelineError as problem:
            return {"variants": 0, "bytes": 0, "seconds": watch.seconds, "error": str(problem)}
        return {"variants": report.alleles, "bytes": report.bytes_sent, "seconds": watch.seconds, "error": ""}

    watch = Watch()
    with ThreadPoolExecutor(len(paths), thread_name_prefix="load") as streams:
        done = list(streams.map(one, paths))
    seconds, cpu_seconds = watch.seconds, watch.cpu_seconds
    variants = sum(each["variants"] for each in done)
    whole = [each["seconds"] for each in done if not each["error"]]
    return {
        "streams": len(paths),
        "failed": sum(bool(each["error"]) for each in done),
        "errors": sorted({each["error"] for each in done if each["error"]})[:5],
        "variants": variants,
        "variants_per_s": round(variants / seconds),
        "variants_per_cpu_s": round(variants / cpu_seconds) if cpu_seconds else 0,
        "wire_mb_per_s": round(sum(each["bytes"] for each in done) / 1e6 / seconds, 2),
        "seconds": round(seconds, 3),
        "stream_seconds": {name: round(value, 3) for name, value in percentiles(whole).items()},
        "streams_by_seconds": [round(value, 3) for value in sorted(whole)],
    }
