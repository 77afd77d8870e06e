"""A file's tables beside what `bcftools query` prints of it, column by column.

    compare(vcf, bcftools) -> Comparison              empty `differences` means equal
    compare_tables(vcf, bcftools, …) -> Comparison    of tables that were written and read again

Reals are compared at float32 with bcftools' six digits, escapes are decoded on bcftools' side (it leaves
them), REF by upper case. A value that we made null because it is defective is compared by the raw text that
we kept beside it. Not here: which files bcftools itself alters (the tests list them).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.oracles.bcftools import Bcftools

RELATIVE_TOLERANCE = 1e-5
_SHOWN = 3
_CORE = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER")


@dataclass
class Comparison:
    """differences: a line per column. raw: how many values were compared by their raw text, by column."""

    records: int = 0
    rejected: int = 0
    columns: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    raw: dict[str, int] = field(default_factory=dict)

    def differ(self, column: str, hits: list[str]) -> None:
        if hits:
            self.differences.append(f"{column}: {len(hits)} differ: " + "; ".join(hits[:_SHOWN]))


def compare(vcf: Path, bcftools: Bcftools, settings: ReaderSettings | None = None) -> Comparison:
    """Core columns, every INFO column and GT of every record that was kept."""
    settings = settings or ReaderSettings(max_reject_share=1)
    with open_reader(str(vcf), settings) as reader:
        header = reader.header
        batches = list(reader.batches())
    variants = [batch.variants for batch in batches]
    return compare_tables(
        *(vcf, bcftools, header),
        pl.concat(variants, how="diagonal_relaxed") if variants else pl.DataFrame(),
        [batch.genotypes for batch in batches if batch.genotypes is not None],
        records=sum(batch.n_records for batch in batches),
        rejected=sum(batch.rejects.height for batch in batches),
    )


def compare_tables(
    vcf: Path,
    bcftools: Bcftools,
    header: Header,
    variants: pl.DataFrame,
    genotypes: Iterable[pl.DataFrame],
    *,
    records: int,
    rejected: int,
) -> Comparison:
    """variants, genotypes: the tables of the file, the second one in frames; no record is rejected."""
    result = Comparison(records=records, rejected=rejected)
    if variants.is_empty():
        printed = bcftools.query(vcf, "%POS")
        result.differ("records", [f"none for {printed[:80]!r}"] if printed else [])
        return result
    theirs = _printed(vcf, bcftools, header, variants)
    if theirs.height != result.records:
        result.differences.append(f"records: {result.records}, bcftools {theirs.height}")
        return result
    rows = variants.select("record_no", "alt_index", "info_raw").join(
        theirs.with_row_index("record_no").cast({"record_no": pl.Int64}),
        on="record_no",
        how="left",
        maintain_order="left",
    )
    _compare_core(variants, rows, result)
    for column in variants.columns:
        if column.startswith("info_") and column != "info_raw":
            key = column.removeprefix("info_raw_" if column == "info_raw_raw" else "info_")
            _compare_info(key, variants[column], rows, header, result)
    if header.samples:
        _compare_calls(vcf, bcftools, genotypes, len(header.samples), result)
    return result


def _printed(vcf: Path, bcftools: Bcftools, header: Header, variants: pl.DataFrame) -> pl.DataFrame:
    """bcftools' columns as text, a row per record; keys it cannot be asked for are cut out of its INFO."""
    keys = [name.removeprefix("info_") for name in variants.columns if name.startswith("info_")]
    # its format language knows no other letters in a key
    declared = [key for key in keys if key in header.info and re.fullmatch(r"[\w.]+", key)]
    undeclared = [key for key in keys if key not in declared and key != "raw"]
    asked = [f"%{name}" for name in _CORE] + [f"%INFO/{key}" for key in declared]
    if undeclared:
        asked.append("%INFO")
    names = [*_CORE, *(f"INFO/{key}" for key in declared), *(["INFO"] if undeclared else [])]
    text = bcftools.query(vcf, "\\t".join(asked)).decode("utf-8", "backslashreplace")
    lines = pl.DataFrame({"line": text.split("\n")[:-1]}, schema={"line": pl.String})
    parts = lines.select(pl.col("line").str.split("\t").alias("parts"))
    frame = parts.select(pl.col("parts").list.get(place).alias(name) for place, name in enumerate(names))
    for key in undeclared:
        value = pl.col("INFO").str.extract(rf"(?:^|;){re.escape(key)}(?:=([^;]*))?(?:;|$)")
        there = pl.col("INFO").str.contains(rf"(?:^|;){re.escape(key)}(?:[=;]|$)")
        frame = frame.with_columns(
            pl.when(there).then(value.fill_null("1")).otherwise(pl.lit(".")).alias(f"INFO/{key}")
        )
    return frame


