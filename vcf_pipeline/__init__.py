"""VCF files to searchable, explained variants: the Python API. Names are loaded when used.

    import vcf_pipeline

    with vcf_pipeline.open() as control:
        callset, created = vcf_pipeline.register_callset(
            "trio.vcf.gz", tenant="default", label=None, settings=vcf_pipeline.ReaderSettings(),
            ledger=control.ledger, new_id=vcf_pipeline.new_id,
        )
        outcome = vcf_pipeline.run_callset(control, callset.key)
        control.tables.scan(callset.tenant, callset.callset_id, "parsed_variants", "variants").collect()

settings.py      every setting: name, type, default, help
annotation_settings.py  the groups of it that annotation needs
domain/          what VCF, tables, messages and tiers mean; decides, touches nothing
adapters/        files, tables, ledger, brokers, stores: acts, maps vendors' errors
stages/          what happens to a callset, in order
wiring.py        settings → adapters
benches/         what `bench` measures
streaming.py     single variants from a program: StreamingCoordinator
defs/            assets, jobs, sensors and schedules for Dagster
definitions.py   what Dagster loads
cli/             the command line
testing/         doubles that ship with the package
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vcf_pipeline.cli.annotate import annotate_variant
    from vcf_pipeline.cli.run import new_id
    from vcf_pipeline.defs.launch import RunOutcome, run_callset
    from vcf_pipeline.domain.errors import PipelineError
    from vcf_pipeline.domain.identity import PartitionKey
    from vcf_pipeline.domain.query import VariantQuery
    from vcf_pipeline.domain.stream.variant_messages import VCFVariantMessage
    from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
    from vcf_pipeline.settings import Settings, load_settings
    from vcf_pipeline.stages.forget import forget_callset
    from vcf_pipeline.stages.publish import publish_callset
    from vcf_pipeline.stages.query import query_variants
    from vcf_pipeline.stages.register import register_callset
    from vcf_pipeline.streaming import StreamingCoordinator
    from vcf_pipeline.wiring import Control

__all__ = [
    "Control",
    "PartitionKey",
    "PipelineError",
    "ReaderSettings",
    "RunOutcome",
    "Settings",
    "StreamingCoordinator",
    "VCFVariantMessage",
    "VariantQuery",
    "annotate_variant",
    "forget_callset",
    "load_settings",
    "new_id",
    "open",
    "publish_callset",
    "query_variants",
    "register_callset",
    "run_callset",
]
_HOMES = {
    "Control": "wiring",
    "PartitionKey": "domain.identity",
    "PipelineError": "domain.errors",
    "ReaderSettings": "domain.vcf.batch",
    "RunOutcome": "defs.launch",
    "Settings": "settings",
    "StreamingCoordinator": "streaming",
    "VCFVariantMessage": "domain.stream.variant_messages",
    "VariantQuery": "domain.query",
    "annotate_variant": "cli.annotate",
    "forget_callset": "stages.forget",
    "load_settings": "settings",
    "new_id": "cli.run",
    "publish_callset": "stages.publish",
    "query_variants": "stages.query",
    "register_callset": "stages.register",
    "run_callset": "defs.launch",
}


def open(home: str | Path | None = None, tenant: str | None = None, **settings: Any) -> Control:
    """Everything a callset needs, by the environment's settings; arguments win. A context manager.

    Nothing is made before it is used. Raises UsageError for a setting that cannot be.
    """
    from vcf_pipeline.settings import load_settings
    from vcf_pipeline.wiring import Control

    absolute = Path(home).absolute() if home is not None else None
    return Control(load_settings(home=absolute, tenant=tenant, **settings))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vcf_pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vcf_pipeline.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
