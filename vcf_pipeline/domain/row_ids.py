"""row_id: 16 bytes of blake2b over tenant, callset, record and allele, for whole columns at once.

Unique where a hash of the variant is not: real files repeat alleles. Not here: the names themselves (identity.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vcf_pipeline.domain.kernel import kernel

ROW_ID_BYTES = 16
_TAIL_BYTES = 10  # record_no as int64, alt_index as int16, both little-endian
_BLOCK_BYTES = 128  # blake2b's; a tenant and a callset_id always fit one with their tail

_U = np.uint64
# Initial values and message order of BLAKE2b, RFC 7693 sections 2.6 and 2.7.
_IV = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)
# parameter block: digest length 16, no key, fanout 1, depth 1
_STATE_0 = int(_IV[0]) ^ 0x01010000 ^ ROW_ID_BYTES


def row_ids(tenant: str, callset_id: str, record_no: np.ndarray, alt_index: np.ndarray) -> pl.Series:
    """A Binary Series named row_id, 16 bytes each, in the order given.

    record_no: int64, 0-based. alt_index: int16, 1-based, 0 where ALT is `.`. Same length.
    Each equals hashlib.blake2b(b"tenant\\0callset_id\\0" + record_no + alt_index, digest_size=16), both numbers
    little-endian. Raises ValueError when the names are too long for one block (118 bytes with their two zero bytes).
    """
    prefix = np.frombuffer(f"{tenant}\0{callset_id}\0".encode(), np.uint8)
    if prefix.size + _TAIL_BYTES > _BLOCK_BYTES:
        raise ValueError(f"tenant and callset_id of {prefix.size - 2} bytes do not fit one block of blake2b")
    numbers = np.ascontiguousarray(record_no, np.int64).view(np.uint64)
    places = np.ascontiguousarray(alt_index, np.int16).view(np.uint16)
    block = np.zeros(_BLOCK_BYTES, np.uint8)
    block[: prefix.size] = prefix
    hashes = np.empty((len(numbers), 2), np.uint64)
    _hash_rows(block, block.view(np.uint64), prefix.size, numbers, places, np.empty(16, np.uint64), hashes)
    offsets = np.arange(0, (len(numbers) + 1) * ROW_ID_BYTES, ROW_ID_BYTES, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(hashes)]
    column = pa.Array.from_buffers(pa.large_binary(), len(numbers), buffers)
    return pl.Series("row_id", column, dtype=pl.Binary)


@kernel
def _rotated(x: Any, n: Any) -> Any:
    return (x >> _U(n)) | (x << _U(64 - n))


@kernel
def _hash_rows(block: Any, words: Any, at: int, record_no: Any, alt_index: Any, v: Any, hashes: Any) -> None:
    """block: begins with `at` bytes that every row shares; words: the same memory. v: 16 words to work in."""
    for row in range(record_no.size):
        number, place = record_no[row], alt_index[row]
        for k in range(8):
            block[at + k] = (number >> _U(8 * k)) & _U(255)
        block[at + 8] = place & 255
        block[at + 9] = place >> 8
        for i in range(8):
            v[i] = _IV[i]
            v[8 + i] = _IV[i]
        v[0] = _U(_STATE_0)
        v[12] ^= _U(at + _TAIL_BYTES)
        v[14] = ~v[14]
        for turn in range(12):
            for lane in range(8):
                # four columns, then four diagonals
                if lane < 4:
                    a, b, c, d = lane, lane + 4, lane + 8, lane + 12
                else:
                    a, b, c, d = lane - 4, 4 + (lane + 1) % 4, 8 + (lane + 2) % 4, 12 + (lane + 3) % 4
                v[a] = v[a] + v[b] + words[_SIGMA[turn, 2 * lane]]
                v[d] = _rotated(v[d] ^ v[a], 32)
                v[c] = v[c] + v[d]
                v[b] = _rotated(v[b] ^ v[c], 24)
                v[a] = v[a] + v[b] + words[_SIGMA[turn, 2 * lane + 1]]
                v[d] = _rotated(v[d] ^ v[a], 16)
                v[c] = v[c] + v[d]
                v[b] = _rotated(v[b] ^ v[c], 63)
        hashes[row, 0] = _U(_STATE_0) ^ v[0] ^ v[8]
        hashes[row, 1] = _IV[1] ^ v[1] ^ v[9]
