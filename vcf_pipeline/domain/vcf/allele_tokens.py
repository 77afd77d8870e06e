"""Compiled kernels over REF and ALT: kind of each allele, shared bases, text of variant keys. Dtypes as in
tokens.py.

Not here: what follows from a kind (alleles.py).
"""

from __future__ import annotations

import numpy as np

from vcf_pipeline.domain.kernel import kernel
from vcf_pipeline.domain.vcf.tokens import Array

SEQUENCE, STAR, NONREF, BREAKEND, SYMBOLIC, NO_ALT, NOT_AN_ALLELE = range(7)
SNV, MNV, INS, DEL, INDEL, SV, BND, STAR_TYPE, NONREF_TYPE, REF_TYPE = range(10)


@kernel
def explode(count: Array, record: Array, alt_index: Array) -> None:
    """A row per item of each record's ALT list (count >= 1): record (int64), alt_index (int16, from 1)."""
    k = 0
    for r in range(count.size):
        for a in range(count[r]):
            record[k] = r
            alt_index[k] = a + 1
            k += 1


@kernel
def classify_alts(b: Array, off: Array, length: Array, bases: Array, kind: Array) -> None:
    """Kind (uint8) of each ALT allele by its text. bases: uint8[256], non-zero where a letter may stand for a
    base.
    """
    for r in range(off.size):
        size = length[r]
        s = off[r]
        if size <= 0:
            kind[r] = NOT_AN_ALLELE if size == 0 else NO_ALT
            continue
        first = b[s]
        last = b[s + size - 1]
        if size == 1 and first == 46:
            kind[r] = NO_ALT
            continue
        if size == 1 and first == 42:
            kind[r] = STAR
            continue
        if first == 60 and last == 62 and size > 2:
            inner = True
            for i in range(s + 1, s + size - 1):
                if b[i] == 60 or b[i] == 62 or b[i] <= 32:
                    inner = False
            if not inner:
                kind[r] = NOT_AN_ALLELE
            elif size == 3 and (b[s + 1] == 42 or b[s + 1] == 88):
                kind[r] = NONREF
            elif (
                size == 9
                and b[s + 1] == 78
                and b[s + 2] == 79
                and b[s + 3] == 78
                and b[s + 4] == 95
                and b[s + 5] == 82
                and b[s + 6] == 69
                and b[s + 7] == 70
            ):
                kind[r] = NONREF
            else:
                kind[r] = SYMBOLIC
            continue
        opening = 0
        closing = 0
        other = 0
        for i in range(s, s + size):
            c = b[i]
            if c == 91:
                opening += 1
            elif c == 93:
                closing += 1
            elif bases[c] == 0:
                other += 1
        if opening + closing > 0:
            # t[p[  t]p]  ]p]t  [p[t : two brackets of one kind round a mate
            kind[r] = BREAKEND if (opening == 2 and closing == 0) or (opening == 0 and closing == 2) else NOT_AN_ALLELE
        elif other == 0:
            kind[r] = SEQUENCE
        elif other == 1 and size > 1 and (first == 46 or last == 46):
            kind[r] = BREAKEND
        else:
            kind[r] = NOT_AN_ALLELE


@kernel
def _upper(c: int) -> int:
    return c - 32 if 97 <= c <= 122 else c


@kernel
def trim_alleles(
    b: Array,
    ref_off: Array,
    ref_len: Array,
    alt_off: Array,
    alt_len: Array,
    kind: Array,
    skipped: Array,
    trimmed_ref: Array,
    trimmed_alt: Array,
    variant_type: Array,
) -> None:
    """Bases that REF and ALT share, dropped from the right, then from the left; each allele keeps a base.

    skipped: int32, bases dropped on the left; trimmed_ref, trimmed_alt: int32 lengths; variant_type: uint8.
    Rule: Tan, Abecasis and Kang 2015, without left alignment. Letters are compared without regard to case.
    """
    for r in range(ref_off.size):
        k = kind[r]
        n = ref_len[r]
        m = alt_len[r]
        p = ref_off[r]
        q = alt_off[r]
        left = 0
        if k == SEQUENCE:
            while n > 1 and m > 1 and _upper(b[p + n - 1]) == _upper(b[q + m - 1]):
                n -= 1
                m -= 1
            while n - left > 1 and m - left > 1 and _upper(b[p + left]) == _upper(b[q + left]):
                left += 1
            n -= left
            m -= left
            same_first = _upper(b[p + left]) == _upper(b[q + left])
            if n == m:
                if n == 1:
                    variant_type[r] = REF_TYPE if same_first else SNV
                else:
                    variant_type[r] = MNV
            elif n == 1 and same_first:
                variant_type[r] = INS
            elif m == 1 and same_first:
                variant_type[r] = DEL
            else:
                variant_type[r] = INDEL
        elif k == STAR:
            variant_type[r] = STAR_TYPE
        elif k == NONREF:
            variant_type[r] = NONREF_TYPE
        elif k == BREAKEND:
            variant_type[r] = BND
        elif k == SYMBOLIC:
            variant_type[r] = SV
        else:
            variant_type[r] = REF_TYPE
        skipped[r] = left
        trimmed_ref[r] = n
        trimmed_alt[r] = m


@kernel
def write_keys(
    b: Array,
    contig_off: Array,
    contig_len: Array,
    pos: Array,
    ref_off: Array,
    trimmed_ref: Array,
    alt_off: Array,
    trimmed_alt: Array,
    skipped: Array,
    plain: Array,
    old_chrm: bool,
    out: Array,
    key_off: Array,
    key_len: Array,
) -> int:
    """contig-pos-REF-ALT of the rows where `plain`, one after the other → out; key_len -1 elsewhere. Returns
    bytes used.

    The contig loses `chr`; MT becomes M; old_chrm: chrM is UCSC hg19's 16,571 bases, which is not rCRS, so
    M16571.
    """
    w = 0
    digits = np.empty(20, np.uint8)
    for r in range(contig_off.size):
        key_off[r] = w
        if not plain[r]:
            key_len[r] = -1
            continue
        s = contig_off[r]
        size = contig_len[r]
        has_chr = False
        if size > 3 and _upper(b[s]) == 67 and _upper(b[s + 1]) == 72 and _upper(b[s + 2]) == 82:
            s += 3
            size -= 3
            has_chr = True
        if size == 2 and b[s] == 77 and b[s + 1] == 84:
            size = 1
        for i in range(size):
            out[w] = b[s + i]
            w += 1
        if old_chrm and has_chr and size == 1 and b[s] == 77:
            out[w] = 49
            out[w + 1] = 54
            out[w + 2] = 53
            out[w + 3] = 55
            out[w + 4] = 49
            w += 5
        out[w] = 45
        w += 1
        v = pos[r] + skipped[r]
        n = 0
        while v > 0 or n == 0:
            digits[n] = 48 + v % 10
            v //= 10
            n += 1
        while n > 0:
            n -= 1
            out[w] = digits[n]
            w += 1
        out[w] = 45
        w += 1
        for i in range(trimmed_ref[r]):
            out[w] = _upper(b[ref_off[r] + skipped[r] + i])
            w += 1
        out[w] = 45
        w += 1
        for i in range(trimmed_alt[r]):
            out[w] = _upper(b[alt_off[r] + skipped[r] + i])
            w += 1
        key_len[r] = w - key_off[r]
    return w
