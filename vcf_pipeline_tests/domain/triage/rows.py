"""One allele row of `variants` with what a test says of it; all else as a PASS call of good quality has it.

Not for tests of the reader: columns here have the dtypes of tables/schemas.py and come from no file.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from vcf_pipeline.domain.tables.schemas import ROW_ID, VARIANTS_HEAD, VARIANTS_TAIL

TWO_STARS = ["criteria_provided", "_multiple_submitters", "_no_conflicts"]
ONE_STAR = ["criteria_provided", "_single_submitter"]

_CALLED = {"n_called": 3, "an": 6, "ac": 1, "af": 1 / 6, "n_het": 1, "n_hom": 0, "n_missing": 0}
_PLAIN: dict[str, Any] = {
    "row_id": b"0123456789abcdef",
    **{
        "record_no": 0,
        "contig": "17",
        "pos": 43093464,
        "end": 43093464,
        "ref": "C",
        "alt": "T",
        "alt_index": 1,
    },
    **{"qual": 100.0, "filter": ["PASS"], "variant_type": "snv", "variant_key": "17-43093464-C-T"},
    **_CALLED,
}


def allele(**columns: Any) -> pl.DataFrame:
    """A frame of one row. A column of VARIANTS_* or ROW_ID gets its dtype, `info_*` the one Polars infers."""
    declared = {**ROW_ID, **VARIANTS_HEAD, **VARIANTS_TAIL}
    values = {**_PLAIN, **columns}
    frame = pl.DataFrame({name: pl.Series([value]) for name, value in values.items() if name not in declared})
    known = [pl.Series(name, [values.get(name)], dtype=dtype) for name, dtype in declared.items()]
    return pl.DataFrame([*known, *frame.get_columns()])


def clinvar(significance: str, review: list[str], **columns: Any) -> pl.DataFrame:
    return allele(info_CLNSIG=[significance], info_CLNREVSTAT=review, **columns)
