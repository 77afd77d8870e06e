"""What cannot be: each gets one clear line, its exit code, no traceback, and nothing is left behind.

In this process where that is the same thing, since an interpreter for each line would take a minute.
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from vcf_pipeline.adapters.ledger import schema
from vcf_pipeline.definitions import definitions
from vcf_pipeline.defs.launch import dagster_instance
from vcf_pipeline.defs.reconcile import reconcile_sensor
from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.cli.conftest import Cli, cli, home
from vcf_pipeline_tests.programs import Ended, vcf_pipeline
from vcf_pipeline_tests.vcf_text import bgzf

__all__ = ["cli", "home"]

GOOD = "##fileformat=VCFv4.2\n##contig=<ID=1,length=1000>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
TRIO = "scout__643594.clinical.vcf.gz"


def _missing(folder: Path, data: Path) -> Path:
    return folder / "nowhere.vcf.gz"


def _directory(folder: Path, data: Path) -> Path:
    (folder / "folder.vcf.gz").mkdir()
    return folder / "folder.vcf.gz"


def _nothing(folder: Path, data: Path) -> Path:
    (folder / "nothing.vcf.gz").write_bytes(b"")
    return folder / "nothing.vcf.gz"


def _truncated(folder: Path, data: Path) -> Path:
    whole = (data / TRIO).read_bytes()
    (folder / "truncated.vcf.gz").write_bytes(whole[: len(whole) // 2])
    return folder / "truncated.vcf.gz"


def _prose(folder: Path, data: Path) -> Path:
    (folder / "prose.vcf").write_text("Dear lab,\nplease find the variants attached.\n")
    return folder / "prose.vcf"


def _zipped_prose(folder: Path, data: Path) -> Path:
    (folder / "prose.vcf.gz").write_bytes(gzip.compress(b"Dear lab,\n" * 100))
    return folder / "prose.vcf.gz"


def _no_chrom(folder: Path, data: Path) -> Path:
    (folder / "no_chrom.vcf").write_text(GOOD.rsplit("#CHROM", 1)[0] + "1\t10\t.\tA\tC\t.\tPASS\t.\n")
    return folder / "no_chrom.vcf"


def _cut_late(folder: Path, data: Path) -> Path:
    """Parts of it are written before the end is missed."""
    whole = bgzf((GOOD + "".join(_line(pos) for pos in range(1, 40_000))).encode())
    (folder / "cut_late.vcf.gz").write_bytes(whole[: len(whole) * 9 // 10])
    return folder / "cut_late.vcf.gz"


def _full_of_rejects(folder: Path, data: Path) -> Path:
    lines = [
        _line("x" if number % 10 == 7 else number, ref="?" if number % 50 == 3 else "A") for number in range(1, 101)
    ]
    (folder / "full_of_rejects.vcf").write_text(GOOD + "".join(lines))
    return folder / "full_of_rejects.vcf"


def _line(pos: object, ref: str = "A") -> str:
    return f"1\t{pos}\t.\t{ref}\tC\t50\tPASS\t.\n"


NEVER_READ = [_missing, _directory]
BAD_FROM_THE_START = [_nothing, _prose, _zipped_prose, _no_chrom]
BAD_FURTHER_ON = [_truncated, _cut_late, _full_of_rejects]
BAD_FILES = [*NEVER_READ, *BAD_FROM_THE_START, *BAD_FURTHER_ON]


def assert_one_clear_line(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    errors = [line for line in ended.err.splitlines() if not line.startswith("compiling kernels")]
    assert len(errors) == 1, ended.err
    assert errors[0].startswith("error: ")
    assert "This is a bug" not in errors[0]
    for word in words:
        assert word in errors[0]


def left_in(home: Path) -> dict[str, object]:
    """Whatever there is of any callset; `refused`: how many rows of the ledger say that they are."""
    with Control(load_settings({}, home=home)) as control:
        callsets = control.ledger.callsets()
        with control.ledger.database.reading() as connection:
            held = connection.execute(sa.select(schema.leases.c.name).where(schema.leases.c.is_held)).scalars().all()
            loads = connection.execute(sa.select(schema.loads.c.load_id)).scalars().all()
            announced = connection.execute(sa.select(schema.announcements.c.publish_id)).scalars().all()
        with dagster_instance(control) as instance:
            partitions = instance.get_dynamic_partitions("callsets")
        return {
            "refused": sum(one.state == "refused" and bool(one.reason) and bool(one.code) for one in callsets),
            "callsets": len(callsets),
            "files": [path for path in control.tables.root.rglob("*") if path.is_file()],
            "folders": list(control.tables.root.rglob("parsed_variants")),
            "publications": [path for path in (control.home / "publish").rglob("*") if path.is_file()],
            "announcements": control.coordinator.wait([CALLSETS], Cursor(), 0),
            "others": [*held, *loads, *announced, *partitions],
        }


def nothing_but(n_refused: int) -> dict[str, object]:
    lists: dict[str, object] = {name: [] for name in ("files", "folders", "publications", "announcements", "others")}
    return {"refused": n_refused, "callsets": n_refused, **lists}


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("verb", ["run", "publish"])
def test_a_bad_file_is_refused_in_one_line_and_leaves_nothing(
    cli: Cli, home: Path, tmp_path: Path, data: Path, make: Callable[[Path, Path], Path], verb: str
) -> None:
    path = make(tmp_path, data)
    assert_one_clear_line(cli(verb, path, "--json"), 3, path.name)
    # a sender keeps no ledger of what it could not send
    assert left_in(home) == nothing_but(0 if verb == "publish" or make in NEVER_READ else 1)
    assert cli("query", "variants", "--json").out == ""


@pytest.mark.parametrize("make", [*NEVER_READ, *BAD_FROM_THE_START], ids=lambda make: make.__name__.strip("_"))
def test_registering_refuses_what_the_header_shows(
    cli: Cli, home: Path, tmp_path: Path, data: Path, make: Callable[[Path, Path], Path]
) -> None:
    path = make(tmp_path, data)
    assert_one_clear_line(cli("register", path, "--json"), 3, path.name)
    assert left_in(home) == nothing_but(0 if make in NEVER_READ else 1)


def test_what_is_registered_and_then_refused_leaves_no_partition(
    cli: Cli, home: Path, tmp_path: Path, data: Path
) -> None:
    path = _cut_late(tmp_path, data)
    assert cli("register", path).code == 0
    assert_one_clear_line(cli("run", path), 3, "TRUNCATED")
    assert left_in(home) == nothing_but(1)


def test_too_many_rejects_are_told_by_code_with_the_first_of_them(cli: Cli, tmp_path: Path, data: Path) -> None:
    path = _full_of_rejects(tmp_path, data)
    for verb in ("run", "publish"):
        ended = cli(verb, path)
        assert_one_clear_line(ended, 3, "TOO_MANY_REJECTS", "POS_NOT_INTEGER × 10", "REF_NOT_BASES × 2", "12 of 100")
        assert 'line 6, REF: expected bases A, C, G, T or N, got "?"' in ended.err


@pytest.mark.parametrize("verb", ["run", "publish"])
def test_strict_names_line_and_column_of_the_first_defect(cli: Cli, home: Path, tmp_path: Path, verb: str) -> None:
    path = tmp_path / "defective.vcf"
    path.write_text(GOOD + _line(1) + _line(2).replace("50", "high") + _line("x"))
    ended = cli(verb, path, "--mode", "strict")
    assert_one_clear_line(ended, 3, f'{path} line 5, QUAL: expected a number or ., got "high" (QUAL_NOT_NUMBER)')
    assert left_in(home) == nothing_but(1 if verb == "run" else 0)


def test_quarantine_sets_aside_what_is_below_the_share_and_says_where_it_was(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "two_bad.vcf"
    lines = [_line(pos) for pos in range(1, 301)]
    lines[99], lines[199] = _line("chr1"), _line(200, ref="Ä")
    path.write_text(GOOD + "".join(lines))
    record = cli("run", path, "--json").records[0]
    assert (record["records"], record["alleles"], record["rejected"]) == (300, 298, 2)
    tenant, _, callset_id = record["partition"].partition("/")
    with Control(load_settings({}, home=home)) as control:
        rejects = control.tables.read(tenant, callset_id, "parsed_variants", "rejects")
    told = rejects.select("record_no", "line", "column", "code", "raw").rows()
    assert told == [
        (99, 103, "POS", "POS_NOT_INTEGER", lines[99].rstrip()),
        (199, 203, "REF", "REF_NOT_BASES", lines[199].rstrip()),
    ]
    assert rejects["message"][0] == 'POS: expected a whole number, got "chr1". Mend the position.'
    content = path.read_bytes()
    for offset, raw in rejects.select("byte_offset", "raw").iter_rows():
        assert content[offset - 1 :].startswith(b"\n" + raw.encode() + b"\n")


def test_a_result_outlives_stricter_settings_that_refuse_its_file(cli: Cli, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "one_bad.vcf"
    path.write_text(GOOD + "".join(_line(pos) for pos in range(1, 300)) + _line("x"))
    (first,) = cli("run", path, "--json").records
    with Control(load_settings({}, home=home)) as control:
        (before,) = control.ledger.callsets()
    for _ in range(2):
        refused = cli("run", path, "--mode", "strict")
        assert_one_clear_line(refused, 3, "POS_NOT_INTEGER", "The earlier result stands: 299 alleles")
        assert "read in mode quarantine" in refused.err
    with Control(load_settings({}, home=home)) as control, dagster_instance(control) as instance:
        (after,) = control.ledger.callsets()
        assert instance.get_dynamic_partitions("callsets") == [str(after.key)]
    kept = ("state", "reader_settings", "settings_fingerprint", "digest", "records", "alleles", "rejected", "reason")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert after.state == "done"
    assert len(cli("query", "variants", "--limit", "1000", "--json").records) == 299
    (again,) = cli("run", path, "--json").records
    assert (again["reused"], again["digest"]) == (True, first["digest"])


def test_a_refusal_in_dagster_is_final(cli: Cli, home: Path, tmp_path: Path, data: Path) -> None:
    """As the daemon runs it: no step is tried again, no run asked for again, and the partition goes."""
    assert cli("register", _cut_late(tmp_path, data)).code == 0
    with Control(load_settings({}, home=home)) as control, dagster_instance(control) as instance:
        (callset,) = control.ledger.callsets()
        run = definitions.resolve_job_def("vcf_batch").execute_in_process(
            instance=instance, partition_key=str(callset.key), resources={"control": control}, raise_on_error=False
        )
        kinds = Counter(event.event_type_value for event in run.all_events)
        assert kinds["STEP_FAILURE"] == 1
        assert kinds["STEP_UP_FOR_RETRY"] == 0
        context = dg.build_sensor_context(instance=instance, definitions=definitions, resources={"control": control})
        asked = reconcile_sensor(context)
        assert asked.run_requests == []
        (removed,) = asked.dynamic_partitions_requests
        assert isinstance(removed, dg.DeleteDynamicPartitionsRequest)
        assert removed.partition_keys == [str(callset.key)]
        now = control.ledger.callset(callset.key)
        assert now is not None
        assert (now.state, now.code, now.is_permanent) == ("refused", "TRUNCATED", True)
        assert control.tables.manifest(callset.tenant, callset.callset_id, "parsed_variants") is None


def test_a_bad_file_does_not_stop_the_good_one(cli: Cli, tmp_path: Path, data: Path) -> None:
    (tmp_path / "good.vcf").write_text(GOOD + "1\t10\t.\tA\tC\t50\tPASS\t.\n")
    ended = cli("run", _nothing(tmp_path, data), tmp_path / "good.vcf", "--json")
    assert ended.code == 3
    assert [record["records"] for record in ended.records] == [1]
    assert "nothing.vcf.gz" in ended.err


@pytest.mark.parametrize("tenant", ["Lab", "-x", "a/b", "a" * 40, "a\n", ""])
def test_a_wrong_tenant_is_a_wrong_call(cli: Cli, tmp_path: Path, tenant: str) -> None:
    (tmp_path / "good.vcf").write_text(GOOD)
    ended = cli("run", tmp_path / "good.vcf", "--tenant", tenant)
    assert_one_clear_line(ended, 2, "tenant", "BAD_TENANT_NAME")


@pytest.mark.parametrize("verb", ["show", "forget"])
@pytest.mark.parametrize("name", ["default/0123456789abcdef", "0123456789abcdef", "nobody", "../../etc"])
def test_an_unknown_partition_is_a_wrong_call(cli: Cli, verb: str, name: str) -> None:
    assert_one_clear_line(cli("callsets", verb, name, *(["--yes"] if verb == "forget" else [])), 2)


def test_an_unknown_variable_names_the_nearest(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCF_PIPELINE_TENNANT", "x")
    assert_one_clear_line(cli("callsets", "list"), 2, "VCF_PIPELINE_TENNANT", "VCF_PIPELINE_TENANT?")
    assert not home.exists()


@pytest.mark.parametrize("variable", ["DAGSTER_HOME", "VCF_PIPELINE_HOME", "VCF_PIPELINE_DATA"])
def test_a_relative_home_is_a_wrong_call(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "somewhere")
    assert_one_clear_line(cli("callsets", "list"), 2, variable, "absolute")
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_cannot_be_is_a_wrong_call(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCF_PIPELINE_READER__MAX_REJECT_SHARE", "lots")
    assert_one_clear_line(cli("callsets", "list"), 2, "VCF_PIPELINE_READER__MAX_REJECT_SHARE", "lots")


def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    ended = vcf_pipeline(tmp_path / "home", "run", tmp_path / "nowhere.vcf", check=False)
    assert_one_clear_line(ended, 3, "nowhere.vcf")
    assert "Traceback" not in ended.err
    assert sys.executable not in ended.err
