"""Real brokers killed, frozen and restarted at random under real senders: every callset arrives, none twice.

At-least-once delivery, effectively-once results. The long form: ten million variants in 200 callsets, fifty faults.
Not here: the same against scripted brokers, in seconds (journeys/test_brokers_fail.py).
"""

from __future__ import annotations

import gzip
import os
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

import polars as pl
import pytest

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream import topics
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.settings import load_settings
from vcf_pipeline.stages.parse import parse_callset
from vcf_pipeline.stages.receive import open_received
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.programs import vcf_pipeline

CALLSETS = int(os.environ.get("VCF_PIPELINE_TEST_CHAOS_CALLSETS", "200"))
FAULTS = int(os.environ.get("VCF_PIPELINE_TEST_CHAOS_FAULTS", "50"))
SEED = int(os.environ.get("VCF_PIPELINE_TEST_CHAOS_SEED", "20261124"))
RECORDS = 50_000
SENDERS = 2
FILES_A_COMMAND = max(1, CALLSETS // 40)


class Server(Protocol):
    """A broker's process, as the fixtures beside the contract suite make it."""

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def frozen(self) -> AbstractContextManager[None]: ...


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> object:
    """(settings, {name: server}) of a real Iggy and a real Kafka; skips with what is missing."""
    from vcf_pipeline_tests.adapters.broker.real_brokers import real_servers

    with ExitStack() as stack:
        yield stack.enter_context(real_servers(tmp_path_factory.mktemp("brokers")))


@pytest.fixture(scope="module")
def files(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Callsets of RECORDS records each."""
    folder = tmp_path_factory.mktemp("files")
    return made_files(corpus / "large/hap.py__hc.vcf.gz", folder, CALLSETS, RECORDS)


def made_files(source: Path, folder: Path, callsets: int, records: int) -> list[Path]:
    """A real file's records, in each file at positions of its own: a chunk of another callset changes the digest."""
    with gzip.open(source) as lines:
        whole = lines.readlines()
    header = [line for line in whole if line.startswith(b"#")]
    found = [line.split(b"\t", 2) for line in whole if not line.startswith(b"#")]
    body = [(contig, int(pos), rest) for contig, pos, rest in found]
    body = (body * -(-records // len(body)))[:records]
    made = []
    for number in range(callsets):
        made.append(folder / f"callset-{number:03}.vcf")
        with made[-1].open("wb") as file:
            file.writelines(header)
            file.writelines(b"%b\t%d\t%b" % (contig, pos + number, rest) for contig, pos, rest in body)
    return made


class Faults:
    """Kills, freezes and restarts, one after another, until there were enough and the senders are done."""

    def __init__(self, servers: dict[str, Server]) -> None:
        self._servers, self._draw = servers, random.Random(SEED)
        self.done: list[str] = []
        self.ending = threading.Event()

    def keep_pace(self, share: float) -> None:
        """Returns when as large a share of the faults is done, so that they fall all over the sending."""
        while len(self.done) < share * FAULTS:
            assert not self.ending.wait(0.05)

    def run(self) -> None:
        while len(self.done) < FAULTS and not self.ending.wait(self._draw.uniform(0.3, 2.0)):
            name = self._draw.choice(sorted(self._servers))
            kind = self._draw.choice(["kill", "freeze", "restart"])
            seconds = self._draw.choice([0.3, 1.0, 3.0])
            server = self._servers[name]
            self.done.append(f"{kind} {name} {seconds} s")
            if kind == "freeze":
                with server.frozen():
                    self.ending.wait(seconds)
                continue
            server.kill()
            if kind == "kill":
                self.ending.wait(seconds)
            server.start()


def send(home: Path, files: Sequence[Path], settings: dict[str, str], faults: Faults) -> list[str]:
    """Publish them, some a command, repeating a command that failed; how each repeat came about."""
    repeats = []
    for first in range(0, len(files), FILES_A_COMMAND):
        faults.keep_pace(first / max(1, len(files) - FILES_A_COMMAND))  # the last one begins after the last fault
        words = ["publish", *files[first : first + FILES_A_COMMAND], "--json"]
        for _ in range(20):
            ended = vcf_pipeline(home, *words, check=False, patience=600, **settings)
            if ended.code == 0:
                break
            assert ended.code == 4, ended.err
            repeats.append(ended.err.strip().splitlines()[-1])
        else:
            raise AssertionError(f"never published: {repeats[-1]}")
    return repeats


def drain(home: Path, settings: dict[str, str]) -> None:
    ended = vcf_pipeline(home, "spool", "drain", check=False, patience=600, **settings)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err


def batch_digest(file: Path) -> tuple[str, int]:
    digest, alleles = TableDigest(), 0
    with open_reader(str(file), ReaderSettings()) as source:
        for batch in source.batches():
            alleles += batch.variants.height
            for table in ("variants", "genotypes", "consequences", "rejects"):
                rows = getattr(batch, table)
                if rows is not None:
                    digest.add(table, rows)
    return digest.value(), alleles


def all_announced(control: Control, expected: int) -> dict[PartitionKey, Announcement]:
    """Everything on every broker's vcf-callsets from its start, as a sensor would record it."""
    cursor = Cursor.from_json(None)
    counted: dict[PartitionKey, Announcement] = {}
    while messages := control.coordinator.wait([topics.CALLSETS], cursor, 3.0 if len(counted) < expected else 0.5):
        for message in heard(messages):
            cursor = cursor.after([message.place])
            assert message.event is not None, message.reason
            control.ledger.record_announcement(message.event)
            counted[message.event.key] = message.event
    return counted


def test_every_callset_has_a_digest_of_its_own(data: Path, tmp_path: Path) -> None:
    files = made_files(data / "slivar__ashk-trio.vcf.gz", tmp_path, callsets=3, records=500)
    told = [batch_digest(file) for file in files]
    assert len({digest for digest, _ in told}) == 3
    assert len({alleles for _, alleles in told}) == 1


@pytest.mark.chaos
@pytest.mark.timeout(5400)
def test_every_callset_arrives_once_however_brokers_fail(
    servers: tuple[dict[str, str], dict[str, Server]], files: list[Path], tmp_path: Path
) -> None:
    settings, by_name = servers
    faults = Faults(by_name)
    breaking = threading.Thread(target=faults.run)
    homes = [tmp_path / f"sender-{number}" / "home" for number in range(SENDERS)]
    for home in homes:
        home.parent.mkdir()
    with ThreadPoolExecutor(SENDERS) as pool:
        breaking.start()
        sending = [
            pool.submit(send, home, files[number::SENDERS], settings, faults) for number, home in enumerate(homes)
        ]
        try:
            repeats = [repeat for one in sending for repeat in one.result()]
        finally:
            while_sending = len(faults.done)
            faults.ending.set()
            breaking.join()
    for server in by_name.values():
        server.start()
    for home in homes:
        drain(home, settings)
    print(f"{while_sending} faults while sending, {len(repeats)} commands repeated")
    assert while_sending == FAULTS

    rows = 0
    settings = {name: text for name, text in settings.items() if name.startswith("VCF_PIPELINE_")}
    brokers_used = set()
    with Control(load_settings(settings, home=tmp_path / "control")) as control:
        announced = all_announced(control, len(files))
        assert len(announced) == len(files)
        by_file = {file: batch_digest(file) for file in files}
        assert len({digest for digest, _ in by_file.values()}) == len(files)
        seen = set()
        for key in announced:
            counts = control.ledger.announcement(key)
            callset = control.ledger.callset(key)
            assert counts is not None
            assert callset is not None
            file = Path(counts.uri)
            brokers_used |= {segment.broker for segment in counts.segments}
            with (
                control.ledger.lease(f"parsed_variants/{key}", wait_seconds=1) as lease,
                open_received(counts, control.coordinator) as source,
            ):
                parsed = parse_callset(
                    source,
                    callset=callset,
                    tables=control.tables,
                    ledger_lease=lease,
                    announced_digest=counts.digest,
                )
            digest, alleles = by_file[file]
            assert parsed.digest == digest
            table = control.tables.scan(key.tenant, key.callset_id, "parsed_variants", "variants")
            stored = table.select(pl.len(), pl.struct("record_no", "alt_index").n_unique().alias("unique")).collect()
            assert stored.row(0) == (alleles, alleles)
            rows += alleles
            seen.add(file)
            control.tables.remove(key.tenant, key.callset_id)
        assert seen == set(files)
    print(f"{rows:,} variants in {len(seen)} callsets over {', '.join(sorted(brokers_used))}: 0 lost, 0 doubled")
