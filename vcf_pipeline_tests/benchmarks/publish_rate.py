"""How many variants a second `publish` brings to a durable broker, beside our reader alone, and how they come back.

Run by hand: `python -m vcf_pipeline_tests.benchmarks.publish_rate [--records 1000000] [--source FILE.vcf.gz …]`.
Brokers are those of the environment (VCF_PIPELINE_IGGY__URL, VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS), else embedded.
The file is FILE's records, repeated until there are --records of them, as BGZF of bgzip's own level; `sites` is
without sample columns. Every rate is the median of --repeats fresh processes, by the clock on the wall: `publish` as
its own report says (read, encode, send, acknowledged), the reader and the reading back from first to last batch. The
first publication, which compiles, is left out; loading what was compiled is in both `publish` and reader, so that
their ratio is one of like with like. Wire: bytes of all messages as the broker holds them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vcf_pipeline_tests.benchmarks.reader_rate import repeated
from vcf_pipeline_tests.programs import ROOT, vcf_pipeline

READER = """
    from vcf_pipeline.adapters.vcf_files.reader import open_reader
    from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
    began, n, wire = time.perf_counter(), 0, 0
    with open_reader(path, ReaderSettings()) as reader:
        for batch in reader.batches():
            n += batch.n_records
    """
READ_BACK = """
    from pathlib import Path
    from vcf_pipeline.domain.stream.cursor import Cursor
    from vcf_pipeline.domain.stream.events import heard
    from vcf_pipeline.domain.stream.topics import CALLSETS
    from vcf_pipeline.settings import load_settings
    from vcf_pipeline.stages.receive import open_received
    from vcf_pipeline.wiring import Control
    with Control(load_settings(os.environ, home=Path(home))) as control:
        announced, cursor = None, Cursor.from_json(None)
        while announced is None:
            messages = heard(control.coordinator.wait([CALLSETS], cursor, 10.0))
            cursor = cursor.after(message.place for message in messages)
            events = [message.event for message in messages if message.event is not None]
            announced = next((one for one in events if one.correlation_id == correlation_id), None)
        sent = (message for one in announced.segments for message in control.coordinator.read_segment(one))
        wire = sum(len(message.body) for message in sent)
        with open_received(announced, control.coordinator) as source:
            next(source.batches())
        began, n = time.perf_counter(), 0
        with open_received(announced, control.coordinator) as source:
            for batch in source.batches():
                n += batch.n_records
    """


@dataclass(frozen=True)
class Rates:
    """Variants per second, and bytes on the wire per byte of the file."""

    broker: str
    published: float
    reader: float
    read_back: float
    wire: float


def timed(program: str, **words: str) -> tuple[float, int]:
    """(variants per second, bytes on the wire) of one fresh process."""
    given = "".join(f"{name} = {text!r}\n" for name, text in words.items())
    told = "import json\nprint(json.dumps([n / (time.perf_counter() - began), wire]))"
    code = f"import os, time\n{given}{textwrap.dedent(program)}{told}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    rate, wire = json.loads(done.stdout.splitlines()[-1])
    return float(rate), int(wire)


def measured(path: Path, folder: Path, repeats: int) -> Rates:
    brokers = {name: value for name, value in os.environ.items() if name.startswith("VCF_PIPELINE_")}
    published: list[dict[str, Any]] = []
    for number in range(repeats + 1):
        home = folder / f"home-{number}"  # each knows nothing of the one before, so that it is sent again
        (report,) = vcf_pipeline(home, "publish", path, "--json", patience=600, **brokers).records
        published.append(report)
    reader = statistics.median(timed(READER, path=str(path))[0] for _ in range(repeats))
    back = [timed(READ_BACK, home=str(home), correlation_id=published[-1]["correlation_id"]) for _ in range(repeats)]
    return Rates(
        published[-1]["broker"],
        statistics.median(report["variants_per_s"] for report in published[1:]),
        reader,
        statistics.median(rate for rate, _ in back),
        back[0][1] / path.stat().st_size,
    )


def default_sources() -> list[Path]:
    """A file of one sample, and one of 2,504."""
    corpus = Path(os.environ.get("VCF_PIPELINE_TEST_CORPUS") or ROOT.parent / "shared" / "data")
    found = [corpus / "large" / "hap.py__hc.vcf.gz", *sorted((corpus / "multisample").glob("opencga__10k*.vcf.gz"))]
    own = ROOT / "vcf_pipeline_tests" / "data" / "slivar__ashk-trio.vcf.gz"
    return [path for path in found if path.is_file()] or [own]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--source", type=Path, action="append")
    asked = parser.parse_args()
    table = Table("file", "columns", "broker", "published/s", "× reader", "read back/s", "wire / BGZF")
    for source in asked.source or default_sources():
        for kind in ("sites", "whole"):
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / f"{kind}.vcf.gz"
                is_wide = kind == "whole" and "10k" in source.name
                repeated(source, path, asked.records // (50 if is_wide else 1), sites=kind == "sites", level=6)
                found = measured(path, Path(scratch), asked.repeats)
            table.add_row(
                source.name,
                kind,
                found.broker,
                f"{found.published:,.0f}",
                f"{found.published / found.reader:.2f}",
                f"{found.read_back:,.0f}",
                f"{found.wire:.2f}",
            )
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file has room for all heads
    console.print(table)


if __name__ == "__main__":
    main()
