"""`demo`: two real files through the whole pipeline, by stream and by batch, and the proof that both agree.

The daemon and every command are the real ones, as child processes in homes of their own under HOME/demo; what
was started is ended, whatever happens. Not here: any step of the pipeline itself.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vcf_pipeline.cli.meter import announce_compilation
from vcf_pipeline.cli.output import TIERS, TRIAGE_NOTE, Call, printable, single_verb, stderr_line, table_lines
from vcf_pipeline.domain.errors import BadSetting, PipelineError
from vcf_pipeline.domain.identity import PartitionKey

if TYPE_CHECKING:
    from vcf_pipeline.settings import Settings

TRIO = "scout__643594.clinical.vcf.gz"
CLINVAR = "slivar__clinvar_20191007.vcf.gz"
DAEMON_PATIENCE_SECONDS = 180.0
COMMAND_PATIENCE_SECONDS = 240.0
END_PATIENCE_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.1
VARIANTS_SHOWN = 3
GENES_SHOWN = 8


def demo(call: Call) -> int:
    """See real VCFs go through stream and batch, and search them. About half a minute."""
    started = time.monotonic()
    folder = call.settings().home / "demo"
    trio, clinvar = _files()
    say = _Narrator(started)
    homes = _fresh_homes(folder)
    main, scratch = homes["main"], homes["scratch"]
    announce_compilation()
    with ExitStack() as children:
        daemon = children.enter_context(_daemon(main))
        say(f"daemon started, its log is {daemon.log}")
        sent = _finish(_command(children, main, "publish", str(trio), "--label", "trio"))
        say(f"{TRIO} published: {sent['records']:,} records in {sent['chunks']} chunks, {sent['seconds']} s")
        batch = _command(children, main, "run", str(clinvar), "--label", "clinvar-2019")
        by_batch = _finish(batch)
        say(f"{CLINVAR} by batch: {by_batch['records']:,} records, {by_batch['seconds']:.1f} s")
        other = _command(children, scratch, "run", str(trio), "--label", "trio")
        streamed = _when_done(main, PartitionKey.parse(sent["partition"]), daemon)
        say("the sensor took the published trio up; its run has ended")
        scratched = _finish(other)
        say(f"{TRIO} by batch, in a home of its own: {scratched['seconds']:.1f} s")
    is_equal = streamed["digest"] == scratched["digest"]
    record = {
        "partition": streamed["partition"],
        "stream_digest": streamed["digest"],
        "batch_digest": scratched["digest"],
        "equal": is_equal,
        "records": scratched["records"],
        "alleles": scratched["alleles"],
        "tiers": scratched["tiers"],
        "stores": scratched["stores"],
        "batch_partition": by_batch["partition"],
        "home": str(main.home),
        "seconds": round(time.monotonic() - started, 1),
    }
    if call.json:
        call.emit(record)
    else:
        call.emit(record, _summary(main, record))
    if not is_equal:
        stderr_line(f"error: the digests differ: stream {streamed['digest']}, batch {scratched['digest']}.")
    return 0 if is_equal else 1


class _Narrator:
    """Steps as they end, with the time since the start, on stderr."""

    def __init__(self, started: float) -> None:
        self._started = started

    def __call__(self, text: str) -> None:
        stderr_line(f"{time.monotonic() - self._started:5.1f} s  {text}")


class _Child:
    """A process in a group of its own, its output in a file."""

    def __init__(self, words: list[str], settings: Settings, log: Path, *, is_quiet: bool) -> None:
        self.words, self.log = words, log
        self._log_handle: IO[bytes] = log.open("wb")
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self._log_handle if is_quiet else subprocess.PIPE,
            stderr=self._log_handle,
            env=_environment(settings),
            cwd=settings.home,
            start_new_session=True,
        )

    def end(self) -> None:
        """Ask, then make it and whatever it started stop."""
        for request in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, request)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_PATIENCE_SECONDS)
                break
        # What the leader left behind in its group (a code server, a run) ends with it.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._log_handle.close()

    def last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"


@contextmanager
def _started(child: _Child) -> Iterator[_Child]:
    try:
        yield child
    finally:
        child.end()


def _daemon(settings: Settings) -> Any:
    log = settings.home.parent / f"daemon-{settings.home.name}.log"
    workspace = Path(_environment(settings)["DAGSTER_HOME"]) / "workspace.yaml"
    words = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    return _started(_Child(words, settings, log, is_quiet=True))


def _command(children: ExitStack, settings: Settings, *words: str) -> _Child:
    """One of our own commands, with JSON on its stdout."""
    log = settings.home.parent / f"{words[0]}-{settings.home.name}.log"
    whole = [sys.executable, "-m", "vcf_pipeline.cli.app", *words, "--json"]
    return children.enter_context(_started(_Child(whole, settings, log, is_quiet=False)))


def _finish(child: _Child) -> dict[str, Any]:
    """The result of a command. Raises PipelineError with its last words when it failed."""
    try:
        out, _ = child.process.communicate(timeout=COMMAND_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise _broken(child, f"no end within {COMMAND_PATIENCE_SECONDS:.0f} s") from None
    if child.process.returncode != 0:
        raise _broken(child, f"exit code {child.process.returncode}: {child.last_words()}")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _when_done(settings: Settings, key: PartitionKey, daemon: _Child) -> dict[str, Any]:
    """The ledger's row of the callset once the daemon has made it searchable."""
    from vcf_pipeline.wiring import Control

    with Control(settings) as control:

        def look() -> dict[str, Any] | None:
            callset = control.ledger.callset(key)
            if callset is None or callset.state not in ("done", "failed", "refused"):
                return None
            if callset.state != "done":
                raise _broken(daemon, f"{key} is {callset.state}: {callset.reason}")
            return {"partition": str(key), "digest": callset.digest}

        return _until(look, daemon)


