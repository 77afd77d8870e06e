"""Progress of a run or a publication, on stderr: a bar on a terminal, else a plain line every few seconds.

Not here: what is counted (the stages say); results (output.py).
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from vcf_pipeline.cli.output import printable, stderr_line

STOP_ASKED = threading.Event()
"""A signal asked to stop. Where it came inside a callback of the compiler its exception is lost, so it is looked for
at every step of progress too.
"""

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PLAIN_EVERY_SECONDS = 5.0


class Meter:
    """`with Meter(label) as meter: … meter.show(stage, done, total, unit, records)`."""

    def __init__(self, label: str) -> None:
        self._label = printable(label)
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}
        self._said = self._started = time.monotonic()
        self._waited_for = ""

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[counted]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, stage: str, done: int, total: int, unit: str, records: int = 0, via: str = "") -> None:
        """done of total (0: nobody knows) units of a stage; records as far as they are counted; via: which broker."""
        if STOP_ASKED.is_set():
            raise KeyboardInterrupt
        counted = f"{records:,} records" if records else _amount(done, unit)
        if via:
            seconds = time.monotonic() - self._started
            counted += f", {records / seconds:,.0f}/s via {via}" if seconds > 1.0 and records else f" via {via}"
        if self._bars is not None:
            task = self._tasks.get(stage)
            if task is None:
                task = self._tasks[stage] = self._bars.add_task(f"{self._label}: {stage}", counted="")
            self._bars.update(task, completed=done, total=total or None, counted=counted)
        elif (now := time.monotonic()) - self._said >= PLAIN_EVERY_SECONDS:
            share = f"{done / total:4.0%}, " if total else ""
            stderr_line(f"{self._label}: {stage} {share}{counted}, {now - self._started:.0f} s")
            self._said = now

    def waiting(self, holder: object = "") -> None:
        """Another process works on the same: said once for each holder."""
        text = printable(holder) or "another process"
        if text != self._waited_for:
            self._waited_for = text
            self.say(f"{self._label}: waiting for {text}")

    def say(self, text: str) -> None:
        """A line above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False)
        else:
            stderr_line(text)


def announce_compilation() -> None:
    """The first run after an installation compiles kernels: said first, so that nobody thinks it hangs."""
    import vcf_pipeline

    root = Path(vcf_pipeline.__file__).parent
    if not kernels_cached(root):
        stderr_line("compiling kernels (once, some seconds)")


def kernels_cached(root: Path) -> bool:
    """True when the tokeniser's compiled kernels lie in a cache that this process would use."""
    import os

    folders = [root / "domain" / "vcf" / "__pycache__"]
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        folders = [Path(named)]
    elif not os.access(root / "domain" / "vcf", os.W_OK):
        folders.append(Path.home() / ".cache" / "numba")
    return any(next(folder.rglob("tokens.*.nbi"), None) is not None for folder in folders if folder.is_dir())


def _amount(done: int, unit: str) -> str:
    return f"{done / 1e6:,.1f} MB" if unit == "bytes" else f"{done:,} {unit}"
