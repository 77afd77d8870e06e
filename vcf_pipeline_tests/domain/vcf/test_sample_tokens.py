"""The kernels over FORMAT and samples, where genotypes.py cannot show what they do."""

from __future__ import annotations

import numpy as np
import pytest

from vcf_pipeline.domain.vcf import sample_tokens


def _texts(*texts: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The block, and offset and length of each text in it."""
    raw = [text.encode() for text in texts]
    length = np.array([len(text) for text in raw], np.int32)
    off = np.concatenate([[0], np.cumsum(length + 1)])[:-1].astype(np.int64)
    return np.frombuffer(b"\t".join(raw), np.uint8), off, length


def test_equal_format_texts_share_a_number_in_whatever_order_they_come() -> None:
    texts = ["GT:DP", "GT:AD", "GT", "GT:DP", "GT:AD", "GT", "GT", "GT:AD", "GT:DP:AD", "GT:DP"]
    block, off, length = _texts(*texts)
    ids, first = np.empty(len(texts), np.int32), np.empty(len(texts), np.int64)
    count = sample_tokens.format_ids(block, off, length, ids, first)
    assert count == len(set(texts))
    assert [texts[first[i]] for i in ids] == texts


@pytest.mark.parametrize(("text", "columns"), [("0/1", 1), ("0/1\t.", 2), ("\t", 2), ("", 1)])
def test_sample_columns_are_counted_by_their_tabs(text: str, columns: int) -> None:
    block = np.frombuffer((text or ".").encode(), np.uint8)
    wrong = np.zeros(1, np.uint8)
    sample_tokens.sample_columns(block, np.array([0]), np.array([len(text)]), columns, wrong)
    assert wrong[0] == 0
    sample_tokens.sample_columns(block, np.array([0]), np.array([len(text)]), columns + 1, wrong)
    assert wrong[0] == 1


@pytest.mark.parametrize(("text", "widest"), [("0", 1), ("0/1", 2), ("|0|1", 2), ("0/1/2", 3), (".", 1)])
def test_a_leading_phase_prefix_is_no_allele(text: str, widest: int) -> None:
    block, off, length = _texts(text)
    assert sample_tokens.widest_call(block, off.astype(np.int32), length) == widest


@pytest.mark.parametrize("samples", ["0|1\t1|1", "0/1\t./.", "1|.\t0|0"])
def test_the_quick_way_and_the_general_one_agree(samples: str) -> None:
    block = np.frombuffer(samples.encode(), np.uint8)
    quick, phased = np.empty((1, 2, 2), np.int8), np.empty((1, 2), np.uint8)
    done, counts = np.zeros(1, np.uint8), np.zeros((6, 1), np.int64)
    start, end, n_alts, row = np.array([0]), np.array([7]), np.array([1], np.int32), np.array([0])
    sample_tokens.diploid_calls(block, start, end, np.array([0]), 2, n_alts, row, quick, phased, done, counts)
    assert done[0] == 1
    general, slow_phased = np.empty((1, 2, 2), np.int16), np.empty((1, 2), np.uint8)
    status, slow_counts = np.zeros((1, 2), np.uint8), np.zeros((6, 1), np.int64)
    off, length = np.array([0, 4], np.int32), np.array([3, 3], np.int32)
    rows = np.array([0])
    sample_tokens.gt_of_cells(
        block, off, length, rows, 2, False, n_alts, row, general, slow_phased, status, slow_counts
    )
    assert quick.tolist() == general.tolist()
    assert phased.tolist() == slow_phased.tolist()
    assert counts.tolist() == slow_counts.tolist()


@pytest.mark.parametrize("samples", ["0|1\t1|12", "0|1 1|1", "0|3\t1|1", "0|1:1|1", "0|1\ta|1"])
def test_the_quick_way_leaves_what_is_not_plain(samples: str) -> None:
    block = np.frombuffer(samples.encode(), np.uint8)
    quick, phased = np.empty((1, 2, 2), np.int8), np.empty((1, 2), np.uint8)
    done, counts = np.zeros(1, np.uint8), np.zeros((6, 1), np.int64)
    n_alts = np.array([1], np.int32)
    row = np.array([0])
    end = np.array([len(samples)])
    sample_tokens.diploid_calls(block, row, end, row, 2, n_alts, row, quick, phased, done, counts)
    assert done[0] == 0
    assert not counts.any()
