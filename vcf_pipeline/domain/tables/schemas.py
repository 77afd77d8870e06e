"""Columns of every table: name, dtype, unit, coordinate base.

Nullable unless the text says otherwise. Columns whose names come from the file (`info_*`, `fmt_*`) follow the rules
in INFO_RULES and FORMAT_RULES. Not here: what a manifest says (manifest.py).
"""

from __future__ import annotations

import polars as pl

MISSING = -1
"""gt: the call is `.`."""
NO_ALLELE = -2
"""gt: the sample has fewer alleles than the widest of the block."""

VARIANTS_HEAD: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_no": pl.Int64,  # never null; data lines counted from 0, rejected ones too
    "contig": pl.String,  # never null; as the file writes it
    "pos": pl.Int64,  # never null; 1-based, first base of ref; 0 is the telomere
    "end": pl.Int64,  # never null; 1-based, inclusive: INFO/END, else by SVLEN, else pos + len(ref) - 1
    "id": pl.List(pl.String),  # null for `.`
    "ref": pl.String,  # never null; upper case
    "alt": pl.String,  # one allele as the file writes it; null for `.`
    "alt_index": pl.Int16,  # never null; 1-based as GT counts, 0 where ALT is `.`
    "qual": pl.Float32,
    "filter": pl.List(pl.String),  # null for `.`; ["PASS"]
    "variant_type": pl.String,  # never null; snv mnv ins del indel sv bnd star nonref ref
    "svtype": pl.String,  # INFO/SVTYPE, else from the symbolic allele
    "svlen": pl.Int64,  # as the file says, sign included
    "variant_key": pl.String,  # 17-43093464-C-T; null where alt is null
}
VARIANTS_TAIL: dict[str, pl.DataType | type[pl.DataType]] = {
    "qual_raw": pl.String,  # QUAL as the file writes it, where that is no number and qual is null
    "info_raw": pl.String,  # the whole INFO text where a value was defective, or a selection left keys out
    "consequence": pl.String,  # worst term of the allele, Sequence Ontology
    "impact": pl.String,  # HIGH MODERATE LOW MODIFIER
    "gene": pl.String,  # symbol of the worst consequence
    "transcript": pl.String,
    "hgvs_c": pl.String,
    "hgvs_p": pl.String,
    "consequence_af": pl.Float32,  # 0–1, the largest population frequency the annotation itself carries
    "consequence_clin_sig": pl.List(pl.String),  # ClinVar words that the annotation itself carries
    "n_called": pl.Int32,  # samples with no missing allele; the call summary is null without samples
    "ac": pl.Int32,  # alleles called as this ALT
    "an": pl.Int32,  # alleles called
    "af": pl.Float32,  # ac / an, 0–1; null when an is 0
    "n_het": pl.Int32,
    "n_hom": pl.Int32,
    "n_missing": pl.Int32,  # samples with a missing allele
}
ROW_ID: dict[str, pl.DataType | type[pl.DataType]] = {"row_id": pl.Binary}  # 16 bytes, never null; first column on disk

CONSEQUENCES: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "source": pl.String,  # CSQ ANN EFF BCSQ vep
    "transcript": pl.String,
    "gene": pl.String,
    "gene_id": pl.String,
    "terms": pl.List(pl.String),
    "impact": pl.String,
    "biotype": pl.String,
    "hgvs_c": pl.String,
    "hgvs_p": pl.String,
}

REJECTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_no": pl.Int64,
    "line": pl.Int64,  # of the file, header lines counted, 1-based
    "byte_offset": pl.Int64,  # of the line in the inflated text, 0-based
    "column": pl.String,  # CHROM POS REF ALT … or the key
    "code": pl.String,
    "message": pl.String,
    "raw": pl.String,  # the line, cut at 4 kB; undecodable bytes as \xNN
}

# genotypes: a row per record that was kept, in record order.
GENOTYPES_HEAD: dict[str, pl.DataType | type[pl.DataType]] = {
    "record_no": pl.Int64,
    # "gt": pl.Array(pl.Int8, ploidy * n_samples), sample-major; Int16 in a part that has an allele number above 126;
    #       null where the record's FORMAT has no GT
    # "phased": pl.Array(pl.Boolean, n_samples)
}
GENOTYPES_TAIL: dict[str, pl.DataType | type[pl.DataType]] = {
    # FORMAT and samples verbatim where a value was defective, or `phased` cannot hold how a call is separated
    "format_raw": pl.String,
}

