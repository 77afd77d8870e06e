"""allele_tokens.py: the kinds of ALT texts, letter by letter."""

from __future__ import annotations

import numpy as np
import pytest

from vcf_pipeline.domain.vcf.allele_tokens import (
    BREAKEND,
    NO_ALT,
    NONREF,
    NOT_AN_ALLELE,
    SEQUENCE,
    STAR,
    SYMBOLIC,
    classify_alts,
    explode,
)

BASES = np.zeros(256, np.uint8)
BASES[list(b"ACGTNacgtn")] = 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ACGTN", SEQUENCE),
        ("acgt", SEQUENCE),
        ("*", STAR),
        ("<NON_REF>", NONREF),
        ("<*>", NONREF),
        ("<X>", NONREF),
        ("<NON_REX>", SYMBOLIC),
        ("<CNV:TR>", SYMBOLIC),
        ("A[1:5[", BREAKEND),
        ("]1:5]A", BREAKEND),
        (".A", BREAKEND),
        ("A.", BREAKEND),
        (".", NO_ALT),
        ("", NOT_AN_ALLELE),
        ("<>", NOT_AN_ALLELE),
        ("<A B>", NOT_AN_ALLELE),
        ("<A", NOT_AN_ALLELE),
        ("A*", NOT_AN_ALLELE),
        ("A[1:5]", NOT_AN_ALLELE),
        ("..", NOT_AN_ALLELE),
        ("1", NOT_AN_ALLELE),
    ],
)
def test_an_alt_text_has_one_kind(text: str, kind: int) -> None:
    raw = np.frombuffer(text.encode() or b"\0", np.uint8)
    out = np.empty(1, np.uint8)
    classify_alts(raw, np.zeros(1, np.int32), np.array([len(text)], np.int32), BASES, out)
    assert out[0] == kind


def test_every_item_of_a_record_becomes_a_row() -> None:
    record, alt_index = np.empty(4, np.int64), np.empty(4, np.int16)
    explode(np.array([1, 3], np.int32), record, alt_index)
    assert (record.tolist(), alt_index.tolist()) == ([0, 1, 1, 1], [1, 1, 2, 3])
