"""The frame: round trips, and bytes that are none."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.stream.envelope import MAX_MESSAGE_BYTES, Envelope, decode, encode

ONE = Envelope(
    id="p/3", kind="variants/arrow", tenant="t", body=b"\x00\xff", publish_id="p", seq=3, attributes={"rows": 1}
)


def changed(**fields: object) -> bytes:
    record = msgpack.unpackb(encode(ONE))
    record.update(fields)
    packed: bytes = msgpack.packb(record)
    return packed


def test_an_envelope_comes_back_whole():
    assert decode(encode(ONE)) == ONE


def test_a_resend_has_the_same_hash_and_another_body_or_attribute_another():
    again = decode(changed(ts=5, producer="elsewhere"))
    assert again.body_hash == ONE.body_hash
    assert decode(changed(body=b"")).body_hash != ONE.body_hash
    assert decode(changed(attributes={"rows": 2})).body_hash != ONE.body_hash


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_but_unreadable(junk: bytes):
    try:
        decode(junk)
    except UnreadableMessage:
        return
    pytest.fail("junk was read as an envelope")


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_or_unreadable_and_nothing_else(place: int, value: int):
    message = bytearray(encode(ONE))
    message[place % len(message)] = value
    try:
        decode(bytes(message))
    except UnreadableMessage as problem:
        assert problem.code == "UNREADABLE_MESSAGE"


@pytest.mark.parametrize(
    "message",
    [
        b"\x91" * 5000 + b"\xc0",
        changed(attributes={"a": [[[[[[[[[1]]]]]]]]]}),
        changed(v=2),
        changed(seq=-1),
        changed(seq=True),
        changed(seq=1.5),
        changed(tenant=""),
        changed(kind="k" * 500),
        changed(body="text"),
        changed(attributes=[1]),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgpack.packb({1: 2}),
        msgpack.packb([1]),
        encode(ONE) + b"\x00",
        b"\x00" * (MAX_MESSAGE_BYTES + 1),
    ],
    ids=lambda message: message[:12].hex(),
)
def test_what_is_no_envelope_of_this_version_is_unreadable(message: bytes):
    with pytest.raises(UnreadableMessage):
        decode(message)