INFO_RULES = """info_KEY, in the header's order, undeclared keys after them in the order they appear:
Number=1: Integer → Int32 (Int64 in a block that needs it; Float64 where reals stand, with a warning), Float → Float32,
String/Character → String, Flag → Boolean (true or null). Number=A: the allele's own value, scalar of the type.
Number=R: List of two values [REF's, the allele's]. Any other Number: List of the type. `.` is null.
Undeclared: List(String), or Boolean where it stands without `=`. Percent-encoding is decoded after splitting."""

FORMAT_RULES = """fmt_KEY for every FORMAT key but GT, in the header's order: Number=1 → List(T), an element per sample;
any other Number → List(List(T)), a list per sample. Null where the record's FORMAT lacks the key; a missing or
dropped trailing value is a null element. T as for INFO; undeclared keys are String, split at commas."""

TRIAGED: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Binary,
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "tier": pl.Int8,  # 1–4; null is unknown, never benign
    "reasons": pl.List(pl.String),
    "population_af": pl.Float32,  # 0–1, the largest of those that count
    "significance": pl.String,  # pathogenic likely_pathogenic uncertain likely_benign benign conflicting other
    "stars": pl.Int8,  # ClinVar review stars 0–4; null: no claim, or how it was reviewed is not told
    "conditions": pl.List(pl.String),
    "gene": pl.String,  # symbol; of the file's own annotation, else of a registered gene model
    "consequence": pl.String,  # worst term, Sequence Ontology; of the file, else of a gene model, else ClinVar's
    "impact": pl.String,  # HIGH MODERATE LOW MODIFIER, of that consequence
    # source: INFO, annotation, file, or a registered source's name; version: that source's, null for the file's own
    "evidence": pl.List(pl.Struct({"key": pl.String, "value": pl.String, "source": pl.String, "version": pl.String})),
}

TIER_MOVES: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Binary,
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "variant_key": pl.String,
    "gene": pl.String,
    "old_tier": pl.Int8,  # null is unknown
    "new_tier": pl.Int8,
    "old_reasons": pl.List(pl.String),
    "new_reasons": pl.List(pl.String),
    "old_evidence": pl.List(pl.String),  # "source key=value", what stood before and not after
    "new_evidence": pl.List(pl.String),  # likewise, what came
    "because": pl.String,  # which inputs changed, as in "clinvar 3f2a… → 9c01…"
    "moved_at": pl.String,  # ISO 8601, UTC
}
"""What a re-triage moved; grows with every one. History, so that it is not part of the digest.

The table `claim_changes` has the same columns: alleles that kept their tier under another claim."""

AI_ANNOTATIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row_id": pl.Binary,
    "record_no": pl.Int64,
    "alt_index": pl.Int16,
    "variant_key": pl.String,
    "tier": pl.Int8,  # of the triage, 1–4
    "status": pl.String,  # annotated skipped failed
    "reason": pl.String,  # of skipped and failed, and of rules or an earlier model standing in: a code
    "summary": pl.String,  # one or two sentences; null unless annotated
    "significance_label": pl.String,  # from rules, never from a model
    "reading": pl.String,  # the model's own word for it, in the same vocabulary; null from rules
    "disagrees": pl.Boolean,  # reading differs from significance_label; null without a reading
    "cited": pl.List(pl.String),  # keys of facts
    "agreement": pl.Float32,  # 0–1, share of the answers with the most frequent reading; null below two answers
    "answers": pl.List(
        pl.Struct({"provider": pl.String, "model": pl.String, "reading": pl.String, "summary": pl.String})
    ),  # all of them where several were asked
    "provider": pl.String,
    "model": pl.String,
    "prompt_version": pl.String,
    "input_tokens": pl.Int32,
    "output_tokens": pl.Int32,
    "cost_microusd": pl.Int64,  # millionths of a US dollar, of this run's calls: 0 from the cache
    "latency_ms": pl.Int32,  # of the call that answered
    "cache_hit": pl.Boolean,
}

