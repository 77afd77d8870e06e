"""A callset whose every text is hostile, triaged and explained, with moves between tiers."""

from __future__ import annotations

from typing import Any

import polars as pl

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.tables.schemas import TIER_MOVES
from vcf_pipeline.domain.triage.thresholds import TriageThresholds
from vcf_pipeline.stages.report import Report, report_of
from vcf_pipeline_tests.made_tables import made_triaged, made_variants
from vcf_pipeline_tests.stages.made_control import TENANT, MadeControl

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
LABEL = f"trio {IMAGE}"
CODE = "{{ 7*7 }}{% raw %}"
HIDDEN = "abc\u202edcba\x1b[31m\x00"


def told(control: MadeControl, key: PartitionKey, limit: int = 200) -> Report:
    return report_of(
        key,
        ledger=control.ledger,
        tables=control.tables,
        registered=control.registered,
        thresholds=TriageThresholds(),
        generated_at="2026-11-27 08:00",
        limit=limit,
    )


def put_hostile(control: MadeControl, n_records: int = 20, *, is_explained: bool = True) -> PartitionKey:
    """Tiers 1 to 4 and unknown in turn; texts that would do something in a page, a template or a terminal."""
    variants = made_variants(n_records).with_columns(
        pl.when(pl.col("gene").is_not_null()).then(pl.lit(f"BRCA1{SCRIPT}")).alias("gene"),
        pl.lit(["rs1", IMAGE]).alias("id"),
        pl.lit([IMAGE]).alias("filter"),
        pl.lit(CODE).alias("hgvs_c"),
    )
    key = control.put("a", n_records, label=LABEL, variants=variants)
    evidence = [
        {"key": "CLNSIG", "value": SCRIPT, "source": "INFO", "version": None},
        {"key": IMAGE, "value": HIDDEN + "x" * 2000, "source": "clinvar", "version": "c4fd4120aabb"},
    ]
    triaged = made_triaged(variants).with_columns(
        pl.Series("evidence", [evidence] * n_records, dtype=made_triaged(variants).schema["evidence"]),
        pl.lit([f"Condition {SCRIPT}", CODE]).alias("conditions"),
        pl.lit(["clinvar_pathogenic", "filter_not_pass", SCRIPT]).alias("reasons"),
    )
    moves = pl.DataFrame(
        [
            {
                **dict.fromkeys(TIER_MOVES),
                "record_no": 0,
                "variant_key": IMAGE,
                "gene": SCRIPT,
                "old_tier": None,
                "new_tier": 1,
                "new_evidence": [SCRIPT],
                "because": CODE,
                "moved_at": "2026-11-01T00:00:00",
            }
        ],
        schema=TIER_MOVES,
    )
    counts = {str(tier): triaged.filter(pl.col("tier") == tier).height for tier in (1, 2, 3, 4)}
    facts: dict[str, Any] = {
        "label": LABEL,
        "extra": {
            "tiers": {**counts, "unknown": triaged["tier"].null_count()},
            "sources": [{"name": "clinvar", "version": "c4fd4120aabb", "preset": "clinvar", "matched": 3}],
            "sources_not_used": {"gnomad": f"of another assembly {SCRIPT}"},
        },
        "settings": {"thresholds": {"common_af": 0.05}},
        "versions": {"vcf-pipeline": "0.1.0"},
        "created_at": "2026-11-27T08:00:00",
    }
    facts.pop("created_at")
    control.write(key, "triaged_variants", {"triaged": triaged, "tier_moves": moves}, facts)
    if is_explained:
        explain(control, key)
    return key


def explain(control: MadeControl, key: PartitionKey) -> None:
    """By a model that disagrees about the first allele, with a summary that is a script."""
    control.explain(key)
    rows = control.tables.read(TENANT, key.callset_id, "ai_annotations", "annotations")
    is_first = pl.col("record_no") == 0
    rows = rows.with_columns(
        pl.when(is_first).then(pl.lit(f"All is well. {SCRIPT}")).otherwise("summary").alias("summary"),
        pl.when(is_first).then(pl.lit("benign")).alias("reading"),
        pl.when(is_first).then(True).alias("disagrees"),
        pl.when(is_first).then(pl.lit("openai")).otherwise("provider").alias("provider"),
        pl.when(is_first).then(0.5).cast(pl.Float32).alias("agreement"),
    )
    triaged = control.tables.manifest(TENANT, key.callset_id, "triaged_variants")
    assert triaged is not None
    extra = {
        "rows": {"annotated": 7, "skipped": 1, "failed": 0},
        "providers": {"openai": 1, "rules": 6},
        "reasons": {"BUDGET_SPENT": 1},
        "calls": 1,
        "cost_microusd": 150,
    }
    facts = {"inputs": {"triaged_variants": triaged.digest}, "extra": extra}
    control.write(key, "ai_annotations", {"annotations": rows}, facts)
