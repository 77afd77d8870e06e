"""Dagster: one file per asset with its checks, then what crosses assets.

partitions.py          `callsets`, the dynamic partitions
resources.py           wiring offered to Dagster
holder.py              which process holds a run; runs whose process is gone
runs_in_progress.py    which callsets have a run that waits or goes on
failures.py            what no rerun cures is not tried again
metadata.py            a report → what the UI shows
kept_state.py          how far a callset, or its annotation, is
callset_step.py        what every asset does around its stage
parsed_variants.py     the tables, from stream or file; no_silent_loss, stream_complete
triaged_variants.py    tiers, reasons, evidence; every_allele_is_triaged
ai_annotations.py      the alleles that matter, explained; every_wanted_allele_has_a_status
store_load.py          what the assets of both stores share
lancedb_variants.py    search by field; store_rows_match
kuzu_variants.py       the graph; store_rows_match
lancedb_annotations.py  explanations by words and likeness; store_rows_match
kuzu_annotations.py    explanations on edges of the graph; store_rows_match
jobs.py                selections of assets
sensors.py             listening on the control topics
reconcile_annotations.py  what a lost event or run left unexplained
reconcile.py           what a lost run, cursor or database left undone
schedules.py           inbox and backfill
instance_storage.py    Dagster's own databases, made whole or not at all
launch.py              start a run and wait: the CLI's one door to Dagster
"""

import warnings

from dagster import BetaWarning

# Runs over a range need `backfill_policy`, which Dagster still calls beta; a person who runs a file need not hear it.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy.*")
