"""What cannot be: each gets one clear line, its exit code, no traceback, and nothing is left behind.

In this process where that is the same thing, since an interpreter for each line would take a minute.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vcf_pipeline_tests.cli.conftest import Cli, cli, home
from vcf_pipeline_tests.programs import Ended, vcf_pipeline

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


BAD_FILES = [_missing, _directory, _nothing, _truncated, _prose, _zipped_prose, _no_chrom]


def assert_one_clear_line(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    errors = [line for line in ended.err.splitlines() if not line.startswith("compiling kernels")]
    assert len(errors) == 1, ended.err
    assert errors[0].startswith("error: ")
    assert "This is a bug" not in errors[0]
    for word in words:
        assert word in errors[0]


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("verb", ["run", "publish", "register"])
def test_a_bad_file_is_refused_in_one_line_and_leaves_nothing(
    cli: Cli, home: Path, tmp_path: Path, data: Path, make: Callable[[Path, Path], Path], verb: str
) -> None:
    if verb == "register" and make is _truncated:
        pytest.skip("register reads the header alone; the run that reads on refuses the file")
    path = make(tmp_path, data)
    assert_one_clear_line(cli(verb, path, "--json"), 3, path.name)
    listed = cli("callsets", "list", "--json")
    assert {record["state"] for record in listed.records} <= {"refused"}
    assert [file.name for file in home.rglob("*.parquet")] == []
    assert [file.name for file in home.rglob("manifest.json")] == []
    assert cli("query", "variants", "--json").out == ""


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
