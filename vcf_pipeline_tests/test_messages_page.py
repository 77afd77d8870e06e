"""docs/messages.md and its example say what is so: the messages it shows are read, the program it names is heard."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.embedded import EmbeddedBroker
from vcf_pipeline.adapters.broker.port import Broker
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import KINDS as CONTROL_KINDS
from vcf_pipeline.domain.stream.events import heard, read_event
from vcf_pipeline.domain.stream.topics import CALLSETS, TOPOLOGY, Topic
from vcf_pipeline.domain.stream.variant_messages import RECORDS, read_lines
from vcf_pipeline.stages.announce_records import announce_ended
from vcf_pipeline.stages.receive import open_received

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLE = DOCS / "examples" / "send-variants.mjs"


def shown() -> list[bytes]:
    return [block.encode() for block in re.findall(r"```json\n(.*?)```", (DOCS / "messages.md").read_text(), re.S)]


def test_the_messages_on_the_page_are_read():
    records, end = (frame.decode(message) for message in shown())
    assert records.kind == RECORDS
    assert read_lines(records) == [
        "17\t43093464\trs80357382\tC\tT\t50\tPASS\tAF=0.5;DB;DP=31;MY_SCORE=0.97",
        "X\t100\t.\tAC\tA,<DEL>\t.\t.\t.",
    ]
    ended = read_event(CALLSETS, shown()[1])
    assert (end.kind, ended.n_chunks, ended.partition, ended.first_offset) == ("variants/end", 1, 3, 128)


def test_the_page_names_every_topic_and_kind():
    page = (DOCS / "messages.md").read_text()
    assert [name for name in [*TOPOLOGY, *CONTROL_KINDS, RECORDS] if f"`{name}`" not in page] == []


def test_the_example_is_as_short_as_the_page_says():
    lines = len(EXAMPLE.read_text().splitlines())
    assert lines <= 30
    assert f"does all of it in {lines} lines of JavaScript" in (DOCS / "messages.md").read_text()


def test_every_file_that_the_page_for_vcf_agents_users_names_is_there():
    page = (DOCS / "coming-from-vcf-agent.md").read_text()
    package = DOCS.parent / "vcf_pipeline"
    named: list[Path] = []
    for name in re.findall(r"`([\w/]+\.py)\b", page):
        named.append(package / name if "/" in name else named[-1].parent / name)  # a bare name: beside the one before
    assert len(named) > 5
    assert [file for file in named if not file.is_file()] == []


class _Iggy(http.server.BaseHTTPRequestHandler):
    """As much of Iggy's HTTP interface as the example uses, in front of a broker of ours."""

    broker: Broker

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/users/login":
            good = body == {"username": "iggy", "password": "right"}
            self._answer(200 if good else 401, {"access_token": {"token": "a-token"}} if good else {})
            return
        assert self.headers["authorization"] == "Bearer a-token"
        _, _, stream, _, name, _ = self.path.split("/")
        topic = Topic(name, stream.partition("vcf-pipeline-")[2] or None)
        partition = int.from_bytes(base64.b64decode(body["partitioning"]["value"]), "little")
        payloads = [base64.b64decode(message["payload"]) for message in body["messages"]]
        offsets = self.broker.append(topic, partition, payloads)
        self._answer(201, {"confirmations": [{"partition_id": partition, "base_offset": offsets[0]}]})

    def _answer(self, status: int, record: dict[str, Any]) -> None:
        text = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextmanager
def iggy_in_front_of(broker: Broker) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Iggy", (_Iggy,), {"broker": broker, "protocol_version": "HTTP/1.1"})
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def sent(variants: list[dict[str, Any]], address: str, password: str) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: install it (Debian: apt-get install nodejs) to run the example producer")
    return subprocess.run(
        [node, EXAMPLE, "from node"],
        input="".join(json.dumps(one) + "\n" for one in variants),
        env={**os.environ, "IGGY_HTTP": address, "IGGY_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


VARIANTS = [
    {"chromosome": "1", "position": 100 + number, "reference": "A", "alternate": "C,G", "info": {"DP": number}}
    for number in range(2300)
]


def test_what_the_example_sends_becomes_a_callset(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path / "log")
    with Coordinator([broker]) as coordinator, iggy_in_front_of(broker) as address:
        broker.ensure_topics([Topic("vcf-variants", "default"), CALLSETS])
        done = sent(VARIANTS, address, "right")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["messages"] == 3
        (message,) = heard(coordinator.wait([CALLSETS], Cursor(), 0.0))
        assert message.ended is not None, message.reason
        announced = announce_ended(message.ended, coordinator, "embedded", "2026-01-01T00:00:00+00:00")
        assert (announced.label, announced.records, announced.alleles) == ("from node", 2300, 4600)
        with open_received(announced, coordinator) as source:
            depths = [depth for batch in source.batches() for depth in batch.variants["info_DP"].to_list()]
        assert depths == [number for number in range(2300) for _ in range(2)]


def test_the_example_fails_where_it_is_not_let_in(tmp_path: Path):
    with iggy_in_front_of(EmbeddedBroker(tmp_path / "log")) as address:
        done = sent(VARIANTS[:1], address, "wrong")
    assert done.returncode != 0
    assert "401" in done.stderr
