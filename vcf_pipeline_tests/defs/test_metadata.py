"""What the UI is shown: hostile text stays text, ranges are summed."""

from __future__ import annotations

import polars as pl
import pytest

from vcf_pipeline.defs.metadata import contig_plot, counts_table, preview, summed

HOSTILE = [
    "<script>alert(1)</script>",
    "[a](javascript:x)",
    "![i](http://x/y.png)",
    "`` ` ``",
    "a|b\nc",
    "https://x.example",
    "\u202eabc",
    "**b**",
    "\\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_file_says_is_one_code_span_in_one_cell(text: str):
    shown = preview(pl.DataFrame({"contig": [text], "pos": [1]})).value
    head, rule, row = shown.split("\n")
    assert (head, rule) == ("| contig | pos |", "| --- | --- |")
    cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
    assert len(cells) == 2
    assert row.count("|") == 3
    assert cells[0].startswith("`")
    assert cells[0].endswith("`")
    assert cells[0].count("`") == 2
    assert all(character.isprintable() for character in row)


def test_a_long_value_is_cut_and_a_missing_one_is_an_empty_cell():
    shown = preview(pl.DataFrame({"ref": ["A" * 5000, "C"], "alt": [None, "G"]}))
    assert shown.value.split("\n")[2:] == [f"| `{'A' * 24}` |  |", "| `C` | `G` |"]


def test_a_column_without_a_value_is_left_out():
    assert preview(pl.DataFrame({"ref": ["A"], "gene": [None]})).value.split("\n")[0] == "| ref |"


def test_plot_and_preview_of_a_usual_file_are_short_enough_to_be_shown_at_once():
    """Dagster's UI shows Markdown of a thousand characters and more as a link."""
    contigs = {f"chr{name}": 100_000 for name in [*range(1, 23), "X", "Y", "M"]}
    assert len(contig_plot(contigs).value) < 1000
    row = {"contig": "chr17", "pos": 43_093_464, "ref": "A" * 50, "alt": "T", "variant_type": "del", "gene": "BRCA1"}
    row |= {"consequence": "splice_donor_variant", "impact": "MODERATE", "tier": 3, "reasons": ["missense_rare"] * 2}
    assert len(preview(pl.DataFrame([row] * 8)).value) < 1000


def test_a_table_without_rows_says_so():
    assert preview(pl.DataFrame({"contig": []})).value == "No rows."
    assert contig_plot({}).value == "No variants."


def test_contigs_are_bars_of_their_share_and_a_contig_cannot_end_the_block():
    shown = contig_plot({"chr1": 10, "```": 5, "x\ny": 1} | {f"c{n}": 1 for n in range(40)}).value
    lines = shown.split("\n")
    assert lines[0] == "```text"
    assert lines[-1] == "```"
    assert sum(line.strip() == "```" for line in lines) == 1
    assert lines[1].count("█") == 20
    assert lines[2].count("█") == 10
    assert lines[-2] == "… and 18 more contigs"


def test_counts_are_a_table_of_what_and_how_many():
    (record,) = counts_table("code", {"BAD_POS": 3}).records
    assert record.data == {"code": "BAD_POS", "count": 3}


def test_one_callsets_metadata_stay_and_a_ranges_are_added():
    one = {"dagster/row_count": 10, "seconds": 2.0, "variants_per_second": 5, "reused": False, "label": "a"}
    other = {"dagster/row_count": 30, "seconds": 2.0, "variants_per_second": 15, "reused": True, "label": "b"}
    assert summed([one]) == one
    assert summed([one, other]) == {
        "dagster/row_count": 40,
        "seconds": 4.0,
        "variants_per_second": 10,
        "callsets": 2,
        "labels": "a, b",
    }