def _compare_core(variants: pl.DataFrame, rows: pl.DataFrame, result: Comparison) -> None:
    alts = pl.col("ALT").str.split(",")
    alt = alts.list.get((pl.col("alt_index").cast(pl.Int64) - 1).clip(0), null_on_oob=True)
    no_dot = {name: pl.when(pl.col(name) != ".").then(name) for name in ("ID", "FILTER", "QUAL")}
    theirs = rows.select(
        contig="CHROM",
        pos=pl.col("POS").cast(pl.Int64),
        id=no_dot["ID"].str.split(";").list.join(";"),
        ref=pl.col("REF").str.to_uppercase(),
        alt=pl.when(pl.col("ALT") != ".").then(alt),
        filter=no_dot["FILTER"],
        qual=no_dot["QUAL"],
    )
    ours = variants.select("contig", "pos", pl.col("id").list.join(";"), "ref", "alt", pl.col("filter").list.join(";"))
    for name in ours.columns:
        result.columns.append(name)
        hits = (~ours[name].eq_missing(theirs[name])).arg_true().to_list()
        result.differ(name, [f"{ours[name][i]!r} for {theirs[name][i]!r}" for i in hits])
    result.columns.append("qual")
    hits = np.flatnonzero(~_same_reals(variants["qual"], theirs["qual"])).tolist()
    result.differ("qual", [f"{variants['qual'][i]!r} for {theirs['qual'][i]!r}" for i in hits])


def _same_reals(ours: pl.Series, theirs: pl.Series) -> np.ndarray:
    mine = ours.cast(pl.Float64).to_numpy()
    text = theirs.replace({".": None}).cast(pl.Float64, strict=False).to_numpy()
    close = np.isclose(mine, text, rtol=RELATIVE_TOLERANCE, atol=1e-37) | ((mine == text) & np.isinf(mine))
    none = ours.is_null().to_numpy() & (theirs.is_null() | (theirs == ".")).to_numpy()
    both_nan = ours.is_nan().fill_null(False).to_numpy() if ours.dtype.is_float() else np.zeros(len(ours), bool)
    return np.asarray(close | none | (both_nan & np.isnan(text)), bool)


def _compare_info(key: str, ours: pl.Series, rows: pl.DataFrame, header: Header, result: Comparison) -> None:
    result.columns.append(ours.name)
    printed = rows[f"INFO/{key}"]
    if ours.dtype == pl.Boolean:
        same = (ours.fill_null(False) == (printed != ".")).to_numpy()
    elif isinstance(ours.dtype, pl.List):
        same = _same_lists(ours, _expected_lists(key, printed, rows, header))
    else:
        declared = header.info.get(key)
        text = printed
        if declared and declared.number == "A":
            place = (rows["alt_index"].cast(pl.Int64) - 1).clip(0)
            frame = pl.DataFrame({"list": printed.str.split(","), "place": place})
            text = frame.select(pl.col("list").list.get(pl.col("place"), null_on_oob=True)).to_series()
        same = _same_values(ours, text)
    wrong = np.flatnonzero(~same).tolist()
    hits = []
    for i in wrong:
        kept = _raw_value(key, rows["info_raw"][i])
        if kept is not None and _same_text(kept, printed[i]):
            result.raw[ours.name] = result.raw.get(ours.name, 0) + 1
        else:
            hits.append(f"{_shown(ours[i])} for {_shown(printed[i])} in record {rows['record_no'][i]}")
    result.differ(ours.name, hits)


def _shown(value: object) -> str:
    if isinstance(value, pl.Series):
        value = value.to_list()
    return repr(value)[:80]


def _same_values(ours: pl.Series, text: pl.Series) -> np.ndarray:
    if ours.dtype.is_numeric():
        return _same_reals(ours, text.fill_null("."))
    return (ours.eq_missing(_plain(text))).to_numpy()


def _plain(text: pl.Series) -> pl.Series:
    """Escapes decoded, `.` and the empty text null."""
    if text.str.contains("%", literal=True).any():
        text = text.map_elements(unquote, return_dtype=pl.String)
    return text.replace({".": None, "": None})


def _expected_lists(key: str, printed: pl.Series, rows: pl.DataFrame, header: Header) -> pl.Series:
    """bcftools' text as a list of texts; of a Number=R key REF's value and the allele's own."""
    lists = pl.select(pl.when(printed != ".").then(printed.str.split(","))).to_series()
    declared = header.info.get(key)
    if not declared or declared.number != "R":
        return lists
    frame = pl.DataFrame({"list": lists, "place": rows["alt_index"].cast(pl.Int64)})
    first, own = (
        pl.col("list").list.get(0, null_on_oob=True),
        pl.col("list").list.get(pl.col("place"), null_on_oob=True),
    )
    pair = pl.when(pl.col("place") > 0).then(pl.concat_list(first, own)).otherwise(pl.concat_list(first))
    return frame.select(pl.when(pl.col("list").is_not_null()).then(pair)).to_series()


