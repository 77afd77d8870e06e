"""`iggy+quic://user:password@host:port` → transport, host, port and who logs in; needs no server.

Not here: settings that hold such a text (settings.py); connecting (adapters/broker/iggy.py). A password is never part
of an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from vcf_pipeline.domain.errors import BadSetting

DEFAULT_USERNAME = DEFAULT_PASSWORD = "iggy"  # noqa: S105 - what a server without settings of its own takes


@dataclass(frozen=True)
class _Scheme:
    transport: str
    port: int
    has_tls: bool = False


SCHEMES: dict[str, _Scheme] = {
    "iggy": _Scheme("tcp", 8090),
    "iggy+tcp": _Scheme("tcp", 8090),
    "iggy+tls": _Scheme("tcp", 8090, has_tls=True),
    "iggy+quic": _Scheme("quic", 8080, has_tls=True),
    # QUIC is always encrypted; a server without a certificate of its own shows one that nobody can check
    "iggy+quic-unverified": _Scheme("quic", 8080),
    "iggy+http": _Scheme("http", 3000),
    "iggy+https": _Scheme("http", 3000, has_tls=True),
    "iggy+ws": _Scheme("websocket", 8092),
    "iggy+wss": _Scheme("websocket", 8092, has_tls=True),
}


@dataclass(frozen=True)
class IggyAddress:
    """transport: tcp, quic, http or websocket. password: never shown."""

    scheme: str
    transport: str
    host: str
    port: int
    has_tls: bool
    username: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str, where: str, quic_port: int | None = None) -> IggyAddress:
        """where: the setting it stands in. quic_port: for QUIC without a port of its own. Raises BadSetting."""
        scheme, separator, _ = text.strip().partition("://")
        rule = SCHEMES.get(scheme) if separator else None
        if rule is None:
            raise BadSetting(
                where=where,
                expected=f"an address with one of the schemes {', '.join(SCHEMES)}",
                # without a scheme the text may be all password
                got=f"the scheme {scheme[:20]!r}" if separator else "an address without a scheme",
                repair="As in iggy://user:password@host:8090",
            )
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise BadSetting(
                where=where,
                expected="host and port after the scheme, and nothing after them",
                got="another form (not shown, since it may hold a password)",
                repair="As in iggy://user:password@host:8090; write / @ : # ? of a password as %2F %40 %3A %23 %3F.",
            )
        if port is None:
            port = quic_port if quic_port is not None and rule.transport == "quic" else rule.port
        return cls(
            scheme=scheme,
            transport=rule.transport,
            host=host,
            port=port,
            has_tls=rule.has_tls,
            username=unquote(parts.username or "") or DEFAULT_USERNAME,
            password=unquote(parts.password or "") if parts.username else DEFAULT_PASSWORD,
        )

    @property
    def host_and_port(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """For people: everything but the password."""
        return f"{self.scheme}://{self.username}:***@{self.host_and_port}"
