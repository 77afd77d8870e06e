"""CSQ, vep, ANN, EFF and BCSQ → the consequences table, and the worst consequence of each allele.

    consequence_fields(header) -> list[ConsequenceField]
    parse_consequences(alleles, texts, fields) -> (CONSEQUENCES frame, frame by allele row)

The order of the subfields is the header's own Description, nothing else. An annotation that the header does not
declare, or whose Description names no subfields, is left as the INFO column it is.
Not here: severity and synonyms of terms (so_terms.py), other INFO (info.py), what a consequence means for a person
(triage). Rules: VEP's allele is ALT less the base that an indel's alleles share; SnpEff's is ALT itself; BCSQ names
none but in its dna_change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from vcf_pipeline.domain.tables.schemas import CONSEQUENCES
from vcf_pipeline.domain.vcf import so_terms
from vcf_pipeline.domain.vcf.header import Header
from vcf_pipeline.domain.vcf.percent import decoded

SOURCES = ("CSQ", "vep", "ANN", "BCSQ", "EFF")
"""The keys that are read, in the order that breaks ties between them."""

WORST: dict[str, pl.DataType | type[pl.DataType]] = {
    "consequence": pl.String,
    "impact": pl.String,
    "gene": pl.String,
    "transcript": pl.String,
    "hgvs_c": pl.String,
    "hgvs_p": pl.String,
    "consequence_af": pl.Float32,
    "consequence_clin_sig": pl.List(pl.String),
}
_ROLES: dict[str, tuple[str, ...]] = {
    "allele": ("allele",),
    "allele_num": ("allele_num", "genotype_number", "genotype"),
    "terms": ("consequence", "annotation", "effect"),
    "impact": ("impact", "annotation_impact", "effect_impact"),
    "gene": ("symbol", "gene_name"),
    "gene_id": ("gene", "gene_id"),
    "transcript": ("feature", "feature_id", "transcript", "transcript_id"),
    "feature_type": ("feature_type",),
    "biotype": ("biotype", "transcript_biotype", "gene_biotype"),
    "hgvs_c": ("hgvsc", "hgvs_c"),
    "hgvs_p": ("hgvsp", "hgvs_p"),
    "mane": ("mane_select", "mane"),
    "canonical": ("canonical",),
    "pick": ("pick",),
    "clin_sig": ("clin_sig",),
}
_BCSQ_ROLES = {**_ROLES, "gene": ("gene",), "gene_id": (), "dna_change": ("dna_change",)}
_EFF_ROLES = {**_ROLES, "amino_acid_change": ("amino_acid_change",)}
_NO_TRANSCRIPT = ("regulatoryfeature", "motiffeature", "intergenic_region", "regulatory")
_POPULATION_AF = re.compile(r"(.+_)?af(_(?!raw$|pops$).+)?")
_MINOR_ALLELE_AF = re.compile(r"(.+_)?g?maf")
_SYMBOLIC = {
    "<DEL>": "DELETION",
    "<INS>": "INSERTION",
    "<DUP>": "DUPLICATION",
    "<DUP:TANDEM>": "TANDEM_DUPLICATION",
    "<TDUP>": "TANDEM_DUPLICATION",
    "<INV>": "INVERSION",
    "<CNV>": "COPY_NUMBER_VARIATION",
}
_NO_MATCH = 9


@dataclass(frozen=True)
class ConsequenceField:
    """An annotation that the header declares. names: its subfields in order, `HGVS.c` as `hgvs_c`."""

    key: str
    names: tuple[str, ...]

    def place(self, role: str) -> int | None:
        roles = {"BCSQ": _BCSQ_ROLES, "EFF": _EFF_ROLES}.get(self.key, _ROLES)
        return next((self.names.index(name) for name in roles.get(role, ()) if name in self.names), None)

    def places(self, pattern: re.Pattern[str]) -> list[int]:
        return [place for place, name in enumerate(self.names) if pattern.fullmatch(name)]


def consequence_fields(header: Header) -> list[ConsequenceField]:
    """The annotations the header declares with a list of subfields, in the order of SOURCES."""
    found = []
    for key in SOURCES:
        declared = header.info.get(key)
        names = _subfields(key, declared.description) if declared else ()
        if names:
            found.append(ConsequenceField(key, names))
    return found


def _subfields(key: str, description: str) -> tuple[str, ...]:
    """`… Format: Allele|Consequence`, `'Allele | Annotation'`, `'Effect ( Effect_Impact | …'` → names."""
    quoted = [text for text in re.findall(r"'([^']*)'", description) if "|" in text]
    _, label, after = description.partition("Format:")
    text = quoted[0] if quoted else (after if label else description)
    if "|" not in text:
        return ()
    if key == "EFF":
        text = text.replace("(", "|", 1)
    names = re.sub(r"[\[\]()*'\"]", "", text).split("|")
    return tuple(re.sub(r"[.\s]+", "_", name.strip()).lower() for name in names)


def parse_consequences(
    alleles: pl.DataFrame, texts: dict[str, pl.Series], fields: list[ConsequenceField]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every consequence of every allele, and the worst of each.

    alleles: one row per allele row, in order: record_no, alt_index, pos (Int64, 1-based), ref, alt (String,
    null for `.`), n_alts. texts: by key, a String per allele row, the record's whole raw value, null when
    absent. Returns the frame of schemas.CONSEQUENCES, in allele order, then SOURCES, then the file's; and a
    frame with the columns WORST, same order and length as `alleles`. Raises nothing. Worst: the most severe
    term; then MANE, canonical or picked; then protein coding; then order.
    """
    parts = []
    known = [field for field in fields if field.key in texts and texts[field.key].null_count() < alleles.height]
    if known:
        forms = _allele_forms(alleles)
        parts = [_entries(forms, texts[field.key], field, place) for place, field in enumerate(known)]
    if not parts:
        empty = pl.DataFrame(schema=CONSEQUENCES)
        return empty, _none_of(alleles.height)
    entries = pl.concat(parts, how="vertical").sort("row", "source_place", "place", maintain_order=True)
    worst = _worst(entries, alleles.height)
    return entries.select(pl.col(name).cast(dtype) for name, dtype in CONSEQUENCES.items()), worst