def _same_lists(ours: pl.Series, theirs: pl.Series) -> np.ndarray:
    same = (ours.list.len().fill_null(0) == theirs.list.len().fill_null(0)).to_numpy().copy()
    where = np.flatnonzero(same & (ours.list.len().fill_null(0) > 0).to_numpy())
    sizes = ours.gather(where).list.len().to_numpy()
    equal = _same_values(ours.gather(where).explode(), theirs.gather(where).explode())
    owner = np.repeat(where, sizes)
    same[owner[~equal]] = False
    return same


def _raw_value(key: str, raw: str | None) -> str | None:
    """The key's value in the raw INFO text; "1" of one that stands without."""
    if raw is None:
        return None
    values = [entry.partition("=") for entry in raw.split(";")]
    found = [value if equals else "1" for name, equals, value in values if name == key]
    return found[0] if found else "."


def _same_text(raw: str, printed: str) -> bool:
    if raw == printed:
        return True
    mine, theirs = raw.split(","), printed.split(",")
    if len(mine) != len(theirs):
        return False
    for a, b in zip(mine, theirs, strict=True):
        try:
            if a != b and not np.isclose(float(a), float(b), rtol=RELATIVE_TOLERANCE):
                return False
        except ValueError:
            return False
    return True


def _compare_calls(
    vcf: Path, bcftools: Bcftools, genotypes: Iterable[pl.DataFrame], n_samples: int, result: Comparison
) -> None:
    """GT of every sample, rebuilt as text from gt and phased."""
    frames = [frame for frame in genotypes if frame.height]
    if not any("gt" in frame.columns for frame in frames):
        return
    result.columns.append("gt")
    printed = bcftools.query(vcf, "[%GT\\t]").split(b"\n")
    hits = []
    for frame in frames:
        for record_no, text, raw in zip(
            frame["record_no"], _calls_as_text(frame, n_samples), frame["format_raw"], strict=True
        ):
            theirs = printed[record_no].rstrip(b"\t")
            if text == theirs or (text is None and set(theirs.split(b"\t")) <= {b"."}):
                continue
            if raw is not None and _raw_calls(raw) == theirs:
                result.raw["gt"] = result.raw.get("gt", 0) + 1
                continue
            pairs = zip((text or b"").split(b"\t"), theirs.split(b"\t"), strict=False)
            first = next(((a, b) for a, b in pairs if a != b), (text, theirs))
            hits.append(f"{first[0]!r} for {first[1]!r} in record {record_no}")
    result.differ("gt", hits)


def _calls_as_text(genotypes: pl.DataFrame, n_samples: int) -> Iterator[bytes | None]:
    """The GT columns of each record, with tabs between; None where FORMAT has no GT."""
    width = genotypes["gt"].dtype.shape[0] // n_samples  # type: ignore[attr-defined]
    present = genotypes["gt"].is_not_null().to_numpy()
    gt = np.zeros((genotypes.height, n_samples, width), np.int16)
    phased = np.zeros((genotypes.height, n_samples), bool)
    gt[present] = genotypes["gt"].drop_nulls().to_numpy().reshape(-1, n_samples, width)
    phased[present] = genotypes["phased"].drop_nulls().to_numpy().reshape(-1, n_samples)
    plain = np.zeros(len(gt), bool)
    if width >= 2:
        plain = ((gt[:, :, :2] >= -1) & (gt[:, :, :2] < 10)).all(axis=(1, 2)) & (gt[:, :, 2:] == -2).all(axis=(1, 2))
    for record in range(len(gt)):
        if not present[record]:
            yield None
        elif plain[record]:
            letters = np.full((n_samples, 4), ord("\t"), np.uint8)
            letters[:, 0] = np.where(gt[record, :, 0] < 0, ord("."), gt[record, :, 0] + 48)
            letters[:, 1] = np.where(phased[record], ord("|"), ord("/"))
            letters[:, 2] = np.where(gt[record, :, 1] < 0, ord("."), gt[record, :, 1] + 48)
            yield letters.tobytes()[:-1]
        else:
            yield b"\t".join(
                (b"|" if phased[record, s] else b"/").join(
                    b"." if a == -1 else b"%d" % a for a in gt[record, s].tolist() if a != -2
                )
                for s in range(n_samples)
            )


def _raw_calls(raw: str) -> bytes:
    """GT of each sample in FORMAT and samples verbatim."""
    keys, *samples = raw.split("\t")
    place = keys.split(":").index("GT")
    return b"\t".join((sample.split(":") + ["."] * place)[place].encode() for sample in samples)
