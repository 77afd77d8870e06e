"""Compiled kernels: line bytes → column offsets, numbers, list items, string views. No meaning of VCF here.

Everywhere: `b` is the block (uint8, read-only), offsets into it are int32 (a block is far below 2 GiB), a
length of -1 says "absent" and -2 "stands without a value". A kernel writes into arrays that its caller made.
Callers keep to these dtypes, so that each kernel is compiled once and then read from the cache on disk.
Not here: keys of INFO (info_tokens.py), alleles (allele_tokens.py), FORMAT and samples (sample_tokens.py), what a
value ought to be (records.py, info.py, alleles.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vcf_pipeline.domain.kernel import inlined, kernel

Array = npt.NDArray[Any]

ABSENT = -1
WITHOUT_VALUE = -2

POWERS_OF_TEN = np.array([float(f"1e{i}") for i in range(309)])


_WORD = ir.IntType(64)


def _word_at(_typing: Any, b: Any, _at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.PointerType(_WORD)), align=1)

    return types.uint64(b, types.int64), generate


def _zeros_below(_typing: Any, _word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


def _bits_of(_typing: Any, _number: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _WORD)

    return types.uint64(types.float64), generate


load_word: Any = intrinsic(_word_at)
"""(b, at) → the bytes b[at:at+8] as a little-endian uint64, wherever they stand. Callers keep at + 8 <= b.size."""
trailing_zeros: Any = intrinsic(_zeros_below)
"""(word) → how many low bits of a uint64 are 0."""
float_bits: Any = intrinsic(_bits_of)
"""(number) → the 64 bits of a float64. A view of an array would say the same, and compile ten times as long."""

_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_TABS = _ONES * np.uint64(9)
SEMICOLONS = _ONES * np.uint64(59)


@inlined
def find_byte(b: Array, s: int, e: int, repeated: Any, byte: int) -> Any:
    """Where the byte first stands in b[s:e], e when nowhere. repeated: the byte eight times, as uint64.

    Eight bytes at a time: (x - 0x01…) & ~x & 0x80… has its lowest bit in the first byte of x that is zero.
    """
    i = s
    while i + 8 <= e:
        x = load_word(b, i) ^ repeated
        hit = (x - _ONES) & ~x & _HIGHS
        if hit != 0:
            ahead = np.int64(trailing_zeros(hit) >> np.uint64(3))
            return i + ahead
        i += 8
    while i < e and b[i] != byte:
        i += 1
    return i


@kernel
def find_columns(b: Array, start: Array, end: Array, off: Array, length: Array, found: Array) -> None:
    """The first off.shape[0] columns of each line → off, length [column, line]; found: columns seen, at most
    one more.

    start, end: int32, end exclusive, without CR and LF. Missing columns have length -1.
    """
    wanted = off.shape[0]
    for r in range(start.size):
        e = end[r]
        s = start[r]
        i = s
        c = 0
        while True:
            # the first columns are short: a byte at a time; INFO is not
            if c < 7:
                while i < e and b[i] != 9:
                    i += 1
            else:
                i = find_byte(b, i, e, _TABS, 9)
            off[c, r] = s
            length[c, r] = i - s
            c += 1
            if i >= e:
                found[r] = c
                break
            i += 1
            s = i
            if c == wanted:
                found[r] = c + 1
                break
        for k in range(c, wanted):
            off[k, r] = e
            length[k, r] = -1


@kernel
def parse_ints(b: Array, off: Array, length: Array, out: Array, valid: Array, bad: Array) -> int:
    """Whole numbers of up to 18 digits → out (int64), valid (bool); rows that are none → bad (int32). Returns
    how many.

    Absent and `.` are not valid and not bad; an empty value and one without `=` are bad.
    """
    n_bad = 0
    for r in range(off.size):
        size = length[r]
        s = off[r]
        valid[r] = False
        out[r] = 0
        if size == -1 or (size == 1 and b[s] == 46):
            continue
        if size <= 0:
            bad[n_bad] = r
            n_bad += 1
            continue
        i = s
        e = s + size
        negative = b[i] == 45
        if negative or b[i] == 43:
            i += 1
        fine = i < e and e - i <= 18
        v = np.int64(0)
        while fine and i < e:
            d = np.int64(b[i]) - 48
            if d < 0 or d > 9:
                fine = False
            else:
                v = v * 10 + d
                i += 1
        if fine:
            out[r] = -v if negative else v
            valid[r] = True
        else:
            bad[n_bad] = r
            n_bad += 1
    return n_bad


@kernel
def parse_floats(b: Array, off: Array, length: Array, powers: Array, out: Array, valid: Array, bad: Array) -> int:
    """Decimal numbers → out (float32, rounded once), valid (bool); rows that need a slower look → bad
    (int32).

    Nineteen digits and a power of ten give a float64 within a few units of its last place, so its float32 is
    the right one unless it lies next to a tie: those rows, subnormals, words (inf, nan) and texts that are no
    number are `bad`.
    """
    n_bad = 0
    for r in range(off.size):
        size = length[r]
        s = off[r]
        valid[r] = False
        out[r] = 0
        if size == -1 or (size == 1 and b[s] == 46):
            continue
        if size <= 0:
            bad[n_bad] = r
            n_bad += 1
            continue
        i = s
        e = s + size
        negative = b[i] == 45
        if negative or b[i] == 43:
            i += 1
        m = np.uint64(0)
        digits = 0
        exponent = 0
        some = False
        if size <= 18:
            # no more digits than a uint64 holds: nothing to count
            p = i
            while i < e:
                d = np.int64(b[i]) - 48
                if d < 0 or d > 9:
                    break
                m = m * np.uint64(10) + np.uint64(d)
                i += 1
            some = i > p
            if i < e and b[i] == 46:
                i += 1
                p = i
                while i < e:
                    d = np.int64(b[i]) - 48
                    if d < 0 or d > 9:
                        break
                    m = m * np.uint64(10) + np.uint64(d)
                    i += 1
                exponent = p - i
                some = some or i > p
        else:
            while i < e and 48 <= b[i] <= 57:
                if digits < 19:
                    m = m * np.uint64(10) + np.uint64(b[i] - 48)
                    if m > 0:
                        digits += 1
                else:
                    exponent += 1
                i += 1
                some = True
            if i < e and b[i] == 46:
                i += 1
                while i < e and 48 <= b[i] <= 57:
                    if digits < 19:
                        m = m * np.uint64(10) + np.uint64(b[i] - 48)
                        if m > 0:
                            digits += 1
                        exponent -= 1
                    i += 1
                    some = True
        fine = some
        if fine and i < e and (b[i] == 101 or b[i] == 69):
            i += 1
            minus = False
            x = 0
            any_digit = False
            if i < e and (b[i] == 45 or b[i] == 43):
                minus = b[i] == 45
                i += 1
            while i < e and 48 <= b[i] <= 57 and x < 100000:
                x = x * 10 + (b[i] - 48)
                i += 1
                any_digit = True
            if not any_digit:
                fine = False
            exponent += -x if minus else x
        if i != e:
            fine = False
        if fine:
            v = 0.0
            if m != 0:
                if exponent < -308 or exponent > 308:
                    fine = False
                else:
                    v = np.float64(m)
                    v = v * powers[exponent] if exponent >= 0 else v / powers[-exponent]
                    if v < 1.2e-38 or v > 3.4e38:
                        fine = False
                    elif not (m <= np.uint64(9007199254740992) and -22 <= exponent <= 22):
                        low = np.int64(float_bits(v) & np.uint64(0x1FFFFFFF))
                        if abs(low - 0x10000000) <= 8:
                            fine = False
            if fine:
                out[r] = np.float32(-v if negative else v)
                valid[r] = True
        if not fine:
            bad[n_bad] = r
            n_bad += 1
    return n_bad


@kernel
def count_items(b: Array, off: Array, length: Array, separator: int, count: Array) -> int:
    """Items of each list → count (int32): 0 for absent, `.`, empty and valueless. Returns the sum."""
    total = 0
    for r in range(off.size):
        size = length[r]
        s = off[r]
        if size <= 0 or (size == 1 and b[s] == 46):
            count[r] = 0
            continue
        c = 1
        for i in range(s, s + size):
            if b[i] == separator:
                c += 1
        count[r] = c
        total += c
    return total


@kernel
def split_items(
    b: Array, off: Array, length: Array, separator: int, count: Array, item_off: Array, item_len: Array
) -> None:
    """The items of every list with count > 0, one after the other → item_off, item_len."""
    k = 0
    for r in range(off.size):
        if count[r] == 0:
            continue
        p = off[r]
        e = p + length[r]
        for i in range(p, e):
            if b[i] == separator:
                item_off[k] = p
                item_len[k] = i - p
                k += 1
                p = i + 1
        item_off[k] = p
        item_len[k] = e - p
        k += 1


@kernel
def pick_item(
    b: Array, off: Array, length: Array, which: Array, item_off: Array, item_len: Array, count: Array
) -> None:
    """Item number which[r] (from 0) of the comma list of row r → item_off, item_len; count: how many items it
    has.

    An absent list and a lone `.` give an absent item and count 0; a list too short gives an absent item.
    Empty and valueless lists give an item of the same length (0, -2), for the parser of numbers to object to.
    """
    for r in range(off.size):
        size = length[r]
        s = off[r]
        item_off[r] = s
        item_len[r] = -1
        count[r] = 0
        if size == -1 or (size == 1 and b[s] == 46):
            continue
        if size <= 0:
            item_len[r] = size
            continue
        e = s + size
        c = 0
        p = s
        w = which[r]
        for i in range(s, e):
            if b[i] == 44:
                if c == w:
                    item_off[r] = p
                    item_len[r] = i - p
                c += 1
                p = i + 1
        if c == w:
            item_off[r] = p
            item_len[r] = e - p
        count[r] = c + 1


@kernel
def string_views(b: Array, off: Array, length: Array, dot_is_null: bool, words: Array, valid: Array) -> int:
    """Arrow string views (two uint64 a row) into buffer 0, valid (bool); length <= 0 is null, so is `.` when
    asked.

    Returns how many rows are null.
    """
    nulls = 0
    last = b.size - 12
    low = np.uint64(0xFFFFFFFF)
    for r in range(off.size):
        size = length[r]
        s = off[r]
        if size <= 0 or (dot_is_null and size == 1 and b[s] == 46):
            valid[r] = False
            words[r, 0] = 0
            words[r, 1] = 0
            nulls += 1
            continue
        valid[r] = True
        # length and the first four bytes; then eight more bytes, or buffer 0 and the offset
        head = np.uint64(0)
        tail = np.uint64(0)
        if s <= last:
            head = load_word(b, s) & low
            tail = load_word(b, s + 4)
        else:
            for j in range(size):
                if j < 4:
                    head |= np.uint64(b[s + j]) << np.uint64(8 * j)
                elif j < 12:
                    tail |= np.uint64(b[s + j]) << np.uint64(8 * (j - 4))
        if size > 12:
            tail = np.uint64(s) << np.uint64(32)
        elif size <= 4:
            tail = np.uint64(0)
            head &= low >> np.uint64(32 - 8 * size)
        else:
            tail &= ~np.uint64(0) >> np.uint64(96 - 8 * size)
        words[r, 0] = np.uint64(size) | (head << np.uint64(32))
        words[r, 1] = tail
    return nulls


@kernel
def classify_bytes(b: Array, off: Array, length: Array, classes: Array, out: Array) -> None:
    """The classes (uint8[256] bits) of all bytes of each text, or-ed → out (uint8). Empty and absent give
    0.
    """
    for r in range(off.size):
        bits = np.uint8(0)
        for i in range(off[r], off[r] + length[r]):
            bits |= classes[b[i]]
        out[r] = bits


@kernel
def contains_byte(b: Array, off: Array, length: Array, wanted: int, out: Array) -> None:
    """Whether the byte stands in each text → out (bool)."""
    for r in range(off.size):
        out[r] = False
        for i in range(off[r], off[r] + length[r]):
            if b[i] == wanted:
                out[r] = True
                break
