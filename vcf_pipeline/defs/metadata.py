"""A report → what the UI shows: counts, rates, rejects by code, tiers, a preview, a plot, paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from vcf_pipeline.domain.projections.graph_rows import EDGES, GRAPH_MEANINGS, NODES, TABLE_MEANINGS
from vcf_pipeline.domain.tables.schemas import COLUMN_MEANINGS

# The UI hides Markdown of a thousand characters behind a link: plot and preview of a usual file stay below that.
PREVIEW_ROWS = 5
PREVIEW_COLUMNS = ("contig", "pos", "ref", "alt", "variant_type", "gene", "consequence", "impact", "tier", "reasons")
_BAR_WIDTH = 20
_BARS_SHOWN = 25
_CELL_WIDTH = 24


def column_schema(*tables: Mapping[str, pl.DataType | type[pl.DataType]]) -> dg.TableSchema:
    """The columns that every callset's table has, for the asset catalogue."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, str(dtype), description=COLUMN_MEANINGS.get(name))
            for table in tables
            for name, dtype in table.items()
        ]
    )


def graph_schema() -> dg.TableSchema:
    """The graph's node and edge tables, each with its columns as TABLE.column, for the asset catalogue."""
    columns = []
    for node, properties in NODES.items():
        columns += [
            dg.TableColumn(node, "node table", description=TABLE_MEANINGS[node]),
            *_columns_of(node, properties),
        ]
    for edge, (start, end, properties) in EDGES.items():
        columns += [
            dg.TableColumn(edge, f"edge table, {start} to {end}", description=TABLE_MEANINGS[edge]),
            *_columns_of(edge, properties),
        ]
    return dg.TableSchema(columns=columns)


def _columns_of(table: str, properties: Mapping[str, pl.DataType | type[pl.DataType]]) -> list[dg.TableColumn]:
    return [
        dg.TableColumn(f"{table}.{name}", str(dtype), description=GRAPH_MEANINGS.get(name, COLUMN_MEANINGS.get(name)))
        for name, dtype in properties.items()
    ]


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
    shown = [(_printable(contig), count) for contig, count in list(per_contig.items())[:_BARS_SHOWN]]
    width = max(len(contig) for contig, _ in shown)
    rows = [f"{contig:>{width}} │{'█' * max(1, round(count / most * _BAR_WIDTH))} {count:,}" for contig, count in shown]
    if len(per_contig) > len(shown):
        rows.append(f"… and {len(per_contig) - len(shown)} more contigs")
    return dg.MetadataValue.md("```text\n" + "\n".join(rows) + "\n```")


def preview(
    frame: pl.DataFrame, columns: Sequence[str] = PREVIEW_COLUMNS, width: int = _CELL_WIDTH
) -> dg.MetadataValue[Any]:
    """The first rows as a Markdown table. For the development profile only: the UI has no login.

    columns: those that are shown where they say something. width: of a cell, in characters.
    """
    head = frame.head(PREVIEW_ROWS)
    if head.is_empty():
        return dg.MetadataValue.md("No rows.")
    # Columns that say nothing of these rows would push those that do out of sight.
    shown = head.select(name for name in columns if name in head.columns and head[name].null_count() < head.height)
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * shown.width]
    lines += ["| " + " | ".join(_cell(value, width) for value in row) + " |" for row in shown.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any, width: int) -> str:
    """A code span: VCF text is hostile, and in a span nothing is Markdown, HTML or a link to the operators' browser."""
    if value is None:
        return ""
    text = _printable(", ".join(map(str, value)) if isinstance(value, list) else str(value), width)
    # The two characters that mean something in a span of a table.
    text = text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}").replace("|", "\N{BROKEN BAR}").strip()
    return f"`{text}`" if text else ""


def _printable(text: str, width: int = _CELL_WIDTH) -> str:
    """Cut to what a cell shows; whatever could move the text around is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:width])


def summed(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One callset's metadata as it is. Of a range: the numbers added, rates from the sums, and whose they are."""
    if len(reports) == 1:
        return dict(reports[0])
    total: dict[str, Any] = {}
    for report in reports:
        for name, value in report.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                total[name] = total.get(name, 0) + value
    if "variants_per_second" in total:
        total["variants_per_second"] = round(total["dagster/row_count"] / total["seconds"]) if total["seconds"] else 0
    total["callsets"] = len(reports)
    if labels := [str(report["label"]) for report in reports if "label" in report]:
        total["labels"] = ", ".join(labels)
    return total
