"""The table of verbs, each loaded when called, and the way every failure leaves: one line, one exit code.

Not here: what a verb does (its own file); how results are printed (output.py).
"""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from vcf_pipeline.cli.meter import STOP_ASKED
from vcf_pipeline.cli.output import (
    Call,
    HomeOption,
    JsonOption,
    TenantOption,
    exit_code_of,
    one_line,
    stderr_line,
)

# In the order in which a person meets them.
VERBS = (
    *("demo", "run", "publish", "register", "callsets", "query", "annotate", "report", "sources"),
    *("providers", "ai", "topology", "dlq", "spool", "bench", "doctor", "env"),
)
STOPPED = 130
# Some versions of Typer carry a click of their own, others import it: errors have this base either way.
_COMMAND_LINE_ERROR: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


class _Verbs(typer.core.TyperGroup):
    """Verbs are modules of this folder, imported when one is called or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"vcf_pipeline.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="vcf-pipeline",
    cls=_Verbs,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vcf-pipeline {version('vcf-pipeline')}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True)
def vcf_pipeline(
    ctx: typer.Context,
    tenant: TenantOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """VCF files to searchable, explained variants. Start with: vcf-pipeline demo

    Exit codes: 0 done, 1 failed, 2 usage, 3 input refused, 4 broker or store unavailable, 130 stopped.
    A tier is a triage, never a diagnosis.
    """
    del version
    ctx.obj = Call(json=json, tenant=tenant, home=home, debug=debug)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Nothing but its result is written to stdout."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _stop_on_signals()
    try:
        code = app(args=arguments, prog_name="vcf-pipeline", standalone_mode=False)
    except KeyboardInterrupt:
        stderr_line("stopped.")
        return STOPPED
    except Exception as error:
        if isinstance(error, _COMMAND_LINE_ERROR):
            text = one_line(error.format_message())  # type: ignore[attr-defined]
            stderr_line(f"error: {text} Try: vcf-pipeline --help")
            return 2
        if "--debug" in arguments:
            traceback.print_exc()
        stderr_line(f"error: {one_line(describe(error))}")
        return exit_code_of(error)
    return code if isinstance(code, int) else 0


def describe(error: BaseException) -> str:
    """What a person reads of an error: our own says it all, another is a bug and says so."""
    from vcf_pipeline.domain.errors import PipelineError

    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, typer.Abort):
        return "nothing was done."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror} ({type(error).__name__})."
    return f"{type(error).__name__}: {error}. This is a bug; `vcf-pipeline --debug …` shows where."


def _stop_on_signals() -> None:
    """SIGINT and SIGTERM both stop cleanly, in a background shell too, where SIGINT comes in ignored."""

    STOP_ASKED.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        STOP_ASKED.set()
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
    except ValueError:
        # Called from a thread that is not the main one: signals are somebody else's there.
        return


if __name__ == "__main__":
    sys.exit(main())
