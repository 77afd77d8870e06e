"""Compiled kernels: INFO text → where each key's value stands. Dtypes as in tokens.py.

Not here: which keys there are and what their values ought to be (info.py).
"""

from __future__ import annotations

import numpy as np

from vcf_pipeline.domain.kernel import kernel
from vcf_pipeline.domain.vcf.tokens import SEMICOLONS, Array, find_byte, load_word

REPEATED_KEY = 1
EMPTY_ENTRY = 2
UNKNOWN_KEY = 4


@kernel
def hash_key(b: Array, s: int, e: int) -> int:
    """FNV-1a over b[s:e], 32 bits. s, e: int64 from every caller, so that it is compiled once."""
    h = np.uint32(2166136261)
    for i in range(s, e):
        h = np.uint32((h ^ np.uint32(b[i])) * np.uint32(16777619))
    return int(h)


@kernel
def fill_key_table(key_bytes: Array, key_start: Array, table: Array, key_word: Array, key_mask: Array) -> None:
    """Open addressing: table (int32, a power of two long, -1 is free) ← number of each key.

    key_word, key_mask (uint64, all 0): the first eight bytes of each key as a word, and which of them count.
    """
    mask = table.size - 1
    for k in range(key_start.size - 1):
        for j in range(key_start[k], key_start[k + 1]):
            shift = np.uint64(8 * (j - key_start[k]))
            if shift < 64:
                key_word[k] |= np.uint64(key_bytes[j]) << shift
                key_mask[k] |= np.uint64(255) << shift
        h = hash_key(key_bytes, np.int64(key_start[k]), np.int64(key_start[k + 1])) & mask
        while table[h] >= 0:
            h = (h + 1) & mask
        table[h] = k


@kernel
def find_info(
    b: Array,
    off: Array,
    length: Array,
    key_bytes: Array,
    key_start: Array,
    table: Array,
    key_word: Array,
    key_mask: Array,
    successor: Array,
    token_off: Array,
    token_len: Array,
    flags: Array,
    seen: Array,
    unknown_off: Array,
    unknown_len: Array,
) -> int:
    """key=value;… of each row → token_off, token_len [key, row] (token_len comes filled with -1).

    flags: uint8 bits per row (REPEATED_KEY: the first value stays; EMPTY_ENTRY; UNKNOWN_KEY). seen: uint8 per
    key. unknown_off, unknown_len: where unknown keys stand, as many as fit. Returns how many unknown keys
    there were. successor (int32, a key more than there are, all -1): the key that followed each last time is
    tried first, since most records name their keys in one order.
    """
    n_keys = key_start.size - 1
    mask = table.size - 1
    last_word = b.size - 8
    n_unknown = 0
    for r in range(off.size):
        s = off[r]
        e = s + length[r]
        if length[r] <= 0 or (length[r] == 1 and b[s] == 46):
            continue
        prev = n_keys
        i = s
        while i < e:
            if b[i] == 59:
                flags[r] |= EMPTY_ENTRY
                i += 1
                continue
            ks = i
            k = -1
            g = successor[prev]
            if g >= 0:
                q = key_start[g]
                size = key_start[g + 1] - q
                if ks + size <= e and ks <= last_word and (load_word(b, ks) & key_mask[g]) == key_word[g]:
                    same = True
                    for j in range(8, size):
                        if b[ks + j] != key_bytes[q + j]:
                            same = False
                            break
                    if same and (ks + size == e or b[ks + size] == 61 or b[ks + size] == 59):
                        k = g
                        i = ks + size
            if k < 0:
                while i < e and b[i] != 61 and b[i] != 59:
                    i += 1
                h = hash_key(b, np.int64(ks), np.int64(i)) & mask
                while table[h] >= 0:
                    g = table[h]
                    q = key_start[g]
                    if key_start[g + 1] - q == i - ks:
                        same = True
                        for j in range(i - ks):
                            if b[ks + j] != key_bytes[q + j]:
                                same = False
                                break
                        if same:
                            k = g
                            break
                    h = (h + 1) & mask
                if k >= 0:
                    successor[prev] = k
            if k < 0:
                if n_unknown < unknown_off.size:
                    unknown_off[n_unknown] = ks
                    unknown_len[n_unknown] = i - ks
                n_unknown += 1
                flags[r] |= UNKNOWN_KEY
            if i < e and b[i] == 61:
                i += 1
                vs = i
                i = find_byte(b, i, e, SEMICOLONS, 59)
                if k >= 0:
                    if token_len[k, r] == -1:
                        token_off[k, r] = vs
                        token_len[k, r] = i - vs
                        seen[k] = 1
                    else:
                        flags[r] |= REPEATED_KEY
            elif k >= 0:
                if token_len[k, r] == -1:
                    token_off[k, r] = ks
                    token_len[k, r] = -2
                    seen[k] = 1
                else:
                    flags[r] |= REPEATED_KEY
            if k >= 0:
                prev = k
            i += 1
        if b[e - 1] == 59:
            flags[r] |= EMPTY_ENTRY
    return n_unknown