def _allele_forms(alleles: pl.DataFrame) -> pl.DataFrame:
    """alleles with `row`, and the ways in which an annotation may name the allele, in upper case.

    of_record: VEP's, the first base dropped where the record has an indel and all alleles share that base;
    of_pair: the same for this allele alone; as_is: ALT.
    """
    alt = pl.col("alt").str.to_uppercase()
    is_sequence = alt.str.contains(r"^[A-Z]+$").fill_null(False)
    differs = is_sequence & (pl.col("alt").str.len_bytes() != pl.col("ref").str.len_bytes())
    shares = ~is_sequence | (alt.str.head(1) == pl.col("ref").str.to_uppercase().str.head(1))
    chopped = pl.when(alt.str.len_bytes() > 1).then(alt.str.slice(1)).otherwise(pl.lit("-"))
    base = alleles.select("record_no", "alt_index", "pos", "ref", "alt", "n_alts").with_row_index("row")
    base = base.with_columns(is_sequence=is_sequence, differs=differs, shares=shares, chopped=chopped, as_is=alt)
    if base["n_alts"].max() not in (None, 0, 1):
        base = base.with_columns(
            any_differs=pl.col("differs").any().over("record_no"),
            all_share=pl.col("shares").all().over("record_no"),
        )
    else:
        base = base.with_columns(any_differs=pl.col("differs"), all_share=pl.col("shares"))
    symbolic = pl.col("as_is").replace(_SYMBOLIC)
    return base.select(
        "row", "record_no", "alt_index", "pos", "ref", "alt", "n_alts", "as_is",
        of_record=pl.when("is_sequence", "any_differs", "all_share").then("chopped").otherwise(symbolic),
        of_pair=pl.when("is_sequence", "differs", "shares").then("chopped").otherwise("as_is"),
        is_called=pl.col("alt").is_not_null() & ~pl.col("alt").is_in(["*", "<*>", "<NON_REF>"]),
    )  # fmt: skip


