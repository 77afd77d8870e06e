"""`doctor`: what is in force and what is wrong. It repairs nothing, and makes no home where there is none.

Not here: repairs; a finding says in words what to do.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcf_pipeline.cli.meter import kernels_cached
from vcf_pipeline.cli.output import Call, one_line, printable, single_verb

if TYPE_CHECKING:
    from vcf_pipeline.settings import Settings
    from vcf_pipeline.wiring import Control

PACKAGES = (
    "vcf-pipeline",
    "dagster",
    "polars",
    "pyarrow",
    "numba",
    "lancedb",
    "kuzu",
    "cyvcf2",
    "apache-iggy",
)
LEAST_FREE_BYTES = 2 << 30
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^@/]*@")


@dataclass(frozen=True)
class Finding:
    """state: "ok", "note" (nothing is wrong) or "wrong"."""

    check: str
    state: str
    text: str


def doctor(call: Call) -> int:
    """Print what is in force and what is wrong; exit code 1 when something is."""
    import vcf_pipeline
    from vcf_pipeline.wiring import Control

    settings = call.settings()
    in_force = list(settings_in_force(settings))
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    with Control(settings) as control:
        findings = [
            _checked("home", lambda: _home(settings)),
            _checked("disk", lambda: _disk(settings)),
            _checked("dagster home", _dagster_home),
            _checked("kernels", lambda: _kernels(Path(vcf_pipeline.__file__).parent)),
        ]
        if settings.home.is_dir():
            findings += [
                _checked("ledger", lambda: _ledger(control)),
                *_brokers(control),
                *_providers(control),
                _checked("tables", lambda: _tables(control)),
                _checked("stores", lambda: _stores(control)),
                _checked("daemon", lambda: _daemon(control)),
            ]
    is_wrong = any(finding.state == "wrong" for finding in findings)
    if call.json:
        call.emit(
            {
                "ok": not is_wrong,
                "settings": {name: value for name, value, _ in in_force},
                "versions": versions,
                "checks": [vars(finding) for finding in findings],
            }
        )
    else:
        call.emit({}, _lines(in_force, versions, findings))
    return 1 if is_wrong else 0


def settings_in_force(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(variable, value, where it is from) of every setting; passwords in addresses are hidden."""
    from vcf_pipeline.settings import ALIASES, PREFIX, setting_names

    aliases = {name: alias for alias, name in ALIASES.items() if os.environ.get(alias)}
    derived = {
        "LEDGER_URL": settings.ledger_address,
        "INBOX": settings.inbox_folder,
        "IGGY__URL": settings.iggy.address or "",
    }
    for name, _, _ in setting_names():
        value: Any = settings
        for part in name[len(PREFIX) :].lower().split("__"):
            value = getattr(value, part)
        shown = derived.get(name[len(PREFIX) :], value)
        source = "environment" if name in os.environ else aliases.get(name, "default")
        yield name, _PASSWORD.sub(r"\1:***@", str(shown)), source


def _checked(name: str, look: Callable[[], Finding]) -> Finding:
    """A check that fails is a finding, whatever it fails with."""
    try:
        return look()
    except Exception as error:
        return Finding(name, "wrong", one_line(str(error) or type(error).__name__))


def _home(settings: Settings) -> Finding:
    home = settings.home
    if not home.exists():
        return Finding("home", "note", f"{home} does not exist yet; the first use makes it.")
    if not os.access(home, os.W_OK):
        return Finding("home", "wrong", f"{home} cannot be written; choose another with VCF_PIPELINE_HOME.")
    if home.stat().st_mode & 0o077:
        return Finding("home", "wrong", f"{home} can be read by others; run: chmod 700 {home}")
    return Finding("home", "ok", str(home))


