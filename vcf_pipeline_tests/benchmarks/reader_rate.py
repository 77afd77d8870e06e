"""How many variants a CPU-second turns into typed frames with all INFO: our reader, oxbow, polars-bio, cyvcf2.

    python vcf_pipeline_tests/benchmarks/reader_rate.py --peers .bench/bin/python [--source FILE.vcf.gz …]

Each reader is a fresh process; its clock (user and system CPU, of all its threads) starts when its modules are
imported and, for ours, its compiled kernels are loaded, by one record. The file is FILE's records, repeated until
there are --records of them, as BGZF. `sites` has no sample columns, so that every reader does the same work; `whole`
has those of the file, and all FORMAT fields are read. `vcf-pipeline run` is timed from start to exit, with everything
it starts and waits for.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the tests are no part of the installed package

from vcf_pipeline_tests.vcf_text import bgzf  # noqa: E402

_CLOCK = """
import gzip, json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def first_line(path):
    with gzip.open(path) as file:
        return next(line for line in file if line[:1] != b"#")
path, whole = sys.argv[1], sys.argv[2] == "whole"
"""
_TOLD = 'print(json.dumps({"records": n, "seconds": cpu() - begun}))'
READERS = {
    "vcf-pipeline": """
        from vcf_pipeline.adapters.vcf_files.reader import open_reader
        from vcf_pipeline.domain.vcf.batch import BlockParser
        from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
        with open_reader(path, ReaderSettings()) as reader:
            BlockParser(reader.header, ReaderSettings()).parse(first_line(path), 0, 1, 0)
        begun, n = cpu(), 0
        with open_reader(path, ReaderSettings()) as reader:
            for batch in reader.batches():
                n += batch.n_records
        """,
    "oxbow": """
        import oxbow
        begun, n = cpu(), 0
        source = oxbow.from_vcf(path, compression="bgzf", samples="*" if whole else [])
        for batch in source.batches():
            n += batch.num_rows
        """,
    "polars-bio": """
        import os
        import polars_bio
        from cyvcf2 import VCF
        fields = [line["ID"] for line in VCF(path).header_iter() if line["HeaderType"] == "INFO"]
        begun = cpu()
        frame = polars_bio.scan_vcf(path, info_fields=fields, **({} if whole else {"samples": []})).collect()
        n = frame.height
        """,
    "cyvcf2": """
        import polars
        from cyvcf2 import VCF
        begun, n, rows = cpu(), 0, []
        for v in VCF(path):
            row = [v.CHROM, v.POS, v.ID, v.REF, v.ALT, v.QUAL, v.FILTER, dict(v.INFO)]
            if whole:
                row += [v.genotype.array(), *(v.format(key) for key in v.FORMAT if key != "GT")]
            rows.append(row)
            n += 1
            if n % 20_000 == 0:
                keys = {key for row in rows for key in row[7]}
                frame = polars.DataFrame(
                    {key: [row[7].get(key) for row in rows] for key in keys}, strict=False
                )
                rows = []
        """,
}


def repeated(source: Path, target: Path, records: int, *, sites: bool, level: int = 1) -> int:
    """The source's header, and its records as often as it takes, as BGZF. Returns how many records."""
    raw = source.read_bytes()
    lines = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).splitlines(keepends=True)
    header = [line for line in lines if line.startswith(b"#")]
    body = [line for line in lines if not line.startswith(b"#")]
    if sites:
        header[-1] = b"\t".join(header[-1].rstrip(b"\n").split(b"\t")[:8]) + b"\n"
        body = [b"\t".join(line.rstrip(b"\n").split(b"\t")[:8]) + b"\n" for line in body]
    text = b"".join(body)
    block = bgzf(text, end_marker=False, level=level)
    times = max(records // len(body), 1)
    with target.open("wb") as file:
        file.write(bgzf(b"".join(header), end_marker=False, level=level))
        for _ in range(times):
            file.write(block)
        file.write(bgzf(b""))
    return times * len(body)


def rate(python: str, name: str, path: Path, kind: str) -> float:
    """Variants per CPU-second of one fresh process."""
    program = _CLOCK + textwrap.dedent(READERS[name]) + _TOLD
    done = subprocess.run([python, "-c", program, str(path), kind], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return float(told["records"] / told["seconds"])


def whole_run(path: Path, records: int, home: Path) -> str:
    """Variants per CPU-second of `vcf-pipeline run`, or why there is no such number."""
    command = [str(Path(sys.executable).with_name("vcf-pipeline")), "run", str(path), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        env=os.environ | {"VCF_PIPELINE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        return f"exit {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1][:80]}"
    return f"{records / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime):,.0f}"


def _default_sources() -> list[Path]:
    corpus = Path(os.environ.get("VCF_PIPELINE_TEST_CORPUS") or ROOT.parent / "shared" / "data")
    found = [corpus / "large" / name for name in ("hap.py__hc.vcf.gz", "hap.py__performance.vcf.gz")]
    own = ROOT / "vcf_pipeline_tests" / "data" / "scout__643594.clinical.vcf.gz"
    return [path for path in found if path.is_file()] or [own]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--source", type=Path, action="append", help="a VCF with samples; may be repeated")
    options.add_argument("--peers", help="a Python that has peers.lock installed")
    options.add_argument("--records", type=int, default=300_000)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    for source in given.source or _default_sources():
        Console().print(compared(source, given.peers, given.records, given.repeats))


def compared(source: Path, peers: str | None, records: int, repeats: int) -> Table:
    """One file's table."""
    table = Table("reader", "columns", "variants per CPU-second", "our reader is … times as fast", title=source.name)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("sites", "whole"):
            path = Path(scratch) / f"{kind}.vcf.gz"
            written = repeated(source, path, records, sites=kind == "sites")
            ours = 0.0
            for name in list(READERS) if peers else ["vcf-pipeline"]:
                python = sys.executable if name == "vcf-pipeline" else str(peers)
                found = statistics.median(rate(python, name, path, kind) for _ in range(repeats))
                ours = ours or found
                table.add_row(name, kind, f"{found:,.0f}", f"{ours / found:.1f}")
        table.add_row("vcf-pipeline run", "whole", whole_run(path, written, Path(scratch) / "home"), "")
    return table


if __name__ == "__main__":
    main()
