"""Real brokers for tests that run our programs: one by name, or both. Skips with what is missing.

Not here: starting one (kafka_server.py, iggy_server.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Between:
    """A broker between sender and control. settings: the environment under which our programs use it.

    server: its process, with start(), kill() and frozen().
    """

    name: str
    settings: dict[str, str]
    server: Any


@contextmanager
def real_broker(name: str, folder: Path) -> Iterator[Between]:
    """A fresh one in `folder`, ended with everything it started."""
    if name == "kafka":
        from vcf_pipeline_tests.adapters.broker.kafka_server import KafkaServer, NoServer

        pytest.importorskip("confluent_kafka", reason="needs confluent-kafka, of the extra kafka")
        try:
            server = KafkaServer(folder / "kafka")
            server.start()
        except NoServer as reason:
            pytest.skip(str(reason))
        settings = {"VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS": server.address}
        try:
            yield Between(name, settings, server)
        finally:
            server.kill()
        return
    from vcf_pipeline_tests.adapters.broker.iggy_server import IggyServer, NoIggyServer

    try:
        iggy = IggyServer(folder / "iggy")
        iggy.start()
    except NoIggyServer as reason:
        pytest.skip(str(reason))
    try:
        yield Between(name, {"VCF_PIPELINE_IGGY__URL": iggy.url, "VCF_PIPELINE_IGGY__HTTP_URL": iggy.http_url}, iggy)
    finally:
        iggy.kill()


@contextmanager
def real_servers(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Iggy with Kafka behind it: (settings, server by name)."""
    with ExitStack() as stack:
        both = [stack.enter_context(real_broker(name, folder)) for name in ("iggy", "kafka")]
        yield (
            {name: text for one in both for name, text in one.settings.items()},
            {one.name: one.server for one in both},
        )