def _entries(forms: pl.DataFrame, text: pl.Series, field: ConsequenceField, source_place: int) -> pl.DataFrame:
    """One row per consequence and allele that it belongs to, with what _worst needs."""
    if field.key == "EFF":
        text = text.str.replace_all("(", "|", literal=True).str.replace_all(")", "", literal=True)
    raw = forms.with_columns(entry=text.str.split(","))
    raw = raw.filter(pl.col("entry").is_not_null(), pl.col("alt").is_not_null()).explode("entry")
    parts = raw.select(pl.exclude("entry"), part=pl.col("entry").str.split("|")).with_row_index("place")
    roles = [
        "allele",
        "allele_num",
        "terms",
        "impact",
        "gene",
        "gene_id",
        "transcript",
        "feature_type",
        "biotype",
    ]
    roles += ["hgvs_c", "hgvs_p", "mane", "canonical", "pick", "clin_sig", "dna_change", "amino_acid_change"]
    picked = parts.select(
        pl.exclude("part"),
        *(_subfield(field.place(role)).alias(role) for role in roles),
        af=_joined(field.places(_POPULATION_AF)),
        maf=_joined(field.places(_MINOR_ALLELE_AF)),
        source=pl.lit(field.key),
        source_place=pl.lit(source_place, pl.Int8),
    )
    picked = _of_the_allele(picked, field)
    if field.key == "EFF":
        change = pl.col("amino_acid_change")
        picked = picked.with_columns(
            hgvs_c=change.str.extract(r"((?:c|n)\.[^/]+)$"), hgvs_p=change.str.extract(r"^(p\.[^/]+)")
        )
    lower_type = pl.col("feature_type").str.to_lowercase()
    return picked.with_columns(
        _terms(field.key),
        *(decoded(pl.col(name)) for name in ("gene", "hgvs_c", "hgvs_p")),
        transcript=pl.when(lower_type.is_in(_NO_TRANSCRIPT).fill_null(False)).then(None).otherwise("transcript"),
        impact=pl.col("impact").str.to_uppercase(),
    ).pipe(_ranked)


def _subfield(place: int | None) -> pl.Expr:
    """The subfield at that place; null where it is empty, a lone dot or not there."""
    if place is None:
        return pl.lit(None, pl.String)
    value = pl.col("part").list.get(place, null_on_oob=True)
    return pl.when(~value.is_in(["", "."])).then(value)


