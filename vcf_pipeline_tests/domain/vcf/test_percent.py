"""Escapes after splitting."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.domain.vcf.percent import decoded


@pytest.mark.parametrize(
    ("written", "meant"),
    [("a%3Ab%3b", "a:b;"), ("%253A", "%3A"), ("100%", "100%"), ("%zz%2", "%zz%2"), ("%09%20", "\t "), ("", "")],
)
def test_an_escape_is_decoded_once_and_anything_else_stays(written: str, meant: str) -> None:
    frame = pl.DataFrame({"text": [written, None]})
    assert frame.select(decoded(pl.col("text"))).to_series().to_list() == [meant, None]