def _disk(settings: Settings) -> Finding:
    folder = next(parent for parent in (settings.data, *settings.data.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB free for {settings.data}"
    return Finding("disk", "ok" if free >= LEAST_FREE_BYTES else "wrong", text)


def _dagster_home() -> Finding:
    from vcf_pipeline.settings import checkout_root

    root, named = checkout_root(), os.environ.get("DAGSTER_HOME")
    if root is None:
        return Finding("dagster home", "note", "an installed package: the daemon and the UI need a checkout.")
    if named and Path(named).resolve() != root.resolve():
        text = f'DAGSTER_HOME is {named}, this checkout is {root}; run: eval "$(vcf-pipeline env)"'
        return Finding("dagster home", "wrong", text)
    return Finding("dagster home", "ok", str(root))


def _kernels(root: Path) -> Finding:
    if kernels_cached(root):
        return Finding("kernels", "ok", "compiled")
    return Finding("kernels", "note", "not compiled yet; the first run does it once, in some seconds.")


def _ledger(control: Control) -> Finding:
    counts: dict[str, int] = {}
    for callset in control.ledger.callsets():
        counts[callset.state] = counts.get(callset.state, 0) + 1
    text = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "no callsets yet"
    return Finding("ledger", "note" if counts.get("failed") else "ok", text)


def _brokers(control: Control) -> list[Finding]:
    """A row for each broker, and one for the spool where something waits. One of several that fails is a note: what
    is sent goes elsewhere.
    """
    try:
        status = control.coordinator.status()
    except Exception as error:
        return [Finding("broker", "wrong", one_line(str(error) or type(error).__name__))]
    can_do_without = any(health["healthy"] for health in status["brokers"].values())
    findings = []
    for name, health in status["brokers"].items():
        facts = [f"{what} {text}" for what, text in health["details"].items()]
        if health["healthy"]:
            text = ", ".join(["healthy", f"{health['latency_ms']:.1f} ms", *facts])
            findings.append(Finding(f"broker {name}", "ok", text))
        else:
            text = ", ".join([one_line(health["reason"]) or "not healthy", *facts])
            findings.append(Finding(f"broker {name}", "note" if can_do_without else "wrong", text))
    spool = status["spool"]
    if spool is not None and spool["publications"]:
        text = f"{spool['announced']:,} callsets wait for a broker, {spool['used_bytes'] / 1e6:,.1f} MB"
        findings.append(
            Finding("spool", "note", f"{text}; the daemon of this home sends them on, or: vcf-pipeline spool drain")
        )
    return findings


def _providers(control: Control) -> list[Finding]:
    """Which are configured and what they would be asked with; nobody is called, and no key is shown."""
    from vcf_pipeline.adapters.providers.profiles import PROFILES
    from vcf_pipeline.wiring import provider_members

    ai, findings = control.settings.ai, []
    for member in provider_members(control.settings):
        given = control.settings.provider(member.name)
        has_key = bool(given.api_key.get_secret_value()) or not PROFILES[member.name].needs_key
        if member.problem:
            findings.append(Finding(f"provider {member.name}", "wrong", one_line(member.problem)))
        elif not has_key:
            text = f"no key; set VCF_PIPELINE_{member.name.upper()}__API_KEY"
            findings.append(Finding(f"provider {member.name}", "wrong", text))
        else:
            text = f"{member.provider.model}; try it with: vcf-pipeline providers check {member.name}"
            findings.append(Finding(f"provider {member.name}", "ok", text))
    if findings:
        spent = control.ledger.spent_today(control.settings.tenant) / 1_000_000
        text = f"{spent:.4f} of {ai.budget_usd_per_day:g} US dollars of today are spent or reserved"
        findings.append(Finding("ai budget", "ok", text))
    return findings


def _tables(control: Control) -> Finding:
    root = control.settings.data
    if not root.is_dir():
        return Finding("tables", "note", f"{root} does not exist yet")
    return Finding("tables", "ok" if os.access(root, os.W_OK) else "wrong", str(root))


def _stores(control: Control) -> Finding:
    """Every current load counted against the ledger."""
    from vcf_pipeline.stages.load_annotations import SEARCH, SearchLoad

    differing, loads = [], 0
    for callset in control.ledger.callsets(states=["done"]):
        for name in ("lancedb", "kuzu"):
            load = control.ledger.current_load(name, callset.key)
            if load is None:
                differing.append(f"{callset.key} is done, and {name} has no load of it")
                continue
            loads += 1
            if name == "lancedb" and (rows := control.lancedb.count(callset.tenant, load.load_id)) != load.rows:
                differing.append(f"{callset.key}: {name} has {rows:,} rows, the ledger says {load.rows:,}")
        if (held := control.ledger.current_load(SEARCH, callset.key)) is not None:
            loads += 1
            table = SearchLoad.parse(held.digest).table
            rows = control.lancedb_annotations.count(callset.tenant, table, callset.callset_id) if table else 0
            if rows != held.rows:
                differing.append(f"{callset.key}: {SEARCH} has {rows:,} rows, the ledger says {held.rows:,}")
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        return Finding("stores", "wrong", f"{differing[0]}{more}; run its file again with --force")
    return Finding("stores", "ok", f"{loads:,} loads as the ledger says")


def _daemon(control: Control) -> Finding:
    from vcf_pipeline.defs.launch import daemon_is_running

    if daemon_is_running(control):
        return Finding("daemon", "ok", "running")
    return Finding("daemon", "note", "none runs: `run` works without, published files wait. Start one with: make dev")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _lines(in_force: list[tuple[str, str, str]], versions: dict[str, str], findings: list[Finding]) -> Iterator[str]:
    width = max(len(name) for name, _, _ in in_force)
    yield "settings"
    for name, value, source in in_force:
        yield f"  {name:{width}}  {printable(value)}" + (f"  ({source})" if source != "default" else "")
    yield "versions"
    yield "  " + ", ".join(f"{name} {text}" for name, text in versions.items())
    yield "checks"
    for finding in findings:
        yield f"  {finding.state:5}  {finding.check}: {printable(finding.text)}"


app = single_verb(doctor)
