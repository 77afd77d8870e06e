"""The rules of the house that a machine can check: imports, maps, names, what lies where, what pages say.

Not here: the direction of imports among layers in general, which `lint-imports` holds by pyproject.toml.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vcf_pipeline.domain.triage.presets import PRESETS
from vcf_pipeline.domain.triage.rules import CAPS, LIMITS, NOTES, RULES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vcf_pipeline"
TESTS = ROOT / "vcf_pipeline_tests"
MODULES = sorted(path for folder in (PACKAGE, TESTS) for path in folder.rglob("*.py"))
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("__init__.py")})

TOP_LEVEL = {
    *(".ci", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml", "docker", "docs", "k8s"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "dagster.yaml"),
    *("pyproject.toml", "requirements.lock", "vcf_pipeline", "vcf_pipeline_tests", "workspace.yaml"),
}
SAYS_NOTHING = re.compile(r"(.*_)?(utils?|helpers?|common|misc|tools?|magic_numbers)\.py")
# the reading of a word apart, so that this file does not hold what it looks for
OF_ONE_MACHINE = re.compile("|".join(["/wor" + "k/", "/ro" + "ot/", "--index" + "-url", "--find" + "-links"]))
DAGSTER_MAY = (PACKAGE / "definitions.py", PACKAGE / "defs")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files are the project's")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def imported(path: Path) -> set[str]:
    """Top names of every import, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- imports


def test_only_definitions_and_defs_import_dagster():
    guilty = [
        short(path)
        for path in PACKAGE.rglob("*.py")
        if not any(path.is_relative_to(place) for place in DAGSTER_MAY)
        and any(name == "dagster" or name.startswith("dagster_") for name in imported(path))
    ]
    assert guilty == []


def test_domain_imports_nothing_that_acts():
    acts = {
        "os",
        "io",
        "socket",
        "subprocess",
        "time",
        "random",
        "secrets",
        "sqlite3",
        "tempfile",
        "shutil",
        "asyncio",
    }
    acts |= {
        "lancedb",
        "kuzu",
        "cyvcf2",
        "sqlalchemy",
        "alembic",
        "apache_iggy",
        "psutil",
        "uuid_utils",
        "openai",
    }
    guilty = {short(path): sorted(acts & imported(path)) for path in (PACKAGE / "domain").rglob("*.py")}
    assert {path: names for path, names in guilty.items() if names} == {}


def test_adapters_are_strangers_to_each_other():
    adapters = PACKAGE / "adapters"
    guilty = []
    for path in adapters.rglob("*.py"):
        own = path.relative_to(adapters).parts[0].removesuffix(".py")
        named = set(re.findall(r"vcf_pipeline\.adapters\.(\w+)", path.read_text()))
        guilty += [f"{short(path)} knows {other}" for other in named - {own, "objects"}]
    assert guilty == []


