"""One invocation: the options every verb has, JSON lines and tables on stdout, notes and errors on stderr.

Not here: progress (meter.py); what each verb prints (its own file).
"""

from __future__ import annotations

import functools
import inspect
import json as json_text
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vcf_pipeline.settings import Settings

TRIAGE_NOTE = "a triage, not a diagnosis"
TIERS = ("1", "2", "3", "4", "unknown")

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Whose callsets. [VCF_PIPELINE_TENANT]")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout, nothing else there.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="Local state. [VCF_PIPELINE_HOME]")]
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True)
class Call:
    """What holds for the whole invocation, wherever on the line it was given."""

    json: bool = False
    tenant: str | None = None
    home: Path | None = None
    debug: bool = False

    def settings(self) -> Settings:
        """What is in force: options over environment over defaults. Raises UsageError."""
        from vcf_pipeline.settings import load_settings

        home = self.home.absolute() if self.home else None
        return load_settings(home=home, tenant=self.tenant)

    def emit(self, record: dict[str, Any], lines: Iterable[str] = ()) -> None:
        """A result: the record as one JSON line, or the lines for a person."""
        if self.json:
            lines = [json_text.dumps(record, default=str, ensure_ascii=False)]
        write_out(f"{line}\n" for line in lines)

    def each(self, paths: Sequence[str], act: Callable[[str], None]) -> int:
        """Call act for each; one failure does not stop the rest. The worst exit code."""
        from vcf_pipeline.cli.app import describe

        worst = 0
        for path in paths:
            try:
                act(path)
            except Exception as error:
                if self.debug:
                    raise
                text = one_line(describe(error))
                named = Path(path).name in text or len(paths) == 1
                stderr_line(f"error: {text}" if named else f"error: {path}: {text}")
                worst = max(worst, exit_code_of(error))
        return worst

    def command(self, *words: str) -> str:
        """A command that a person can paste, with the home and tenant of this call."""
        given: list[str] = []
        if self.home:
            given += ["--home", str(self.home.absolute())]
        if self.tenant:
            given += ["--tenant", self.tenant]
        return shlex.join(["vcf-pipeline", *given, *words])


def verb(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a verb --tenant, --json and --home, and hand it the Call as its first argument."""
    signature = inspect.signature(function, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "call"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("tenant", keyword, default=None, annotation=TenantOption),
        inspect.Parameter("json", keyword, default=False, annotation=JsonOption),
        inspect.Parameter("home", keyword, default=None, annotation=HomeOption),
    ]
    context = inspect.Parameter("ctx", keyword, annotation=typer.Context)
    parameters = [context, *(p.replace(kind=keyword) for p in own), *added]

    @functools.wraps(function)
    def wrapped(**options: Any) -> int | None:
        root = options.pop("ctx").find_root().obj
        base = root if isinstance(root, Call) else Call()
        tenant, json, home = options.pop("tenant"), options.pop("json"), options.pop("home")
        call = replace(
            base, tenant=base.tenant if tenant is None else tenant, json=json or base.json, home=home or base.home
        )
        return function(call, **options)

    del wrapped.__wrapped__
    wrapped.__signature__ = signature.replace(parameters=parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def single_verb(function: Callable[..., int | None]) -> typer.Typer:
    """A Typer of one command."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(verb(function))
    return app


def verb_group(what: str) -> typer.Typer:
    """A Typer whose commands are added by the verb's file; alone it shows its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    def listed(ctx: typer.Context) -> None:
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    app.callback(help=what, invoke_without_command=True)(listed)
    return app


def write_out(texts: Iterable[str]) -> None:
    """Write to stdout. Where its reader has gone, as `head` does, what is left has nobody to go to."""
    try:
        sys.stdout.writelines(texts)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: object) -> str:
    """Text of a file or a person, with nothing in it that a terminal would obey."""
    return str(text).translate(_CONTROLS)


def one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def stderr_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def exit_code_of(error: BaseException) -> int:
    from vcf_pipeline.domain.errors import PipelineError

    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, PipelineError) else 1


def all_tiers(tiers: dict[Any, int] | None) -> dict[str, int]:
    """Always the five, in order."""
    given = {str(tier): count for tier, count in (tiers or {}).items()}
    return {tier: int(given.get(tier, 0)) for tier in TIERS}


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> list[str]:
    """A table for a person: as wide as the terminal, or as its content where stdout is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=10_000)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else printable(value)) for value in row))
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]
