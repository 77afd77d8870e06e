"""`bench memory`: the resident memory of this process while it publishes, and while the broker does not answer.

Not here: how the window bounds it (adapters/broker/publisher.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.port import Broker
from vcf_pipeline.benches.figures import Watch, new_ids, publish
from vcf_pipeline.domain.stream.topics import Topic

EVERY_S = 0.02


class Sampler:
    """`with Sampler() as sampler`: (seconds, MB resident) at once and every 20 ms."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._watch, self._process = Watch(), psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        self.samples.append((self._watch.seconds, self._process.memory_info().rss / 1e6))

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look()


class Stalling:
    """A broker in front of another: after `after` appends one takes `seconds`; pings are answered all the while."""

    def __init__(self, broker: Broker, seconds: float, after: int = 2) -> None:
        self._broker, self._seconds, self._left = broker, seconds, after
        self._nobody = threading.Event()
        self.name = broker.name

    def append(self, topic: Topic, partition: int, bodies: Sequence[bytes]) -> Sequence[int]:
        if topic.rule.is_per_tenant:
            self._left -= 1
            if self._left == 0:
                self._nobody.wait(self._seconds)
        return self._broker.append(topic, partition, bodies)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


def bench_memory(path: Path, coordinator: Coordinator, scratch: Path) -> dict[str, Any]:
    """One publication, sampled. growth_mb: from the first tenth's peak, when all is loaded, to the whole's.

    peak_mb: of the whole process. A small publication goes before, so that what is compiled and loaded once is not
    counted as growth.
    """
    with Sampler() as sampler:
        report = publish(path, coordinator, scratch / "publish", new_ids())
    samples = sampler.samples
    early = samples[: max(1, len(samples) // 10)]
    peak, first = max(mb for _, mb in samples), max(mb for _, mb in early)
    return {
        "variants": report.alleles,
        "seconds": round(samples[-1][0], 3),
        "start_mb": round(samples[0][1], 1),
        "peak_mb": round(peak, 1),
        "growth_mb": round(peak - first, 1),
        "wire_mb": round(report.bytes_sent / 1e6, 1),
        "samples": [(round(at, 3), round(mb, 1)) for at, mb in _thinned(samples)],
    }


def _thinned(samples: list[tuple[float, float]], most: int = 300) -> list[tuple[float, float]]:
    """At most so many, each the highest of its stretch."""
    step = -(-len(samples) // most)
    return [max(samples[at : at + step], key=lambda one: one[1]) for at in range(0, len(samples), step)]