def _joined(places: list[int]) -> pl.Expr:
    """Several subfields as one text of values between `&`."""
    if not places:
        return pl.lit(None, pl.String)
    joined = pl.concat_str([_subfield(place) for place in places], separator="&", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _of_the_allele(picked: pl.DataFrame, field: ConsequenceField) -> pl.DataFrame:
    """Only the consequences of the row's own allele.

    An allele's number counts where the record has several alleles; where it has one, its name comes first,
    because records that were split keep the entries and numbers of all. The first way that matches anything
    in the record decides, and a lone allele takes entries that match in no way.
    """
    if field.key == "BCSQ":
        token = pl.format("{}{}>{}", "pos", "ref", "alt")
        own = pl.col("dna_change").is_null() | pl.col("dna_change").str.contains(token, literal=True)
        return picked.filter(pl.col("is_called"), (pl.col("n_alts") == 1) | own)
    named = field.place("allele") is not None
    numbered = field.place("allele_num") is not None
    if not named and not numbered:
        return picked.filter("is_called")
    allele = pl.col("allele").str.to_uppercase()
    number = pl.col("allele_num").cast(pl.Int32, strict=False) == pl.col("alt_index")
    names = ["as_is", "of_record", "of_pair"] if field.key == "ANN" else ["of_record", "of_pair", "as_is"]
    ways = [(number & (pl.col("n_alts") > 1), 0)]
    ways += [(allele == pl.col(name), rank) for rank, name in enumerate(names, start=1)]
    ways.append((number, 5))
    match = pl.lit(_NO_MATCH)
    for condition, rank in reversed(ways):
        match = pl.when(condition).then(rank).otherwise(match)
    picked = picked.with_columns(match=match)
    best = pl.col("match").min().over("record_no")
    alone = (pl.col("n_alts") == 1) & pl.col("is_called")
    return picked.filter(pl.col("match") == best, (pl.col("match") < _NO_MATCH) | alone).drop("match")


def _terms(key: str) -> pl.Expr:
    """Sequence Ontology terms.

    In BCSQ `*` marks what lies behind a stop and is dropped; `@15` refers to the record at 15 and stays.
    """
    if key == "EFF":
        split = pl.col("terms").str.replace_all("+", "&", literal=True).str.split("&")
        return split.list.eval(pl.element().replace(so_terms.CLASSIC)).alias("terms")
    if key == "BCSQ":
        split = pl.col("terms").str.strip_chars_start("*").str.split("&")
        return split.list.eval(pl.element().replace(so_terms.SHORT)).alias("terms")
    return pl.col("terms").str.split("&").alias("terms")


def _ranked(entries: pl.DataFrame) -> pl.DataFrame:
    """Adds worst_term (null for a mere reference), impact where the file gives none, and rank: low is bad."""
    ranks = pl.element().replace_strict(so_terms.RANK, default=so_terms.UNRANKED, return_dtype=pl.Int32)
    found = entries.with_columns(ranks=pl.col("terms").list.eval(ranks))
    found = found.with_columns(
        worst_term=pl.col("terms").list.get(pl.col("ranks").list.arg_min(), null_on_oob=True),
        known=pl.col("ranks").list.min(),
    )
    of_table = pl.col("worst_term").replace_strict(so_terms.IMPACT, default=None, return_dtype=pl.String)
    found = found.with_columns(
        impact=pl.when(pl.col("impact").is_in(so_terms.IMPACTS)).then("impact").otherwise(of_table),
        worst_term=pl.when(~pl.col("worst_term").str.starts_with("@")).then("worst_term"),
    )
    # between the known terms of its impact and those of the next
    guessed = pl.col("impact").replace_strict(so_terms.RANK_OF_IMPACT, default=so_terms.UNRANKED, return_dtype=pl.Int32)
    rank = pl.when(pl.col("known") < so_terms.UNRANKED).then(pl.col("known") * 2).otherwise(guessed * 2 + 1)
    chosen = pl.col("mane").is_not_null() | (pl.col("canonical") == "YES") | (pl.col("pick") == "1")
    coding = pl.col("biotype").str.to_lowercase().is_in(["protein_coding", "coding"])
    return found.with_columns(rank=rank, is_chosen=chosen.fill_null(False), is_coding=coding.fill_null(False)).drop(
        "ranks", "known"
    )


def _none_of(height: int) -> pl.DataFrame:
    return pl.DataFrame({n: pl.Series(n, [None], dtype).new_from_index(0, height) for n, dtype in WORST.items()})


def _worst(entries: pl.DataFrame, height: int) -> pl.DataFrame:
    """Columns WORST, a row per allele row. entries: sorted by row and order."""
    if entries.is_empty():
        return _none_of(height)
    first = (
        entries.lazy()
        .filter(pl.col("worst_term").is_not_null())
        .sort("row", "rank", ~pl.col("is_chosen"), ~pl.col("is_coding"), maintain_order=True)
        .unique("row", keep="first", maintain_order=True)
        .select("row", "impact", "gene", "transcript", "hgvs_c", "hgvs_p", consequence="worst_term")
        .collect()
    )
    rows = pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
    for part in (first, _largest_af(entries), _clin_sig(entries)):
        rows = rows.join(part, on="row", how="left", maintain_order="left")
    return rows.select(pl.col(name).cast(dtype) for name, dtype in WORST.items())


def _largest_af(entries: pl.DataFrame) -> pl.DataFrame:
    """row, consequence_af: the largest number from 0 to 1 in the population frequencies.

    A value may name its allele (`T:0.01`), then only the row's own counts; a minor allele's frequency that
    names none says nothing about this allele.
    """
    names = ["row", "of_record", "of_pair", "as_is"]
    values = pl.concat(
        [
            entries.select(*names, value="af", is_minor=pl.lit(False)),
            entries.select(*names, value="maf", is_minor=pl.lit(True)),
        ]
    )
    values = values.filter(pl.col("value").is_not_null()).unique().with_columns(pl.col("value").str.split("&"))
    values = values.explode("value").with_columns(
        allele=pl.col("value").str.extract(r"^([^:]+):").str.to_uppercase(),
        af=pl.col("value").str.extract(r"([^:]+)$").cast(pl.Float64, strict=False),
    )
    own = pl.any_horizontal(pl.col("allele") == pl.col(name) for name in names[1:])
    counts = pl.when(pl.col("allele").is_null()).then(~pl.col("is_minor")).otherwise(own)
    values = values.filter(counts, pl.col("af").is_between(0, 1))
    return values.group_by("row").agg(consequence_af=pl.col("af").max())


def _clin_sig(entries: pl.DataFrame) -> pl.DataFrame:
    """row, consequence_clin_sig: the words of CLIN_SIG, each once, in the file's order."""
    words = entries.filter(pl.col("clin_sig").is_not_null()).select(
        "row", word=pl.col("clin_sig").str.replace_all("/", "&", literal=True).str.split("&")
    )
    words = words.explode("word").filter(pl.col("word") != "").unique(maintain_order=True)
    return words.group_by("row").agg(consequence_clin_sig=pl.col("word"))
