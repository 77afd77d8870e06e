"""What a dead and a frozen broker cost: seconds until the batch that met it is acknowledged by the next one.

Run by hand: `python -m vcf_pipeline_tests.benchmarks.failover [--times 5]`. It starts a real Iggy (`iggy-server` of
PATH) with a real Kafka behind it, and prints each publication's longest wait; the design allows one second. The first
of all makes Kafka's topics, as `vcf-pipeline topology apply` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.adapters.broker.real_brokers import real_servers

BODY = bytes(200_000)
BEFORE, AFTER = 50, 20


def longest_wait(settings: dict[str, str], home: Path, server: Any, kind: str) -> float:
    """Seconds of the slowest batch after the fault, in one publication."""
    slowest = 0.0
    with (
        Control(load_settings(settings, home=home)) as control,
        ExitStack() as until_seen,
        control.coordinator.publisher("default", home.name) as publisher,
    ):
        for seq in range(BEFORE):
            publisher.send(seq, BODY)
            publisher.flush()
        if kind == "freeze":
            until_seen.enter_context(server.frozen())
        else:
            server.kill()
            until_seen.callback(server.start)
        for seq in range(BEFORE, BEFORE + AFTER):
            began = time.perf_counter()
            publisher.send(seq, BODY)
            publisher.flush()
            slowest = max(slowest, time.perf_counter() - began)
    return slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, real_servers(Path(scratch)) as (settings, servers):
        for kind in ("freeze", "kill"):
            found = [
                longest_wait(settings, Path(scratch) / f"{kind}-{number}", servers["iggy"], kind)
                for number in range(asked.times)
            ]
            print(f"{kind}: " + ", ".join(f"{seconds:.2f}" for seconds in found) + " s", flush=True)


if __name__ == "__main__":
    main()
