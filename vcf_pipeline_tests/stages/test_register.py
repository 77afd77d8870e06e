"""A file becomes a callset once, whatever it is called; what cannot is refused with a reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vcf_pipeline.adapters.ledger.callsets import Callset
from vcf_pipeline.adapters.ledger.ledger import Ledger, open_ledger
from vcf_pipeline.domain.errors import EngineStopped, InputRefused, NotAVcf, NotFound
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages import register as module
from vcf_pipeline.stages.register import label_of, register_callset
from vcf_pipeline_tests.vcf_text import header_text, record


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    path = tmp_path / "trio.vcf"
    path.write_text(header_text(info=("DP,1,Integer",)) + record(info="DP=3"))
    return path


def register(
    ledger: Ledger, path: Path, label: str | None = None, settings: ReaderSettings | None = None
) -> tuple[Callset, bool]:
    return register_callset(
        str(path),
        tenant="default",
        label=label,
        settings=settings or ReaderSettings(),
        ledger=ledger,
        new_id=lambda: "id-1",
    )


def test_the_same_bytes_under_two_names_are_one_callset(ledger: Ledger, vcf: Path) -> None:
    first, is_new = register(ledger, vcf)
    copy = vcf.with_name("copy.vcf")
    shutil.copy(vcf, copy)
    again, is_new_again = register(ledger, copy)
    assert (is_new, is_new_again) == (True, False)
    assert again.key == first.key
    assert (again.label, again.correlation_id) == ("trio", "id-1")
    assert (first.state, first.size_bytes, first.uri) == ("registered", vcf.stat().st_size, str(vcf))
    assert ReaderSettings.from_record(again.reader_settings) == ReaderSettings()


def test_a_label_that_is_given_wins_over_the_files_name(ledger: Ledger, vcf: Path) -> None:
    assert register(ledger, vcf, label="family 7")[0].label == "family 7"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("trio.vcf", "trio"),
        ("trio.vcf.gz", "trio"),
        ("trio.clinical.VCF.bgz", "trio.clinical"),
        ("trio.bcf", "trio"),
        ("trio.g.vcf.gz", "trio.g"),
        ("trio", "trio"),
        (".vcf", ".vcf"),
        (".vcf.gz", ".vcf"),
    ],
)
def test_the_label_is_the_files_name_without_its_endings(name: str, label: str) -> None:
    assert label_of(Path(name)) == label


def test_an_assembly_that_is_given_makes_another_callset(ledger: Ledger, vcf: Path) -> None:
    plain, _ = register(ledger, vcf)
    given, is_new = register(ledger, vcf, settings=ReaderSettings(assembly="GRCh37"))
    assert is_new
    assert given.key != plain.key
    assert given.assembly == "GRCh37"


def test_other_settings_make_it_stale_and_engine_or_block_size_do_not(ledger: Ledger, vcf: Path) -> None:
    callset, _ = register(ledger, vcf)
    ledger.mark_done(callset.key, records=1, alleles=1, rejected=0, digest="d1:x", generation=0)
    assert register(ledger, vcf, settings=ReaderSettings(engine="own", block_bytes=1 << 16))[0].state == "done"
    stale, is_new = register(ledger, vcf, settings=ReaderSettings(mode="strict"))
    assert (stale.state, is_new) == ("registered", False)


def test_after_a_forget_it_comes_again_in_the_next_generation(ledger: Ledger, vcf: Path) -> None:
    callset, _ = register(ledger, vcf)
    ledger.forget(callset.key)
    again, is_new = register(ledger, vcf, label="back")
    assert (again.generation, again.state, again.label, is_new) == (1, "registered", "back", True)


@pytest.mark.parametrize("name", ["missing.vcf", "."])
def test_a_missing_file_and_a_folder_leave_nothing_in_the_ledger(ledger: Ledger, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        register(ledger, tmp_path / name)
    assert ledger.callsets() == []


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 40, b"##fileformat=VCFv4.2\n1\t2\n"])
def test_what_is_no_vcf_leaves_one_refused_row_with_the_reason(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.vcf"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(NotAVcf) as found:
            register(ledger, path)
    (row,) = ledger.callsets()
    assert (row.state, row.code, row.reason) == ("refused", found.value.code, str(found.value))
    assert isinstance(found.value, InputRefused)
    assert found.value.exit_code == 3


def test_a_callset_that_is_done_stays_so_when_another_engine_cannot_open_its_file(
    ledger: Ledger, vcf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callset, _ = register(ledger, vcf)
    ledger.mark_done(callset.key, records=1, alleles=2, rejected=0, digest="d1:x", generation=0)
    done = ledger.callset(callset.key)

    def stopped(*args: Any, **given: Any) -> Any:
        raise EngineStopped(where=str(vcf), got="a file that this engine cannot open")

    monkeypatch.setattr(module, "open_reader", stopped)
    with pytest.raises(EngineStopped, match=r"stands: 2 alleles, read in mode quarantine\.$"):
        register(ledger, vcf, settings=ReaderSettings(engine="cyvcf2", mode="strict"))
    assert ledger.callset(callset.key) == done


def test_progress_ends_at_the_files_size(ledger: Ledger, vcf: Path) -> None:
    told: list[tuple[int, int]] = []
    register_callset(
        str(vcf),
        tenant="default",
        label=None,
        settings=ReaderSettings(),
        ledger=ledger,
        new_id=lambda: "id-1",
        progress=lambda *done: told.append(done),
    )
    assert told[-1] == (vcf.stat().st_size, vcf.stat().st_size)
