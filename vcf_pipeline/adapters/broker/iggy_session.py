"""Clients of one Iggy server and the event loop they live in: connected, called within a time, dropped in doubt.

The client's methods need a running loop, one client has one request in flight, and a call cannot be taken back: so
there is a thread with a loop of its own, a few clients for each purpose (a wait must not hold up an append), and a
client whose call timed out or lost its connection is never used again. Not here: what is asked (iggy.py), errors'
words (iggy_errors.py).
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import datetime
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from vcf_pipeline.adapters.broker.iggy_errors import (
    CLIENT_VERSION,
    SPEAKS,
    mapped,
    timed_out,
    unavailable,
    wrong_version,
)
from vcf_pipeline.adapters.broker.iggy_http import IggyHttp
from vcf_pipeline.domain.errors import BadSetting, BrokerUnavailable, PermanentError, PipelineError

Answer = TypeVar("Answer")
Purpose = Literal["append", "read", "wait", "probe", "admin"]
Client = Any
"""apache_iggy.IggyClient, which is not imported before a client is needed."""

LINGER_S = 0.1
"""An interpreter that ends sooner after the client's last call may abort (DESIGN section 5)."""
_CLIENTS = {"append": 4, "read": 4, "wait": 4, "probe": 1, "admin": 1}
_GRACE_S = 1.0

_open: set[Session] = set()
_inherited: list[object] = []
"""What a forked child got from its parent: kept, so that nobody closes it."""
_runtime_pid: list[int] = []
"""The process whose threads serve the client's runtime: it does not survive a fork."""


@dataclass(frozen=True)
class IggyOptions:
    """address: host:port. token: a personal access token, in place of user and password. http_url: for topics on a
    server that does not know the client's durability keys; default port 3000 of the same host. tls: the server's
    certificate is checked, by tls_ca or by what the machine trusts; QUIC is encrypted in any case, and without it
    nobody checks with whom.
    """

    address: str = "127.0.0.1:8090"
    transport: str = "tcp"
    username: str = "iggy"
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls: bool = False
    tls_ca: str = ""
    http_url: str = ""
    prefix: str = "vcf-pipeline"
    connect_timeout_s: float = 2.0
    call_timeout_s: float = 10.0
    max_message_bytes: int = 4 << 20

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def http(self) -> IggyHttp:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.tls else "http"
        default = f"{scheme}://{self.address}" if self.transport == "http" else f"{scheme}://{host}:3000"
        return IggyHttp(
            self.http_url or default, self.username, self.password, self.token, self.tls_ca, self.call_timeout_s
        )


@dataclass
class _Lane:
    """Clients for one purpose. idle: those that nobody uses now."""

    slots: asyncio.Semaphore
    idle: list[Client] = field(default_factory=list)