def test_heavy_vendors_are_imported_where_they_are_used():
    heavy = {"lancedb", "kuzu", "cyvcf2", "openai", "apache_iggy", "confluent_kafka"}
    guilty = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = {alias.name.partition(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module.partition(".")[0]}
            guilty += [f"{short(path)}: {name}" for name in names & heavy]
    assert guilty == []


def test_the_command_line_starts_without_the_heavy_ones_and_reads_no_environment():
    """A child with an unknown setting and a home that cannot be made: importing asks for neither."""
    program = (
        "import sys, vcf_pipeline, vcf_pipeline.cli.app;"
        "heavy = {'polars', 'lancedb', 'dagster', 'pyarrow', 'numba', 'kuzu', 'cyvcf2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    strange = {
        "VCF_PIPELINE_NO_SUCH_SETTING": "1",
        "VCF_PIPELINE_HOME": "/dev/null/home",
        "DAGSTER_HOME": "relative",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **strange},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# --- names and maps


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_a_folders_init_is_its_map(folder):
    """Every file and folder once, a line each, `name.py   what it is`; nothing that is not there."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    mapped = re.findall(r"^([a-z_0-9]+(?:\.py|/))(?= |,|$)", text, flags=re.MULTILINE)
    there = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    there |= {f"{path.name}/" for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert sorted(mapped) == sorted(there)


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != PACKAGE], ids=short)
def test_an_init_gives_no_names(folder):
    """It is a map: nothing of our own is imported by it or defined in it, so no import starts wiring."""
    text = (folder / "__init__.py").read_text()
    defined = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign)
    ]
    assert defined == []
    assert "import vcf_pipeline" not in text
    assert "from vcf_pipeline" not in text


def test_every_module_says_what_it_is():
    silent = [
        short(path)
        for path in MODULES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_file_has_a_name_that_says_nothing():
    assert [short(path) for path in MODULES if SAYS_NOTHING.fullmatch(path.name)] == []


def test_tests_mirror_the_package():
    """vcf_pipeline_tests/domain/… only where vcf_pipeline/domain/… is."""
    own = {"journeys", "chaos", "oracles", "benchmarks", "data"}
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    strangers = [str(path) for path in folders if path.parts[:1] and path.parts[0] not in own]
    assert [name for name in strangers if not (PACKAGE / name).is_dir()] == []


# --- what may lie where


def test_the_top_level_holds_only_what_it_is_known_for():
    assert sorted({path.relative_to(ROOT).parts[0] for path in tracked()} - TOP_LEVEL) == []


def test_no_tracked_file_names_a_machine_or_a_registry():
    guilty = []
    for path in tracked():
        if path.suffix in (".gz", ".bgz", ".bcf", ".png", ".vcf"):
            continue
        for at, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if OF_ONE_MACHINE.search(line):
                guilty.append(f"{short(path)}:{at} {line.strip()[:80]}")
    assert guilty == []


def test_the_lock_pins_every_package_with_a_hash_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.findall(
        r"^([a-z0-9][a-z0-9._-]*)(\[[a-z,]+\])?==[^ ]+(?: ; [^\\]+)? \\\n    --hash=sha256:", text, re.M
    )
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(entries) == len(lines)
    assert not re.search(r"https?://|--", text.replace("--hash=", ""))


def test_the_lock_holds_what_the_project_asks_for():
    locked = {
        name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)", (ROOT / "requirements.lock").read_text(), re.M)
    }
    assert sorted(_dependencies() - locked) == []


def test_test_data_has_an_origin_and_the_checksum_it_says():
    import hashlib

    header, *lines = (TESTS / "data" / "ORIGIN.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "from", "licence", "sha256"]
    rows = {line.split("\t")[0]: line.split("\t") for line in lines}
    assert len(rows) == len(lines)
    files = {path.name: path for path in (TESTS / "data").iterdir() if path.is_file() and path.name != "ORIGIN.tsv"}
    assert sorted(rows) == sorted(files)
    for name, path in files.items():
        assert rows[name][1:] == [*rows[name][1:3], hashlib.sha256(path.read_bytes()).hexdigest()], name


# --- what a page must say


def _dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in asked}


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    reasons = set(re.findall(r"^\| ([a-z0-9._-]+) \|", page, re.M)) - {"package", "---"}
    assert reasons == _dependencies()


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[([a-z-]+\.md)\]", (folder / "index.md").read_text(), re.M)
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.md") if path.name != "index.md")


def test_the_triage_page_is_the_table_of_the_rules():
    page = (ROOT / "docs" / "triage.md").read_text()
    rules = [
        f"| {rule.line} | {rule.tier or 'unknown'} | `{rule.code}` | {rule.says} | {rule.citation} |" for rule in RULES
    ]
    caps = [f"| `{cap.code}` | {cap.says} |" for cap in CAPS]
    assert _between(page, "rules")[2:] == rules
    assert _between(page, "caps")[2:] == caps
    assert _between(page, "notes")[2:] == [f"| `{note.code}` | {note.says} |" for note in NOTES]
    assert _between(page, "limits")[2:] == [f"| `{code}` | {limit} |" for code, limit in LIMITS.items()]
    assert list(LIMITS) == [one.code for one in (*RULES, *CAPS, *NOTES)]


def test_the_page_of_sources_is_the_table_of_the_presets():
    page = (ROOT / "docs" / "sources.md").read_text()
    rows = []
    for preset in PRESETS.values():
        fields = ", ".join(f"`{key}`" for key in preset.fields()) or "none"
        rows.append(f"| `{preset.name}` | {', '.join(preset.kinds)} | {preset.read_as} | {fields} |")
    assert _between(page, "presets")[2:] == rows


def _between(page: str, name: str) -> list[str]:
    return page.partition(f"<!-- {name}: begin -->\n")[2].partition(f"<!-- {name}: end -->")[0].splitlines()


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)#]+)", page.read_text())]
    assert links
    assert [
        f"{short(page)}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ] == []


@pytest.mark.xdist_group("house")
def test_a_group_of_tests_stays_on_one_worker(request: pytest.FixtureRequest):
    """It groups by what it puts behind a test's id; under a pytest that does not let it, each starts a daemon."""
    assert request.node.nodeid.endswith("@house") == ("PYTEST_XDIST_WORKER" in os.environ)
