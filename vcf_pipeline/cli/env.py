"""`env`: shell exports under which Dagster's own commands use the same state as ours.

Not here: what the variables are (defs/launch.py, which sets them for runs started from here, too).
"""

from __future__ import annotations

import shlex

from vcf_pipeline.cli.output import Call, single_verb


def env(call: Call) -> None:
    """Print shell exports for Dagster's own commands: eval "$(vcf-pipeline env)"

    After it, `dagster dev -w workspace.yaml`, `dagster job launch …` and the daemon use this home.
    """
    from vcf_pipeline.settings import dagster_environment

    settings = call.settings()
    if not all((settings.home / name).is_dir() for name in ("history", "schedules")):
        # only then, because importing Dagster takes a second
        from vcf_pipeline.defs.instance_storage import make_instance_storage

        make_instance_storage(settings.home)
    variables = dagster_environment(settings)
    call.emit(dict(variables), (f"export {name}={shlex.quote(value)}" for name, value in variables.items()))


app = single_verb(env)