def _until(look: Callable[[], dict[str, Any] | None], daemon: _Child) -> dict[str, Any]:
    deadline = time.monotonic() + DAEMON_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        if daemon.process.poll() is not None:
            raise _broken(daemon, f"exit code {daemon.process.returncode}: {daemon.last_words()}")
        time.sleep(LOOK_EVERY_SECONDS)
    raise _broken(daemon, f"nothing done within {DAEMON_PATIENCE_SECONDS:.0f} s")


def _broken(child: _Child, got: str) -> PipelineError:
    return PipelineError(
        where=" ".join(Path(word).name for word in child.words[1:4]),
        expected="it to do its part of the demo",
        got=got,
        repair=f"Its log is {child.log}",
        code="DEMO_FAILED",
    )


def _files() -> tuple[Path, Path]:
    from vcf_pipeline.settings import checkout_root

    root = checkout_root()
    folder = root / "vcf_pipeline_tests" / "data" if root else None
    if folder is None or not all((folder / name).is_file() for name in (TRIO, CLINVAR)):
        raise BadSetting(
            where="demo",
            expected="a checkout of the project, with its test data",
            got="an installed package",
            repair="Clone the project and run `make demo` there, or: vcf-pipeline run YOUR.vcf.gz",
        )
    return folder / TRIO, folder / CLINVAR


def _fresh_homes(folder: Path) -> dict[str, Settings]:
    """Two empty homes; those of the last demo are removed."""
    from vcf_pipeline.settings import load_settings

    homes = {}
    for name in ("main", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True, mode=0o700)
        homes[name] = load_settings(_without_own_settings(), home=folder / name)
    return homes


def _without_own_settings() -> dict[str, str]:
    """The environment without the person's own settings: the demo is the same for everybody."""
    from vcf_pipeline.settings import PREFIX

    return {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}


def _environment(settings: Settings) -> dict[str, str]:
    """A child's environment: this home, and no setting of the person's own."""
    from vcf_pipeline.defs.instance_storage import make_instance_storage
    from vcf_pipeline.settings import dagster_environment

    make_instance_storage(settings.home)
    return {**_without_own_settings(), **dagster_environment(settings), "PYTHONUNBUFFERED": "1"}


def _summary(settings: Settings, record: dict[str, Any]) -> Iterator[str]:
    from vcf_pipeline.cli.query import found_rows
    from vcf_pipeline.cli.run import top_genes
    from vcf_pipeline.wiring import Control

    with Control(settings) as control:
        key = PartitionKey.parse(record["partition"])
        genes = top_genes(control, key)
        rows = found_rows(control, callset=key.callset_id, limit=VARIANTS_SHOWN)
    yield ""
    yield f"The trio ({record['records']:,} records, {record['alleles']:,} alleles) by stream and by batch:"
    verdict = "equal" if record["equal"] else "DIFFERENT"
    yield f"  stream {record['stream_digest']}"
    yield f"  batch  {record['batch_digest']}   {verdict}"
    yield ""
    yield from table_lines(
        ["tier", "alleles"], [[tier, f"{record['tiers'][tier]:,}"] for tier in TIERS], right=["alleles"]
    )
    yield f"({TRIAGE_NOTE})"
    if genes:
        yield ""
        yield "Genes to look at first (alleles of tiers 1 to 3): " + ", ".join(
            f"{printable(gene)} {count}" for gene, count in genes[:GENES_SHOWN]
        )
    yield ""
    yield from table_lines(
        ["tier", "variant", "gene", "consequence", "reasons"],
        [
            [
                row["tier"],
                f"{row['contig']}:{row['pos']} {row['ref']}>{row['alt']}",
                row["gene"],
                row["consequence"],
                ", ".join(row["reasons"] or []),
            ]
            for row in rows
        ],
    )
    yield ""
    yield f"Done in {record['seconds']} s. Both are searchable until the next demo:"
    home = Call(home=settings.home)
    if (line := activation()) is not None:
        yield "  " + line
    yield "  " + home.command("query", "variants", "--tier", "1-3")
    yield "  " + home.command("query", "graph", "shared-genes")
    yield "  " + home.command("callsets", "list")
    yield "Your own file, in your own home:"
    yield "  " + Call().command("run", "YOUR.vcf.gz")


def activation() -> str | None:
    """What a person types so that this shell finds `vcf-pipeline`; None where it does, or where nothing is known."""
    script = Path(sys.executable).parent / "activate"
    if shutil.which("vcf-pipeline") is not None or not script.is_file():
        return None
    return shlex.join([".", str(script)])


app = single_verb(demo)
