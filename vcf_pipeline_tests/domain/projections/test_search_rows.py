"""Rows of the search store from variants and triage, however the two were cut."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import PermanentError
from vcf_pipeline.domain.projections.search_rows import (
    SEARCH_ROWS,
    TRIAGE_COLUMNS,
    VARIANT_COLUMNS,
    bare_contig,
    search_rows,
    side_by_side,
)
from vcf_pipeline.domain.query import bare_contig_name
from vcf_pipeline_tests.made_tables import cut, made_triaged, made_variants

VARIANTS = made_variants(30)
TRIAGED = made_triaged(VARIANTS)
CUTS = st.lists(st.integers(0, 12), max_size=5)


@given(CUTS, CUTS)
def test_the_cuts_of_the_two_tables_do_not_show(left: list[int], right: list[int]) -> None:
    pairs = list(side_by_side(cut(VARIANTS, *left), cut(TRIAGED, *right)))
    assert pl.concat([pair[0] for pair in pairs]).equals(VARIANTS)
    assert pl.concat([pair[1] for pair in pairs]).equals(TRIAGED)


def test_every_row_has_the_schema_and_its_own_tier() -> None:
    rows = pl.concat(
        search_rows(
            "0123456789abcdef",
            cut(VARIANTS.select(VARIANT_COLUMNS), 7),
            cut(TRIAGED.select(TRIAGE_COLUMNS), 11, 3),
        )
    )
    assert dict(rows.schema) == SEARCH_ROWS
    assert rows["tier"].equals(TRIAGED["tier"])
    assert rows["callset_id"].unique().to_list() == ["0123456789abcdef"]
    assert rows["contig_bare"].unique().to_list() == ["17"]
    assert rows["id"][1] == "rs1;rs2"
    assert rows["id"][0] is None


def test_a_column_that_a_callset_lacks_is_null() -> None:
    rows = pl.concat(search_rows("a" * 16, cut(VARIANTS.drop("hgvs_c", "ac")), cut(TRIAGED)))
    assert rows["hgvs_c"].null_count() == rows["ac"].null_count() == rows.height


@pytest.mark.parametrize("triaged", [TRIAGED.head(29), TRIAGED.slice(1), TRIAGED.reverse()])
def test_a_triage_of_other_rows_is_refused(triaged: pl.DataFrame) -> None:
    with pytest.raises(PermanentError) as caught:
        list(search_rows("a" * 16, cut(VARIANTS, 10), cut(triaged, 4)))
    assert caught.value.code == "TABLES_DISAGREE"


def test_an_empty_callset_has_no_rows() -> None:
    assert list(search_rows("a" * 16, cut(VARIANTS.head(0)), cut(TRIAGED.head(0)))) == []


@pytest.mark.parametrize(
    ("written", "bare"),
    [("chr17", "17"), ("17", "17"), ("Chr1", "1"), ("chrM", "M"), ("MT", "M"), ("chrUn_KI270302v1", "Un_KI270302v1")],
)
def test_a_contig_of_a_table_and_one_that_is_typed_become_the_same(written: str, bare: str) -> None:
    assert pl.select(bare_contig(pl.lit(written))).item() == bare
    assert bare_contig_name(written) == bare
