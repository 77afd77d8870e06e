"""Escapes such as `%3A`, decoded after a text is split into its values.

Not here: when a text is split (info.py, consequences.py, format_values.py).
Rule: VCF 4.3 section 1.2 encodes eight characters; Funcotator and others encode more, so any printable ASCII one, tab,
CR and LF are decoded, in one pass: `%253A` becomes `%3A`.
"""

from __future__ import annotations

import polars as pl

_ESCAPES = {f"%{code:02X}": chr(code) for code in (9, 10, 13, *range(32, 127))}


def decoded(text: pl.Expr) -> pl.Expr:
    """text: String. Other texts pass unchanged."""
    return text.str.replace_many(_ESCAPES, ascii_case_insensitive=True)
