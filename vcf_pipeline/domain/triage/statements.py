"""One thing that may be said of an allele: by whom, of which version, and its value row by row.

Not here: who says what (heard_claims.py, heard_sources.py, evidence.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Statement:
    """key: as its source names it. source: INFO, annotation, file, or a registered source. value: String, null where
    nothing is said. version: of a registered source.
    """

    key: str
    source: str
    value: pl.Expr
    version: str | None = None
