"""A real Kafka broker for tests: one KRaft node from Maven Central's jars, to be killed, frozen, wiped and restarted.

Jars, a formatted folder and an archive of loaded classes lie in the user's cache folder, made once (half a minute);
after that a broker answers some three seconds after its start. Not here: librdkafka's mock (mock_cluster.py).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

VERSION = "4.1.0"
USER, PASSWORD = "tester", "right-password"
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
START_S = 90.0

POM = f"""<project><modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version></dependency>
  </dependencies></project>
"""
LOGGING = """rootLogger.level=WARN
rootLogger.appenderRef.o.ref=O
appender.o.type=Console
appender.o.name=O
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=%d{HH:mm:ss,SSS} %p %c{1}: %m%n
"""
# Small memory; short sessions, since a broker killed with -9 waits out its old one; retention that acts in a second.
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
log.dirs={folder}
auto.create.topics.enable={auto_create}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=500
"""


class NoServer(Exception):
    """Why no broker can run here, in words for a skipped test."""


class KafkaServer:
    """One broker in `folder`. Its ports stay the same over restarts."""

    def __init__(self, folder: Path, *, auto_create: bool = False) -> None:
        self._cache = prepared()
        self.folder = folder
        self.port, self.sasl_port, controller = free_ports(3)
        self.address = f"127.0.0.1:{self.port}"
        self.sasl_address = f"127.0.0.1:{self.sasl_port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        self._properties.write_text(
            PROPERTIES.format(
                port=self.port,
                sasl=self.sasl_port,
                controller=controller,
                folder=folder / "data",
                user=USER,
                password=PASSWORD,
                auto_create=str(auto_create).lower(),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False

    def start(self) -> None:
        """Returns when it answers. Raises NoServer with the end of its log."""
        if self._process is not None:
            return
        if not (self.folder / "data").exists():
            shutil.copytree(self._cache / "formatted", self.folder / "data")
        archive = f"-XX:SharedArchiveFile={self._cache / 'classes.jsa'}"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command(self._cache, archive), "kafka.Kafka", str(self._properties)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while not is_open(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise NoServer(f"Kafka {VERSION} did not start: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As the power does it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
        self._process, self._is_frozen = None, False

    def restart(self) -> None:
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Back with nothing of what it held."""
        self.kill()
        shutil.rmtree(self.folder / "data")
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


def prepared() -> Path:
    """The folder with `lib`, `formatted` and `classes.jsa`. Raises NoServer where it cannot be made."""
    for name in ("java", "mvn"):
        if shutil.which(name) is None:
            raise NoServer(f"no {name} (Debian: apt-get install default-jre-headless maven)")
    cache = platformdirs.user_cache_path("vcf-pipeline-tests") / f"kafka-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "ready").exists():
            _prepare(cache)
            (cache / "ready").touch()
    return cache


def _prepare(cache: Path) -> None:
    (cache / "pom.xml").write_text(POM)
    (cache / "log4j2.properties").write_text(LOGGING)
    copied = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-DincludeScope=runtime"]
    _run(copied, cache, "its jars cannot be had")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(cache / "formatted")
    ports = free_ports(3)
    properties = PROPERTIES.format(
        port=ports[0],
        sasl=ports[1],
        controller=ports[2],
        folder=cache / "formatted",
        user=USER,
        password=PASSWORD,
        auto_create="false",
    )
    (cache / "server.properties").write_text(properties)
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties"]
    _run([*command(cache), *tool], cache, "its folder cannot be formatted")
    shutil.copytree(cache / "formatted", cache / "trial", dirs_exist_ok=True)
    (cache / "server.properties").write_text(properties.replace(str(cache / "formatted"), str(cache / "trial")))
    with (cache / "trial.log").open("wb") as log:
        trial = subprocess.Popen(
            [*command(cache, f"-XX:ArchiveClassesAtExit={cache / 'classes.jsa'}"), "kafka.Kafka", "server.properties"],
            cwd=cache,
            stdout=log,
            stderr=log,
        )
        deadline = time.monotonic() + START_S
        while not is_open(ports[0]) and trial.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        trial.terminate()
        trial.wait(60)
    shutil.rmtree(cache / "trial")


def command(cache: Path, *more: str) -> list[str]:
    """`java` up to the name of the class."""
    logging = f"-Dlog4j2.configurationFile={cache / 'log4j2.properties'}"
    jars = ":".join(str(path) for path in sorted((cache / "lib").glob("*.jar")))
    return ["java", "-Xms192m", "-Xmx192m", *JVM, logging, *more, "-cp", jars]


def _run(words: list[str], folder: Path, problem: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        told = (done.stdout + done.stderr).strip().splitlines()[:1] or ["no reason given"]
        raise NoServer(f"no Kafka {VERSION}: {problem}: {told[0][:300]}")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == os.EX_OK
