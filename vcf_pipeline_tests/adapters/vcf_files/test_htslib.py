"""The second engine: exact values, named refusals, and a child that may crash, hang or be orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from vcf_pipeline.adapters.vcf_files.htslib import open_htslib
from vcf_pipeline.domain.errors import EngineStopped, Truncated

HEADER = """##fileformat=VCFv4.2
##contig=<ID=1>
##INFO=<ID=F,Number=1,Type=Float,Description="a real">
##INFO=<ID=L,Number=.,Type=Float,Description="reals">
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=G,Number=.,Type=Float,Description="reals">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO	FORMAT	a	b
"""
PIPE_FULL = 60_000
"""Records: more text than a pipe holds, so that the child is still there after the first block."""


def made(tmp_path: Path, *records: str) -> str:
    vcf = tmp_path / "made.vcf"
    vcf.write_text(HEADER + "".join(record.replace(" ", "\t") + "\n" for record in records))
    return str(vcf)


def lines_of(path: str) -> list[str]:
    with open_htslib(path, block_bytes=1 << 20) as source:
        return b"".join(source.blocks()).decode().splitlines()


@pytest.fixture
def long_vcf(tmp_path: Path) -> str:
    return made(tmp_path, *(f"1 {i + 1} . A C . PASS . GT 0/1 1/1" for i in range(PIPE_FULL)))


def test_reals_are_written_so_that_they_read_back_as_the_same_float32(tmp_path: Path) -> None:
    texts = ["0.1000000089", "33089895.84", "1e-30", "0.1234567", "5", "2.5e10"]
    path = made(tmp_path, *(f"1 10 . A C {text} PASS F={text};L={text},.,3 GT:G 0/1:{text},. 0/1" for text in texts))
    for text, line in zip(texts, lines_of(path), strict=True):
        columns = line.split("\t")
        values = [columns[5], columns[7].split(";")[0][2:], columns[7].split(";")[1][2:].split(",")[0]]
        values.append(columns[9].split(":")[1].split(",")[0])
        assert [np.float32(value) for value in values] == [np.float32(text)] * 4
        assert columns[7].endswith(",.,3")
        assert columns[9].endswith(",.")


def test_undeclared_keys_missing_values_and_special_numbers_stay(tmp_path: Path) -> None:
    path = made(tmp_path, "1 10 x A C nan PASS F=.;U=5;W GT:G:Z 0/1:.:q .", "1 11 . A . inf . L=nan,1 GT |")
    with open_htslib(path, block_bytes=1) as source, pytest.raises(EngineStopped):
        first = next(source.blocks()).decode().rstrip().split("\t")
        assert first[5] == "nan"
        assert first[7] == "F=.;U=5;W"
        assert first[9] == "0/1:.:q"
        list(source.blocks())


def test_the_header_of_a_text_file_is_its_own(tmp_path: Path) -> None:
    with open_htslib(made(tmp_path, "2 5 . A C . q . GT 0/1 0/1"), block_bytes=100) as source:
        assert source.header_text == HEADER
        assert b"".join(source.blocks()) == b"2\t5\t.\tA\tC\t.\tq\t.\tGT\t0/1\t0/1\n"


def test_a_header_without_records_gives_no_blocks(tmp_path: Path) -> None:
    assert lines_of(made(tmp_path)) == []


def test_a_blank_line_stays_one(tmp_path: Path) -> None:
    assert lines_of(made(tmp_path, "1 5 . A C . . . GT 0/1 0/1", "")) == ["1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0/1", ""]


def test_blocks_hold_whole_lines_and_progress_ends_at_the_files_size(long_vcf: str) -> None:
    with open_htslib(long_vcf, block_bytes=100_000) as source:
        blocks = list(source.blocks())
        assert source.progress() == (Path(long_vcf).stat().st_size,) * 2
    assert len(blocks) > 10
    assert all(block.endswith(b"\n") for block in blocks)
    assert sum(block.count(b"\n") for block in blocks) == PIPE_FULL


def test_a_record_that_htslib_refuses_is_named_with_its_message(tmp_path: Path) -> None:
    path = made(tmp_path, "1 5 . A C . . . GT 0/1 0/1", "1 6 . A C . . . GT a/b 0/1")
    with pytest.raises(EngineStopped) as caught, open_htslib(path, block_bytes=1 << 20) as source:
        list(source.blocks())
    assert caught.value.data["record_no"] == 1
    assert "record 2" in str(caught.value)
    assert "GT" in caught.value.data["htslib"]
    assert caught.value.code == "ENGINE_STOPPED"


def test_what_htslib_cannot_open_is_refused_without_a_record(tmp_path: Path) -> None:
    path = tmp_path / "junk.bcf"
    path.write_bytes(b"BCF\2\2" + bytes(100))
    with pytest.raises(EngineStopped, match="cannot open"), open_htslib(str(path), block_bytes=1):
        pass


def test_a_bgzf_file_without_its_end_marker_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "cut.bcf"
    path.write_bytes(bytes.fromhex("1f8b08040000000000ff060042430200") + bytes(40))
    with pytest.raises(Truncated), open_htslib(str(path), block_bytes=1):
        pass


@pytest.mark.corpus
def test_a_truncated_bcf_with_an_end_marker_stops_the_engine(corpus: Path, tmp_path: Path) -> None:
    import gzip

    whole = gzip.decompress((corpus / "large/hap.py__pg-hg38.bcf").read_bytes())
    path = tmp_path / "cut.bcf"
    path.write_bytes(whole[: len(whole) // 2 - 3])
    with pytest.raises(EngineStopped) as caught, open_htslib(str(path), block_bytes=1 << 20) as source:
        list(source.blocks())
    assert caught.value.data["record_no"] > 1000


def test_a_crash_of_the_child_is_an_error_that_names_the_signal(long_vcf: str) -> None:
    with pytest.raises(EngineStopped, match="SIGSEGV"), open_htslib(long_vcf, block_bytes=1000) as source:
        blocks = source.blocks()
        next(blocks)
        os.kill(source._child.pid, signal.SIGSEGV)
        list(blocks)


def test_a_child_that_hangs_is_ended(long_vcf: str) -> None:
    with open_htslib(long_vcf, block_bytes=1000) as source:
        child = psutil.Process(source._child.pid)
        blocks = source.blocks()
        next(blocks)
        child.suspend()
        source._hang_seconds = 0.2
        with pytest.raises(EngineStopped, match="no progress"):
            list(blocks)
    assert not child.is_running()


def test_an_interrupt_is_left_to_the_parent(long_vcf: str) -> None:
    with open_htslib(long_vcf, block_bytes=100_000) as source:
        blocks = source.blocks()
        lines = next(blocks).count(b"\n")
        os.kill(source._child.pid, signal.SIGINT)
        assert lines + sum(block.count(b"\n") for block in blocks) == PIPE_FULL


def test_a_reader_that_stops_early_leaves_no_child(long_vcf: str) -> None:
    with open_htslib(long_vcf, block_bytes=1000) as source:
        next(source.blocks())
        child = psutil.Process(source._child.pid)
    assert not child.is_running()


def test_the_child_ends_with_a_parent_that_was_killed(long_vcf: str) -> None:
    program = (
        "import sys\n"
        "from vcf_pipeline.adapters.vcf_files.htslib import open_htslib\n"
        f"with open_htslib({long_vcf!r}, block_bytes=1000) as source:\n"
        "    print(source._child.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []
