"""A real Iggy server for tests: `iggy-server` of PATH on free ports, to be killed, frozen, wiped and restarted.

Not here: a server that an address names (test_iggy_real.py), the stub (iggy_stub.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from vcf_pipeline_tests.adapters.broker.kafka_server import free_ports

USER, PASSWORD = "iggy", "of-a-test"
HOW = (
    "no Iggy server: set VCF_PIPELINE_TEST_IGGY=iggy://user:password@host:8090 (and VCF_PIPELINE_TEST_IGGY_HTTP where "
    "its HTTP port is not 3000), or put `iggy-server` on PATH"
)
START_S = 60.0


class NoIggyServer(Exception):
    """Why no server can run here, in words for a skipped test."""


class IggyServer:
    """One server over one folder. Its ports stay the same over restarts. more: further IGGY_ settings of its own.

    Raises NoIggyServer where there is none on PATH.
    """

    def __init__(self, folder: Path, **more: str) -> None:
        program = shutil.which("iggy-server")
        if program is None:
            raise NoIggyServer(HOW)
        self._program, self._more = program, more
        self.folder = folder
        self.tcp, self.http, self.quic, self.websocket = free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.tcp}"

    @property
    def url(self) -> str:
        return f"iggy://{USER}:{PASSWORD}@{self.address}"

    @property
    def http_url(self) -> str:
        return f"{'https' if 'IGGY_HTTP_TLS_ENABLED' in self._more else 'http'}://127.0.0.1:{self.http}"

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def start(self) -> None:
        """Returns when it answers. Raises NoIggyServer with the end of its log."""
        if self._process is not None:
            return
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("IGGY_")},
            "IGGY_SYSTEM_PATH": str(self.folder),
            "IGGY_PATH": str(self.folder),  # of 0.9.0 and later
            "IGGY_TCP_ADDRESS": self.address,
            "IGGY_HTTP_ADDRESS": f"127.0.0.1:{self.http}",
            "IGGY_QUIC_ADDRESS": f"127.0.0.1:{self.quic}",
            "IGGY_WEBSOCKET_ADDRESS": f"127.0.0.1:{self.websocket}",
            "IGGY_ROOT_USERNAME": USER,
            "IGGY_ROOT_PASSWORD": PASSWORD,
            "IGGY_SYSTEM_SHARDING_CPU_ALLOCATION": "1",
            **self._more,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program], cwd=self.folder.parent, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NoIggyServer(f"iggy-server did not start: {self.log.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            unchecked = ssl._create_unverified_context()  # noqa: S323 - whether it answers, not who it is
            with urllib.request.urlopen(f"{self.http_url}/ping", timeout=1, context=unchecked) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """As the power does it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Back with nothing of what it held."""
        self.kill()
        shutil.rmtree(self.folder)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections and answers nothing."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
