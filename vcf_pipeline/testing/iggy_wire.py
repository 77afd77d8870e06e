"""Apache Iggy's binary protocol as its 0.9 servers speak it, as far as our stub answers it: frames, names, options.

Written after the public source of the server (core/binary_protocol) and what a real one was seen to send. Little endian
throughout. Not here: what is stored and which faults are played (iggy_stub.py).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

HEADER = 256
"""Bytes of every frame's header, of a batch's header too."""
MESSAGE_HEADER = 48
PROTOCOL = (0, 11, 0)

REGISTER, QUERY, SEND = 1, 2, 160
CREATE_STREAM, DELETE_STREAM = 128, 130
CREATE_TOPIC, UPDATE_TOPIC, DELETE_TOPIC, PURGE_TOPIC = 132, 133, 134, 135
CREATE_PARTITIONS, CREATED_PARTITIONS = 136, 65
PING, STATS, CLUSTER, POLL, GET_TOPIC = 1, 10, 12, 100, 300
_REPLY, _EVICTION = 8, 13
FROM_OFFSET, FROM_FIRST = 1, 3

WRONG_PASSWORD, WRONG_TOKEN, WRONG_PROTOCOL = 9, 10, 14
"""Why a login ends the connection."""
NO_RESOURCE, NO_STREAM, NO_TOPIC, NO_PARTITION = 20, 1009, 2010, 3007
STREAM_EXISTS, TOPIC_EXISTS, NO_SUCH_OPTION, NOT_IMPLEMENTED, UNAUTHORIZED = 1012, 2013, 4041, 3, 41

_STRING, _BOOL, _U32, _U64 = 2, 3, 11, 12
Value = str | bool | int


class Refused(Exception):
    """An answer with a status of its own. is_rejected: decided by the replicated state, which frames it differently."""

    def __init__(self, status: int, *, is_rejected: bool = False) -> None:
        super().__init__(status)
        self.status, self.is_rejected = status, is_rejected


class Evicted(Exception):
    """The session ends: no such login, or no such version."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    header: bytes
    body: bytes

    @property
    def operation(self) -> int:
        return self.header[176]

    @property
    def code(self) -> int:
        """Of what is only asked."""
        return int(struct.unpack_from("<I", self.header, 196)[0])


def received(connection: socket.socket) -> Request:
    """Raises EOFError at the end of the connection."""
    header = _exactly(connection, HEADER)
    size = int(struct.unpack_from("<I", header, 48)[0])
    return Request(header, _exactly(connection, size - HEADER) if size > HEADER else b"")


def _exactly(connection: socket.socket, size: int) -> bytes:
    got = bytearray(size)
    view, at = memoryview(got), 0
    while at < size:
        count = connection.recv_into(view[at:])
        if count == 0:
            raise EOFError
        at += count
    return bytes(got)


def reply(request: Request, body: bytes = b"", status: int = 0) -> bytes:
    header = bytearray(HEADER)
    struct.pack_into("<I", header, 48, HEADER + len(body))
    header[60] = _REPLY
    header[160:176] = request.header[128:144]  # client
    header[200:208] = request.header[168:176]  # number of the request
    header[208] = CREATED_PARTITIONS if request.operation == CREATE_PARTITIONS else request.operation
    struct.pack_into("<I", header, 216, status)
    return bytes(header) + body


def eviction(request: Request, reason: int, protocol: tuple[int, int, int]) -> bytes:
    header = bytearray(HEADER)
    struct.pack_into("<I", header, 48, HEADER)
    header[60] = _EVICTION
    header[128:144] = request.header[128:144]
    if reason == WRONG_PROTOCOL:
        struct.pack_into("<II", header, 144, packed(protocol), packed((*protocol[:2], 0)))
    header[255] = reason
    return bytes(header)


def packed(version: tuple[int, int, int]) -> int:
    return version[0] << 20 | version[1] << 10 | version[2]


def rejected(status: int) -> bytes:
    """The result section of what the replicated state refused."""
    return struct.pack("<III", 1, 0, status)


ACCEPTED = struct.pack("<I", 0)


def text(value: str, width: str = "<B") -> bytes:
    encoded = value.encode()
    return struct.pack(width, len(encoded)) + encoded


class Reader:
    """One body, from its start."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.body[self.at - size : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0])

    def name(self) -> str:
        return self.take(self.number("B")).decode()

    def identifier(self) -> str:
        """Of a stream or topic: a name, as our adapter sends it."""
        kind, size = self.number("B"), self.number("B")
        value = self.take(size)
        return value.decode() if kind == _STRING else str(int.from_bytes(value, "little"))

    def options(self) -> dict[str, Value]:
        """To the end of the body."""
        found: dict[str, Value] = {}
        while self.at < len(self.body):
            self.take(1)
            key = self.take(self.number("I")).decode()
            kind = self.number("B")
            value = self.take(self.number("I"))
            found[key] = value.decode() if kind == _STRING else _number(kind, value)
        return found


def _number(kind: int, value: bytes) -> Value:
    number = int.from_bytes(value, "little")
    return bool(number) if kind == _BOOL else number


def options(values: dict[str, Value]) -> bytes:
    """With their length before them."""
    block = b"".join(
        _STRING.to_bytes(1) + text(key, "<I") + _value(key, value) for key, value in sorted(values.items())
    )
    return struct.pack("<I", len(block)) + block


def _value(key: str, value: Value) -> bytes:
    if isinstance(value, str):
        return _STRING.to_bytes(1) + text(value, "<I")
    if isinstance(value, bool):
        return struct.pack("<BIB", _BOOL, 1, value)
    if key == "messages_required_to_save":
        return struct.pack("<BII", _U32, 4, value)
    return struct.pack("<BIQ", _U64, 8, value)


def frames(batch: bytes) -> list[bytes]:
    """Its messages, each with its header."""
    found, at = [], HEADER
    while at < len(batch):
        headers, payload = struct.unpack_from("<II", batch, at + 32)
        end = at + MESSAGE_HEADER + headers + payload
        found.append(batch[at:end])
        at = end
    return found


def record(header: bytes, base_offset: int, found: list[bytes]) -> bytes:
    """Messages of one sent batch as a poll answers them. The batch's checksum is not made anew: no client looks."""
    stamped = bytearray(header)
    struct.pack_into("<Q", stamped, 8, base_offset)
    struct.pack_into("<Q", stamped, 32, HEADER + sum(map(len, found)))
    struct.pack_into("<I", stamped, 48, len(found))
    return b"".join([bytes(stamped), *found])


def node(port: int) -> bytes:
    """A cluster of one."""
    one = text("iggy-node", "<I") + text("127.0.0.1", "<I") + struct.pack("<4H2B", port, 0, 0, 0, 0, 0)
    return text("single-node", "<I") + struct.pack("<I", 1) + one


def stats(version: str, streams: int, topics: int) -> bytes:
    """What a server tells of itself; numbers that nobody of ours reads are 0."""
    numbers = struct.pack("<I2f8Q4IQ2I", 1, 0.0, 0.0, *[0] * 8, streams, topics, 0, 0, 0, 1, 0)
    words = b"".join(text(word, "<I") for word in ("stub", "", "", "", version))
    return numbers + words + struct.pack("<IIIQQ", 0, 0, 1, 0, 0)
