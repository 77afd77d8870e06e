"""How long from typing `publish` until both stores answer, on a quiet stream, and where the time goes.

Run by hand: `python -m vcf_pipeline_tests.benchmarks.publish_to_searchable [--records 10000] [--times 7]`. It starts
the real daemon in a scratch home, publishes file after file, each once the stream is quiet, and prints the median.
Brokers are those of the environment (VCF_PIPELINE_IGGY__URL, VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS), else embedded.
The target of the design is a median of 8 s for 10,000 variants on the laptop's instance.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline_tests.programs import (
    ROOT,
    dagster_daemon,
    dagster_exports,
    is_explained,
    vcf_pipeline,
    wait_until,
)

SOURCE = ROOT / "vcf_pipeline_tests" / "data" / "slivar__ashk-trio.vcf.gz"
QUIET_SECONDS = 6.0
STEPS = ("parsed_variants", "triaged_variants", "lancedb_variants", "kuzu_variants")
PHASES = ("publish", "heard, run queued", "dequeued, process started", *STEPS, "marked done")


def cut_file(source: Path, records: int, number: int, folder: Path) -> Path:
    """The first records of a real file, again and again until there are enough; another header line makes another
    callset."""
    header: list[bytes] = []
    body: list[bytes] = []
    with gzip.open(source) as lines:
        for line in lines:
            (header if line.startswith(b"#") else body).append(line)
            if len(body) == records:
                break
    header.insert(-1, f"##benchmark={number}\n".encode())
    made = folder / f"cut-{number}.vcf.gz"
    with gzip.open(made, "wb", compresslevel=1) as out:
        out.writelines(header)
        out.writelines((body * (-(-records // len(body))))[:records])
    return made


def state(ledger: Ledger, partition: str) -> str:
    found = ledger.callset(PartitionKey.parse(partition))
    return "" if found is None else found.state


def timeline(instance: Any, partition: str, began: float, published: float, done: float) -> dict[str, float]:
    """Seconds by phase, in order; they add up to the whole."""
    from dagster import DagsterEventType, RunsFilter

    (record,) = instance.get_run_records(RunsFilter(job_name="variants_job", tags={"dagster/partition": partition}))
    moments = {"publish": published, "heard, run queued": record.create_timestamp.timestamp()}
    for entry in instance.all_logs(record.dagster_run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type is DagsterEventType.STEP_START and "dequeued, process started" not in moments:
            moments["dequeued, process started"] = entry.timestamp
        if event.event_type is DagsterEventType.STEP_SUCCESS:
            moments[event.step_key] = entry.timestamp
    moments["marked done"] = done
    spent, last = {}, began
    steps = sorted(STEPS, key=lambda step: moments[step])  # the two stores in either order
    for phase in [*PHASES[:3], *steps, *PHASES[-1:]]:
        spent[phase] = max(0.0, moments[phase] - last)
        last = max(last, moments[phase])
    return spent


def measure(records: int, times: int, source: Path) -> list[dict[str, float]]:
    from dagster import DagsterInstance

    brokers = {name: value for name, value in os.environ.items() if name.startswith("VCF_PIPELINE_")}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        home = folder / "home"
        with dagster_daemon(home, folder / "daemon.log", **brokers):
            os.environ.update(dagster_exports(home))
            wait_until(lambda: '"daemon"' in vcf_pipeline(home, "doctor", "--json", check=False).out, "a daemon")
            # opened once: a look must take nothing from the cores on which it looks
            ledger = open_ledger(f"sqlite:///{home / 'ledger.sqlite'}")
            with DagsterInstance.get() as instance, closing(ledger):
                for number in range(times):
                    file = cut_file(source, records, number, folder)
                    time.sleep(QUIET_SECONDS)  # the quiet stream is what is measured
                    began = time.time()
                    (record,) = vcf_pipeline(home, "publish", file, "--json", **brokers).records
                    published = time.time()
                    key = record["partition"]
                    wait_until(lambda key=key: state(ledger, key) == "done", f"{key} done")
                    done = time.time()
                    time.sleep(1.0)  # Dagster's last events
                    rows.append(timeline(instance, key, began, published, done))
                    whole = f"{done - began:6.2f} s   " if number else f"{done - began:6.2f} s * "
                    print(whole, ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in rows[-1].items()), flush=True)
                    wait_until(lambda key=key: is_explained(home, key), f"{key} explained, and the stream quiet again")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--source", type=Path, default=SOURCE)
    asked = parser.parse_args()
    print(f"{asked.records:,} records of {asked.source.name}; * the first one, which the median leaves out")
    rows = measure(asked.records, asked.times, asked.source)[1:]
    print(f"median of {len(rows)}: {statistics.median(sum(row.values()) for row in rows):.2f} s")
    for phase in PHASES:
        print(f"  {statistics.median(row[phase] for row in rows):6.2f} s  {phase}")


if __name__ == "__main__":
    main()