class Session:
    """Thread-safe. Connects when first asked."""

    def __init__(self, options: IggyOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._is_closed = False
        self._last_call = 0.0
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lanes: dict[str, _Lane] = {}
        self.server_version = ""
        """Of the server that was connected to last, "" before that and where its user may not ask."""

    @property
    def where(self) -> str:
        return f"iggy {self.options.address}"

    def call(
        self,
        purpose: Purpose,
        act: Callable[[Client], Awaitable[Answer]],
        about: str = "",
        *,
        timeout_s: float | None = None,
    ) -> Answer:
        """What `act` awaits. A lost connection is made anew, once. timeout_s: for all of it, connecting too.

        Raises BrokerUnavailable, BrokerTimeout, TopicMissing and what else iggy_errors maps.
        """
        where = f"{self.where} {about}".strip()
        seconds = self.options.call_timeout_s + self.options.connect_timeout_s if timeout_s is None else timeout_s
        loop = self._running(where)
        waiting = asyncio.run_coroutine_threadsafe(self._answer(purpose, act, where, seconds), loop)
        try:
            return waiting.result(seconds + _GRACE_S)
        except concurrent.futures.CancelledError:
            raise unavailable(where, "the broker was closed") from None
        except TimeoutError:
            raise timed_out(where, f"none within {seconds:g} s") from None
        finally:
            waiting.cancel()

    def close(self) -> None:
        """Idempotent. Returns when the client can do no harm to an interpreter that ends."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            _open.discard(self)
        if loop is None or thread is None or self._pid != os.getpid():
            return
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._wound_up(loop), loop)
        thread.join(2.0)
        if not thread.is_alive():
            loop.close()

    # ---- the loop's thread

    def _running(self, where: str) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise unavailable(where, "the broker was closed")
            if self._pid != os.getpid():
                _inherited.append((self._loop, self._thread, self._lanes))
                self._loop, self._thread, self._lanes, self._pid = None, None, {}, os.getpid()
            if self._loop is None:
                _check_not_forked(where)
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="iggy", daemon=True)
                self._thread.start()
                _open.add(self)
            return self._loop

    async def _wound_up(self, loop: asyncio.AbstractEventLoop) -> None:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        for lane in self._lanes.values():
            lane.idle.clear()
        self._last_call = time.monotonic() if self._last_call else self._last_call
        await asyncio.sleep(LINGER_S if self._last_call else 0)
        loop.stop()

    async def _answer(
        self, purpose: Purpose, act: Callable[[Client], Awaitable[Answer]], where: str, seconds: float
    ) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._in_lane(purpose, act, where)
        except TimeoutError:
            raise timed_out(where, f"none within {seconds:g} s") from None
        finally:
            self._last_call = time.monotonic()

    async def _in_lane(self, purpose: Purpose, act: Callable[[Client], Awaitable[Answer]], where: str) -> Answer:
        lane = self._lanes.setdefault(purpose, _Lane(asyncio.Semaphore(_CLIENTS[purpose])))
        async with lane.slots:
            while True:
                was_idle = bool(lane.idle)
                client = lane.idle.pop() if was_idle else await self._connected(where)
                try:
                    async with asyncio.timeout(self.options.call_timeout_s):
                        answer = await act(client)
                except (RuntimeError, ValueError, OverflowError) as problem:
                    error = mapped(problem, where)
                    if not isinstance(error, BrokerUnavailable):
                        lane.idle.append(client)
                        raise error from problem
                    if not was_idle:
                        raise error from problem
                    lane.idle.clear()  # they are as lost as this one
                    self.server_version = ""  # who answers next may be another one
                except TimeoutError:
                    raise timed_out(where, f"none within {self.options.call_timeout_s:g} s") from None
                except PipelineError:
                    lane.idle.append(client)
                    raise
                else:
                    lane.idle.append(client)
                    return answer

    async def _connected(self, where: str) -> Client:
        limit = self.options.connect_timeout_s
        try:
            async with asyncio.timeout(limit):
                client = await _new_client(self.options)
                await client.connect()
                if self.options.transport == "http" and not self.options.token:
                    await client.login_user(self.options.username, self.options.password)
                if not self.server_version:
                    self.server_version = await _checked_version(client, where)
                return client
        except TimeoutError:
            raise BrokerUnavailable(
                where=where,
                expected=f"an answer to the login within {limit:g} s",
                got="none",
                repair=f"The server is frozen, is no Iggy server, or is one of another version: {SPEAKS}.",
            ) from None
        except (RuntimeError, ValueError, OSError) as problem:
            error = mapped(problem, where)
            if isinstance(error, BrokerUnavailable) and (advice := _advice(self.options, str(problem))):
                error.add_sentence(advice)
            raise error from problem


async def _checked_version(client: Client, where: str) -> str:
    """Raises BrokerUnfit (BROKER_VERSION). "" for a user who may not ask: the login has compared protocols."""
    try:
        version = str((await client.get_stats()).iggy_server_version)
    except RuntimeError as problem:
        if "unauthorized" in str(problem).lower():
            return ""
        raise
    if not version.startswith(f"{CLIENT_VERSION}."):
        raise wrong_version(where, f"a server of version {version}")
    return version


def _advice(options: IggyOptions, said: str) -> str:
    if "disconnected" in said.lower():
        return f"The server cut the connection at the login, as one of another version or with TLS does: {SPEAKS}."
    if not options.tls:
        return ""
    trusted = (
        "VCF_PIPELINE_IGGY__TLS_CA names the authority that signed its certificate"
        if options.transport in ("tcp", "websocket")
        else "this machine, or SSL_CERT_FILE in our programs' environment, trusts its certificate"
    )
    return f"If it runs: is it there that it speaks TLS, and does {trusted}, which names the host of the address?"


async def _new_client(options: IggyOptions) -> Client:
    """Not connected. Raises ValueError for an address that the client refuses, BadSetting."""
    import apache_iggy as iggy

    if options.tls and options.tls_ca and options.transport in ("quic", "http"):
        raise BadSetting(
            where="VCF_PIPELINE_IGGY__TLS_CA",
            expected="none with QUIC or HTTPS, whose client trusts what this machine trusts",
            got=options.tls_ca,
            repair="Start our programs with SSL_CERT_FILE naming that file in its place, or take iggy+tls://.",
        )
    login = (
        iggy.AutoLogin.personal_access_token(options.token)
        if options.token
        else iggy.AutoLogin.username_password(options.username, options.password)
    )
    once: dict[str, Any] = {"enabled": True, "max_retries": 0, "interval": datetime.timedelta(milliseconds=100)}
    at_once: dict[str, Any] = {**once, "reestablish_after": datetime.timedelta(0)}
    tls: dict[str, Any] = {"tls_enabled": options.tls}
    if options.tls:
        tls |= {"tls_domain": options.host, "tls_validate_certificate": True}
        if options.tls_ca:
            tls |= {"tls_ca_file": options.tls_ca}
    config: Any
    match options.transport:
        case "tcp":
            config = iggy.TcpConfig(
                server_address=options.address,
                nodelay=True,
                auto_login=login,
                reconnection=iggy.TcpReconnectionConfig(**at_once),
                **tls,
            )
        case "quic":
            config = iggy.QuicConfig(
                server_address=options.address,
                server_name=options.host,
                auto_login=login,
                reconnection=iggy.QuicReconnectionConfig(**at_once),
                validate_certificate=options.tls,
            )
        case "websocket":
            config = iggy.WebSocketConfig(
                server_address=options.address,
                auto_login=login,
                reconnection=iggy.WebSocketReconnectionConfig(**at_once),
                **tls,
            )
        case "http":
            http = options.http
            jwt = await asyncio.to_thread(http.login) if options.token else None
            config = iggy.HttpConfig(api_url=http.url, retries=0, jwt=jwt)
        case other:
            raise PermanentError(where="iggy", expected="tcp, quic, websocket or http", got=repr(other))
    return iggy.IggyClient(config)


def _check_not_forked(where: str) -> None:
    """Raises PermanentError in a process forked from one that has used the client."""
    if _runtime_pid and _runtime_pid[0] != os.getpid():
        raise PermanentError(
            where=where,
            expected="a process that was started, or forked before Iggy was used",
            got="one forked from a process whose Iggy client runs: the client's threads are not in it",
            repair="Start such workers with multiprocessing's spawn method.",
            code="FORKED",
        )
    _runtime_pid[:] = [os.getpid()]


@atexit.register
def _close_all() -> None:
    for session in list(_open):
        session.close()
