"""A stand-in for an Apache Iggy server, in this process: what the adapter asks over TCP and HTTP, and faults by script.

The adapter reaches it through the real client; the contract suite runs on it and on a real server, and what a real one
answers is what this one answers. Not here: frames (iggy_wire.py); QUIC, WebSocket, TLS, users and rights, retention.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from vcf_pipeline.testing import iggy_wire as wire
from vcf_pipeline.testing.iggy_state import State, typed

USER, PASSWORD, TOKEN = "iggy", "of-a-test", "iggypat-of-a-test"


class IggyStub:
    """Serves from start() to kill(); what it holds outlives both, as a disk does, and so do its ports.

    knows_durability: takes the client's keys for durable topics, as 0.9.0 is said to do; the real servers before it
    refuse them, and take theirs over HTTP. version: what it calls itself. protocol: what it demands of a client.
    """

    def __init__(
        self,
        *,
        knows_durability: bool = False,
        version: str = "0.9.0-stub",
        protocol: tuple[int, int, int] = wire.PROTOCOL,
    ) -> None:
        self.version, self.protocol = version, protocol
        self.state = State(knows_durability=knows_durability)
        self.port = self.http_port = 0
        self.requests: list[int] = []
        """Operations that came, in order; of those that only ask, their codes."""
        self._lock = threading.Lock()
        self.thawed, self._takes = threading.Event(), threading.Event()
        self.thawed.set()
        self._takes.set()
        self._faults: list[tuple[int, str]] = []
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._http: ThreadingHTTPServer | None = None

    # ---- as a process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"iggy://{USER}:{PASSWORD}@{self.address}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        if self._listener is not None:
            return
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        stub = self

        class Handler(_HttpHandler):
            server_of = stub

        self._http = ThreadingHTTPServer(("127.0.0.1", self.http_port), Handler)
        self._http.daemon_threads = True
        self.http_port = self._http.server_address[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        """As the power does it: what a topic without durability had acknowledged is gone, its offsets come anew."""
        listener, http = self._listener, self._http
        self._listener = self._http = None
        if listener is None or http is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        self.drop()
        http.shutdown()
        http.server_close()
        self.thawed.set()
        self._takes.set()
        self.state.lose_what_is_not_durable()

    def restart(self) -> None:
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Back with nothing of what it held."""
        self.kill()
        self.state.streams.clear()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its connections and answers nothing; what was sent meanwhile lands when it goes on."""
        self.thawed.clear()
        try:
            yield
        finally:
            self.thawed.set()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """It answers pings and takes no message; what was sent meanwhile lands when it goes on."""
        self._takes.clear()
        try:
            yield
        finally:
            self._takes.set()

    # ---- faults

    def drop(self) -> None:
        """Cuts every connection."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def lose_answer(self, operation: int) -> None:
        """Of the next such request: it lands, and the connection ends without an answer."""
        self._faults.append((operation, "lost"))

    def cut_answer(self, operation: int) -> None:
        """Half of the next such answer comes, and the connection ends."""
        self._faults.append((operation, "cut"))

    def swallow_answer(self, operation: int) -> None:
        """Of the next such request: it lands, and the connection stays silent."""
        self._faults.append((operation, "swallowed"))

    def refuse(self, operation: int, status: int) -> None:
        """The next such request, with a status of the server's list."""
        self._faults.append((operation, str(status)))

    # ---- TCP

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                request = wire.received(connection)
                self.thawed.wait()
                if self._listener is None:
                    break
                if request.operation == wire.REGISTER and self.protocol == (0, 0, 0):
                    break  # of before this protocol: the frame means nothing to it
                asked = request.code if request.operation == wire.QUERY else request.operation
                if asked == wire.SEND:
                    self._takes.wait()
                self.requests.append(asked)
                fault = self._fault(asked)
                answer = self._answer(request, int(fault) if fault.isdigit() else 0)
                if fault == "swallowed":
                    continue
                if fault == "lost":
                    break
                if fault == "cut":
                    connection.sendall(answer[: len(answer) // 2])
                    break
                connection.sendall(answer)
        with self._lock:
            self._connections.discard(connection)

    def _fault(self, asked: int) -> str:
        with self._lock:
            for fault in self._faults:
                if fault[0] == asked:
                    self._faults.remove(fault)
                    return fault[1]
        return ""

    def _answer(self, request: wire.Request, status: int) -> bytes:
        state = self.state
        acts: dict[int, Callable[[wire.Reader], bytes]] = {
            wire.CREATE_STREAM: state.create_stream,
            wire.DELETE_STREAM: state.delete_stream,
            wire.CREATE_TOPIC: state.create_topic,
            wire.UPDATE_TOPIC: state.update_topic,
            wire.DELETE_TOPIC: state.delete_topic,
            wire.PURGE_TOPIC: state.purge_topic,
            wire.CREATE_PARTITIONS: state.create_partitions,
            wire.SEND: state.send,
        }
        asks: dict[int, Callable[[wire.Reader], bytes]] = {
            wire.PING: lambda _: b"",
            wire.STATS: lambda _: wire.stats(self.version, len(state.streams), len(list(state.topics()))),
            wire.CLUSTER: lambda _: wire.node(self.port),
            wire.POLL: state.poll,
            wire.GET_TOPIC: state.get_topic,
        }
        body = wire.Reader(request.body)
        try:
            if status:
                raise wire.Refused(status)
            if request.operation == wire.REGISTER:
                return wire.reply(request, self._login(body))
            act = asks.get(request.code) if request.operation == wire.QUERY else acts.get(request.operation)
            if act is None:
                raise wire.Refused(wire.NOT_IMPLEMENTED)
            with state.lock:
                return wire.reply(request, act(body))
        except wire.Evicted as reason:
            return wire.eviction(request, reason.reason, self.protocol)
        except wire.Refused as refusal:
            if refusal.is_rejected:
                return wire.reply(request, wire.rejected(refusal.status))
            return wire.reply(request, status=refusal.status)

    def _login(self, body: wire.Reader) -> bytes:
        if body.number("I") >> 10 != wire.packed(self.protocol) >> 10:
            raise wire.Evicted(wire.WRONG_PROTOCOL)
        body.name(), body.name()  # the client and its version
        first = body.name()
        is_token = len(body.body) == body.at + 4
        if is_token and first != TOKEN:
            raise wire.Evicted(wire.WRONG_TOKEN)
        if not is_token and (first, body.name()) != (USER, PASSWORD):
            raise wire.Evicted(wire.WRONG_PASSWORD)
        session = struct.pack("<IQI", 0, 1, wire.packed(self.protocol))
        return wire.ACCEPTED + session + wire.text(self.version)


class _HttpHandler(BaseHTTPRequestHandler):
    """`/ping`, logging in, and making a topic with options by name."""

    server_of: IggyStub

    def do_GET(self) -> None:
        self._say(200, {}) if self.path == "/ping" else self._say(404, {"reason": "Not found"})

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        self.server_of.thawed.wait()
        match self.path.split("/")[1:]:
            case ["users", "login"]:
                is_known = (given.get("username"), given.get("password")) == (USER, PASSWORD)
                self._logged_in(is_known, {"id": 42, "code": "invalid_credentials", "reason": "Invalid credentials"})
            case ["personal-access-tokens", "login"]:
                reason = "Invalid personal access token"
                self._logged_in(given.get("token") == TOKEN, {"id": 53, "reason": reason})
            case ["streams", stream, "topics"] if self.headers.get("Authorization") == "Bearer of-the-stub":
                self._make_topic(unquote(stream), given)
            case ["streams", *_]:
                self._say(401, {"id": 77, "code": "access_token_missing", "reason": "Access token is missing"})
            case _:
                self._say(404, {"reason": "Not found"})

    def _logged_in(self, is_known: bool, refusal: dict[str, Any]) -> None:
        self._say(200, {"access_token": {"token": "of-the-stub"}}) if is_known else self._say(400, refusal)

    def _make_topic(self, stream: str, given: dict[str, Any]) -> None:
        options = {key: typed(key, value) for key, value in given["options"].items()}
        for key in ("message_expiry", "max_topic_size"):
            options[key] = given[key]
        try:
            self.server_of.state.make_topic(stream, given["name"], given["partitions_count"], options)
        except wire.Refused as refusal:
            reasons = {
                wire.NO_STREAM: (404, "Stream with ID: 0 was not found."),
                wire.TOPIC_EXISTS: (400, "Topic with name:  for stream with ID: 0 already exists."),
                wire.NO_SUCH_OPTION: (400, f"Unsupported option key: {', '.join(given['options'])}"),
            }
            status, reason = reasons[refusal.status]
            self._say(status, {"id": refusal.status, "reason": reason, "field": None})
        else:
            self._say(200, {"id": 0, "name": given["name"]})

    def _say(self, status: int, body: dict[str, Any]) -> None:
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests read the terminal."""
