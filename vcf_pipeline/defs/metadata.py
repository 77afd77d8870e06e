"""A report → what the UI shows: counts, rates, rejects by code, tiers, a preview, a plot, paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = ("contig", "pos", "ref", "alt", "variant_type", "gene", "consequence", "impact", "tier", "reasons")
_BAR_WIDTH = 40
_BARS_SHOWN = 30


def column_schema(*tables: Mapping[str, pl.DataType | type[pl.DataType]]) -> dg.TableSchema:
    """The columns that every callset's table has, for the asset catalogue."""
    return dg.TableSchema(
        columns=[dg.TableColumn(name, str(dtype)) for table in tables for name, dtype in table.items()]
    )


def counts_table(label: str, counts: Mapping[str, int]) -> dg.MetadataValue[Any]:
    """A two-column table: what, how many."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({label: name, "count": count}) for name, count in counts.items()],
        schema=dg.TableSchema(columns=[dg.TableColumn(label, "string"), dg.TableColumn("count", "int")]),
    )


def contig_plot(per_contig: Mapping[str, int]) -> dg.MetadataValue[Any]:
    """Variants per contig as a bar chart in text, which the UI shows as it is, in any theme."""
    if not per_contig:
        return dg.MetadataValue.md("No variants.")
    most = max(per_contig.values())
    shown = list(per_contig.items())[:_BARS_SHOWN]
    width = max(len(contig) for contig, _ in shown)
    rows = [
        f"{contig:>{width}} │{'█' * max(1, round(count / most * _BAR_WIDTH)):<{_BAR_WIDTH}}│ {count:,}"
        for contig, count in shown
    ]
    if len(per_contig) > len(shown):
        rows.append(f"… and {len(per_contig) - len(shown)} more contigs")
    return dg.MetadataValue.md("```text\n" + "\n".join(rows) + "\n```")


def preview(frame: pl.DataFrame) -> dg.MetadataValue[Any]:
    """The first rows as a Markdown table. For the development profile only: the UI has no login."""
    shown = frame.select([name for name in PREVIEW_COLUMNS if name in frame.columns]).head(PREVIEW_ROWS)
    if shown.is_empty():
        return dg.MetadataValue.md("No rows.")
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * shown.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in shown.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    # VCF text is hostile: nothing of it may become Markdown or HTML in the operators' browser.
    kept = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:40])
    for mark in "&<>|`[]()!*_\\":
        kept = kept.replace(mark, f"&#{ord(mark)};" if mark != "&" else "&amp;")
    return kept


def summed(reports: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata of a range run: whole numbers are added, anything else is the last callset's."""
    total: dict[str, Any] = {}
    for report in reports:
        for name, value in report.items():
            adds = isinstance(value, int) and not isinstance(value, bool) and name in total
            total[name] = total[name] + value if adds else value
    if len(reports) > 1:
        total["callsets"] = len(reports)
    return total
