"""Compiled kernels over FORMAT and the sample columns: bytes → offsets of values, allele numbers, counts.

Not here: which keys are wanted and what is a defect (genotypes.py); core columns, INFO, numbers and lists
(tokens.py). As there: `b` is the block (uint8, read-only), a length of -1 says "not there", and callers
keep to these dtypes, so that each kernel is compiled once and then read from the cache on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vcf_pipeline.domain.kernel import kernel

U8 = npt.NDArray[np.uint8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

TAB, COLON, SLASH, PIPE, DOT = 9, 58, 47, 124, 46
MISSING, NO_ALLELE = -1, -2

# gt_of_cells: what a call was, one bit each.
BAD, OUT_OF_RANGE, UNEVEN = 1, 2, 4


@kernel
def format_ids(b: U8, off: I64, length: I32, ids: I32, first: I64) -> int:
    """Number the distinct FORMAT texts. ids[n]: the number of each record's; first[n]: a record that has it.

    Returns how many there are. Texts mostly repeat in turns, so the successor of the last one is tried first.
    """
    n = off.size
    hashes = np.empty(n, np.uint64)
    following = np.full(n, -1, np.int32)
    count = 0
    last = 0
    for r in range(n):
        s = off[r]
        h = np.uint64(14695981039346656037)
        for i in range(s, s + length[r]):
            h = (h ^ np.uint64(b[i])) * np.uint64(1099511628211)
        found = -1
        guess = following[last] if count else -1
        for k in range(-1, count):
            c = guess if k < 0 else k
            if c < 0 or hashes[c] != h or length[first[c]] != length[r]:
                continue
            same = True
            q = off[first[c]]
            for i in range(length[r]):
                if b[q + i] != b[s + i]:
                    same = False
                    break
            if same:
                found = c
                break
        if found < 0:
            found = count
            hashes[count] = h
            first[count] = r
            count += 1
        if r:
            following[last] = found
        ids[r] = found
        last = found
    return count


@kernel
def diploid_calls(
    b: U8,
    sample_off: I64,
    line_end: I64,
    rows: I64,
    n_samples: int,
    n_alts: I32,
    first_row: I64,
    gt: npt.NDArray[np.int8],
    phased: U8,
    done: U8,
    counts: I64,
) -> None:
    """The records whose every sample is `d|d` or `d/d` (d a digit or `.`), no more: most of all bytes.

    rows: which records. gt[n, n_samples, 2], phased[n, n_samples] and counts[6, allele rows] (n_called, ac,
    an, n_het, n_hom, n_missing) are filled for those that are so; done[r] = 1 says so.
    """
    het = np.zeros(10, np.int64)
    hom = np.zeros(10, np.int64)
    for w in range(rows.size):
        r = rows[w]
        p = sample_off[r]
        if line_end[r] - p != 4 * n_samples - 1:
            continue
        het[:] = 0
        hom[:] = 0
        called = 0
        alleles = 0
        limit = min(n_alts[r], 9)
        good = True
        half = np.zeros(10, np.int64)
        for s in range(n_samples):
            x: Any = np.int64(b[p]) - 48
            y: Any = np.int64(b[p + 2]) - 48
            sep = b[p + 1]
            if sep != PIPE and sep != SLASH:
                good = False
                break
            if s + 1 < n_samples and b[p + 3] != TAB:
                good = False
                break
            if 0 <= x <= limit and 0 <= y <= limit:
                called += 1
                if x == y:
                    hom[x] += 1
                else:
                    het[x] += 1
                    het[y] += 1
            else:
                if x == DOT - 48:
                    x = MISSING
                elif x < 0 or x > limit:
                    good = False
                    break
                else:
                    half[x] += 1
                    alleles += 1
                if y == DOT - 48:
                    y = MISSING
                elif y < 0 or y > limit:
                    good = False
                    break
                else:
                    half[y] += 1
                    alleles += 1
            gt[r, s, 0] = x
            gt[r, s, 1] = y
            phased[r, s] = sep == PIPE
            p += 4
        if not good:
            continue
        done[r] = 1
        for a in range(max(n_alts[r], 1)):
            row = first_row[r] + a
            counts[0, row] = called
            counts[2, row] = 2 * called + alleles
            counts[5, row] = n_samples - called
            if n_alts[r] > 0 and a + 1 < 10:
                counts[1, row] = 2 * hom[a + 1] + het[a + 1] + half[a + 1]
                counts[3, row] = het[a + 1]
                counts[4, row] = hom[a + 1]


@kernel
def sample_columns(b: U8, sample_off: I64, line_end: I64, n_samples: int, wrong: U8) -> None:
    """wrong[n] = 1 where a record has another number of sample columns than n_samples."""
    for r in range(sample_off.size):
        tabs = 0
        for i in range(sample_off[r], line_end[r]):
            tabs += b[i] == TAB
        if sample_off[r] > line_end[r] or tabs + 1 != n_samples:
            wrong[r] = 1


@kernel
def sample_cells(
    b: U8,
    sample_off: I64,
    line_end: I64,
    rows: I64,
    ids: I32,
    slots: I32,
    n_keys: I32,
    n_samples: int,
    cell_row: I64,
    off: I32,
    length: I32,
    surplus: U8,
) -> None:
    """Where each sample's value of each wanted key lies.

    rows: records, each with the right number of sample columns. slots[format, place]: the key's slot, -1 for
    an unwanted one; n_keys[format]. cell_row[slot, n]: the cell of the record's first sample.
    off, length (prefilled -1): by cell. surplus[r] = 1 where a sample has more values than FORMAT has keys.
    """
    for w in range(rows.size):
        r = rows[w]
        f = ids[r]
        e = line_end[r]
        i = sample_off[r]
        for s in range(n_samples):
            k = 0
            start = i
            while True:
                ch = np.uint8(TAB) if i >= e else b[i]
                if ch == COLON or ch == TAB:
                    if k < n_keys[f]:
                        slot = slots[f, k]
                        if slot >= 0:
                            c = cell_row[slot, r] + s
                            off[c] = start
                            length[c] = i - start
                    else:
                        surplus[r] = 1
                    k += 1
                    start = i + 1
                    if ch == TAB:
                        break
                i += 1
            i += 1


@kernel
def widest_call(b: U8, off: I32, length: I32) -> int:
    """The most alleles that one of the GT texts can hold, a leading phase prefix not counted."""
    widest = 1
    for c in range(off.size):
        n = 1
        for i in range(off[c] + 1, off[c] + length[c]):
            n += b[i] == SLASH or b[i] == PIPE
        if n > widest:
            widest = n
    return widest


@kernel
def gt_of_cells(
    b: U8,
    off: I32,
    length: I32,
    rows: I64,
    n_samples: int,
    prefix_allowed: bool,
    n_alts: I32,
    first_row: I64,
    gt: I16,
    phased: U8,
    status: U8,
    counts: I64,
) -> int:
    """GT texts of any ploidy → gt[m, n_samples, width] Int16, phased[m, n_samples], counts as diploid_calls'.

    rows[m]: the records, whose cells follow each other. A text that is no GT or is wider than gt becomes one
    missing allele, an allele number above n_alts a missing allele; status[m, n_samples] says so (BAD,
    OUT_OF_RANGE), and UNEVEN where one Boolean cannot hold the separators. phased: every separator is `|`,
    and there is one.
    Returns the largest allele number stored.
    """
    width = gt.shape[2]
    largest = 0
    for m in range(rows.size):
        r = rows[m]
        n_alt = n_alts[r]
        row = first_row[r]
        called = 0
        total = 0
        for s in range(n_samples):
            c = m * n_samples + s
            i = off[c]
            e = i + length[c]
            pipes = 0
            slashes = 0
            k = 0
            flag = 0
            missing = False
            if length[c] <= 0:
                flag = 0 if length[c] < 0 else BAD
                e = i
            elif b[i] == PIPE or b[i] == SLASH:
                if prefix_allowed:
                    if b[i] == PIPE:
                        pipes += 1
                    else:
                        slashes += 1
                    flag = UNEVEN
                    i += 1
                else:
                    flag = BAD
            while i < e and flag != BAD:
                a: Any = 0
                if b[i] == DOT:
                    a = MISSING
                    i += 1
                else:
                    start = i
                    while i < e and 48 <= b[i] <= 57 and i - start < 9:
                        a = a * 10 + (np.int64(b[i]) - 48)
                        i += 1
                    if i == start:
                        flag = BAD
                        break
                if k >= width or (i < e and b[i] != PIPE and b[i] != SLASH):
                    flag = BAD
                    break
                if a > n_alt:
                    flag |= OUT_OF_RANGE
                    a = MISSING
                if a == MISSING:
                    missing = True
                gt[m, s, k] = a
                k += 1
                if i < e:
                    if b[i] == PIPE:
                        pipes += 1
                    else:
                        slashes += 1
                    i += 1
                    if i == e:
                        flag = BAD
            if flag == BAD or k == 0:
                k = 1
                gt[m, s, 0] = MISSING
                missing = True
                pipes = 0
                slashes = 0
            if pipes and slashes:
                flag |= UNEVEN
            status[m, s] = flag
            phased[m, s] = pipes > 0 and slashes == 0
            for j in range(k, width):
                gt[m, s, j] = NO_ALLELE
            if not missing:
                called += 1
            for j in range(k):
                a = np.int64(gt[m, s, j])
                if a < 0:
                    continue
                total += 1
                if a > largest:
                    largest = a
                if a == 0:
                    continue
                counts[1, row + a - 1] += 1
                if missing:
                    continue
                seen_before = False
                alike = 0
                for q in range(k):
                    if gt[m, s, q] == a:
                        alike += 1
                        if q < j:
                            seen_before = True
                if not seen_before:
                    if alike == k:
                        counts[4, row + a - 1] += 1
                    else:
                        counts[3, row + a - 1] += 1
        for a in range(max(n_alt, 1)):
            counts[0, row + a] = called
            counts[2, row + a] = total
            counts[5, row + a] = n_samples - called
    return largest