COLUMN_MEANINGS: dict[str, str] = {
    "row_id": "16 bytes of tenant, callset, record and allele; unique",
    "callset_id": "which callset the row belongs to",
    "record_no": "data lines of the file counted from 0, rejected ones too",
    "contig": "CHROM as the file writes it",
    "contig_bare": "contig without chr, M for MT: what regions are compared with",
    "pos": "1-based, first base of ref",
    "end": "1-based, inclusive",
    "id": "ID; null for a dot",
    "ref": "REF, upper case",
    "alt": "one ALT allele; null for a dot",
    "alt_index": "place in the record's ALT list, counted from 1 as GT does; 0 where ALT is a dot",
    "qual": "QUAL, Phred scaled; null for a dot",
    "filter": "FILTER; null for a dot",
    "variant_type": "snv mnv ins del indel sv bnd star nonref ref",
    "svtype": "INFO/SVTYPE, else from the symbolic allele",
    "svlen": "INFO/SVLEN of the allele, sign included",
    "variant_key": "the trimmed allele as text, such as 17-43093464-C-T",
    "qual_raw": "QUAL as the file writes it, where it is no number",
    "info_raw": "the whole INFO text where a value was defective",
    "consequence": "worst consequence of the allele, a term of Sequence Ontology",
    "impact": "HIGH, MODERATE, LOW or MODIFIER",
    "gene": "symbol of the gene with the worst consequence",
    "transcript": "transcript of the worst consequence",
    "hgvs_c": "HGVS of the coding sequence",
    "hgvs_p": "HGVS of the protein",
    "consequence_af": "0 to 1, the largest population frequency in the annotation",
    "consequence_clin_sig": "ClinVar words in the annotation",
    "n_called": "samples with no missing allele",
    "ac": "alleles called as this ALT",
    "an": "alleles called",
    "af": "ac / an, 0 to 1: of this callset, not of a population",
    "n_het": "samples that carry it once",
    "n_hom": "samples that carry it only",
    "n_missing": "samples with a missing allele",
    "tier": "1 (look first) to 4; null is unknown, never benign",
    "reasons": "codes of the rules that hold, as docs/triage.md lists them",
    "population_af": "0 to 1, the largest of the population frequencies that count",
    "significance": "pathogenic, likely_pathogenic, uncertain, likely_benign, benign, conflicting or other",
    "stars": "ClinVar review stars, 0 to 4; none where no review status is told",
    "conditions": "conditions that the claims are about",
    "evidence": "key, value, source and its version, of each fact that was used",
    "status": "annotated, skipped or failed",
    "reason": "why it was skipped or failed, or why rules, or an earlier model's words, stand in for a provider",
    "summary": "what is known and why it was put there, in one or two sentences",
    "significance_label": "what the rules make of the claims; never from a model",
    "reading": "the model's own word for the significance; shown, never used",
    "disagrees": "whether the model reads the evidence otherwise than the rules",
    "cited": "keys of the facts that the summary rests on",
    "agreement": "0 to 1, share of the answers with the most frequent reading, where several were asked",
    "answers": "every answer, where several providers were asked",
    "provider": "who wrote the summary: rules, openai, claude or ollama",
    "model": "the model that wrote it",
    "prompt_version": "version of the question that was asked",
    "input_tokens": "tokens of the question",
    "output_tokens": "tokens of the answer",
    "cost_microusd": "millionths of a US dollar that this run paid for it; 0 from the cache",
    "latency_ms": "milliseconds of the call that answered",
    "cache_hit": "whether the answer had been bought before",
    "ids": "identifiers of the file's ID column",
    "text": "every word that is searched",
    "meaning": "the part of the words that a vector is made of",
    "meaning_id": "32 hex digits of that part: the same text is made a vector once",
    "old_tier": "tier before; null is unknown",
    "new_tier": "tier after; null is unknown",
    "old_reasons": "reasons before",
    "new_reasons": "reasons after",
    "old_evidence": "what stood before and does not any more",
    "new_evidence": "what came",
    "because": "which inputs changed",
    "moved_at": "when, UTC",
    "source": "annotation that the consequence was read from: CSQ, ANN, EFF, BCSQ or vep",
    "gene_id": "identifier of the gene in its own database",
    "terms": "consequences of the allele for the transcript, terms of Sequence Ontology",
    "biotype": "what kind of transcript it is",
    "line": "line of the file, header lines counted from 1",
    "byte_offset": "of the line in the inflated text, from 0",
    "column": "column of the VCF, or the key, that is defective",
    "code": "what is wrong, by a stable name",
    "message": "what was expected, what stands there, how to repair it",
    "raw": "the line, cut at 4 kB",
    "format_raw": "FORMAT and samples as the file writes them, where a value was defective",
}
"""For people: what the asset catalogue says of a column. The rules are the comments above."""
