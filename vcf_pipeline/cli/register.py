"""`register`: files become callsets and Dagster partitions; who computes them is somebody else.

Not here: reading more than the file's identity (stages/register.py).
"""

from __future__ import annotations

from vcf_pipeline.cli.output import Call, printable, single_verb
from vcf_pipeline.cli.run import (
    AssemblyOption,
    EngineOption,
    FilesArgument,
    LabelOption,
    ModeOption,
    ShareOption,
    one_label_per_file,
    registered,
    with_reader,
)


def register(
    call: Call,
    files: FilesArgument,
    label: LabelOption = None,
    engine: EngineOption = None,
    mode: ModeOption = None,
    max_reject_share: ShareOption = None,
    assembly: AssemblyOption = None,
) -> int:
    """Make files known: the daemon's backfill, the UI or `run` computes them. Same bytes, same callset."""
    from vcf_pipeline.defs.launch import add_partition
    from vcf_pipeline.wiring import Control

    settings = with_reader(call.settings(), engine, mode, max_reject_share)
    one_label_per_file(label, files)
    with Control(settings) as control:

        def act(path: str) -> None:
            callset, created = registered(control, path, label, assembly)
            add_partition(control, callset.key)
            record = {
                "partition": str(callset.key),
                "label": callset.label,
                "state": callset.state,
                "created": created,
                "sha256": callset.sha256,
                "size_bytes": callset.size_bytes,
            }
            how = "registered" if created else f"already known, {callset.state}"
            call.emit(record, [f"{printable(callset.label)}  ({callset.key})  {how}"])

        return call.each(files, act)


app = single_verb(register)
