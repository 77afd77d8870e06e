"""A publisher before a broker that takes nothing for a minute: it waits, its memory does not grow, and it goes on.

The publisher is a process of its own, the broker the stub in this one. What there is to read is far more than may grow.
Not here: memory over a whole file (test_memory_stays_flat.py), what becomes of a spool (adapters/broker/test_spool.py).
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from vcf_pipeline.testing import iggy_wire as wire
from vcf_pipeline.testing.iggy_stub import IggyStub
from vcf_pipeline_tests.programs import PATIENCE_SECONDS, Ended, kill_group, start, wait_until
from vcf_pipeline_tests.vcf_text import header_text, record

MEGABYTE = 1 << 20
STALL_S = 60.0
MAY_GROW = 64 * MEGABYTE
RECORDS, NOISE_BYTES = 250_000, 500
"""Twice what may grow, on the wire: hex digits are halved by any compression, and no further."""
SENDS_BEFORE = 4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("files") / "noise.vcf"
    dice = random.Random(1)
    with path.open("w") as text:
        text.write(header_text(info=("NOISE,1,String",)))
        for number in range(RECORDS):
            text.write(record("C", f"NOISE={dice.randbytes(NOISE_BYTES).hex()}", pos=number + 1))
    yield path
    path.unlink()


@pytest.fixture
def stub() -> Iterator[IggyStub]:
    stub = IggyStub()
    stub.start()
    yield stub
    stub.kill()


class Publishing:
    """A `publish` that runs, and its resident memory in bytes, every tenth of a second until it ends."""

    def __init__(self, process: subprocess.Popen[str], pool: ThreadPoolExecutor) -> None:
        self.samples: list[int] = []
        self._process, self._of_it = process, psutil.Process(process.pid)
        self._said = pool.submit(process.communicate)
        self._watching = pool.submit(self._watch)

    def _watch(self) -> None:
        with suppress(psutil.Error):
            while not wait([self._said], 0.1).done:
                self.samples.append(self._of_it.memory_info().rss)

    def goes_on_for(self, seconds: float) -> bool:
        return not wait([self._said], seconds).done

    def end(self, seconds: float) -> Ended:
        out, err = self._said.result(seconds)
        self._watching.result()
        return Ended(self._process.returncode, out, err)


@contextmanager
def publishing(home: Path, file: Path, stub: IggyStub, *words: str) -> Iterator[Publishing]:
    """Begun, with chunks of the file on the stub."""
    settings = {
        "VCF_PIPELINE_IGGY__URL": stub.url,
        "VCF_PIPELINE_IGGY__HTTP_URL": stub.http_url,
        "VCF_PIPELINE_STREAM__RECONNECT_S": str(3 * STALL_S),
    }
    process = start(home, "publish", str(file), "--json", *words, **settings)
    with ThreadPoolExecutor(2) as pool:
        try:
            running = Publishing(process, pool)
            wait_until(lambda: stub.requests.count(wire.SEND) >= SENDS_BEFORE, "chunks on their way")
            yield running
        finally:
            kill_group(process)


@pytest.mark.acceptance
@pytest.mark.parametrize("fault", ["stalled", "frozen"])
def test_a_publisher_waits_a_minute_for_its_broker_in_flat_memory_and_goes_on(
    fault: str, file: Path, stub: IggyStub, tmp_path: Path
) -> None:
    """Stalled: pings are answered. Frozen: nothing is, so that it is asked again and again."""
    with publishing(tmp_path / "home", file, stub, "--broker", "iggy") as running:
        with getattr(stub, fault)():
            before = len(running.samples) - 1
            assert running.goes_on_for(STALL_S)
            during = running.samples[before:]
        ended = running.end(PATIENCE_SECONDS)
    told = f"{during[0] / MEGABYTE:.0f} MB, then at most {max(during) / MEGABYTE:.0f} MB"
    print(f"{fault}: {told}")
    assert (ended.code, [record["records"] for record in ended.records]) == (0, [RECORDS]), ended.err
    assert len(during) > STALL_S
    assert max(during) - during[0] < MAY_GROW, told


@pytest.mark.acceptance
def test_what_a_frozen_broker_does_not_take_is_spooled_in_flat_memory(
    file: Path, stub: IggyStub, tmp_path: Path
) -> None:
    with publishing(tmp_path / "home", file, stub) as running, stub.frozen():
        before = len(running.samples) - 1
        ended = running.end(PATIENCE_SECONDS)
        during = running.samples[before:]
    told = f"{during[0] / MEGABYTE:.0f} MB, then at most {max(during) / MEGABYTE:.0f} MB"
    print(told)
    assert (ended.code, [record["spooled"] for record in ended.records]) == (0, [True]), ended.err
    assert max(during) - during[0] < MAY_GROW, told
