"""reader.py: whole files through either engine, what is refused and when, and the corpus' oddest files."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import (
    ChangedWhileRead,
    DefectFound,
    EngineStopped,
    InputRefused,
    NotAVcf,
    NotFound,
    TooManyRejects,
    Truncated,
)
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.vcf_text import bgzf, header_text, joined, record

SETTINGS = ReaderSettings()


def _read(path: Path, settings: ReaderSettings = SETTINGS) -> list[ParsedBatch]:
    with open_reader(str(path), settings) as reader:
        return list(reader.batches())


@pytest.fixture
def written(tmp_path: Path) -> object:
    def write(content: bytes | str, name: str = "file.vcf") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def _vcf(n: int, **header: object) -> str:
    return header_text(info=("DP,1,Integer",)) + "".join(
        record("C,G" if number % 5 == 0 else "T", f"DP={number}", pos=number + 1) for number in range(n)
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bgzf], ids=["plain", "gzip", "bgzf"])
@pytest.mark.parametrize("block_bytes", [1000, 4 << 20])
def test_every_wrapping_and_block_size_gives_the_same_rows(pack, block_bytes: int, written) -> None:
    text = _vcf(2000).encode()
    frame = joined(_read(written(pack(text)), ReaderSettings(block_bytes=block_bytes)))
    assert frame.height == 2400
    assert frame["record_no"].unique().sort().to_list() == list(range(2000))
    assert frame["info_DP"].to_list() == frame["record_no"].to_list()


def test_a_header_without_records_is_a_callset_of_no_rows(written) -> None:
    with open_reader(str(written(header_text())), SETTINGS) as reader:
        assert list(reader.batches()) == []
        assert reader.header.version == reader.vcf_version == "VCFv4.3"


def test_the_source_has_its_hash_when_everything_was_read(written) -> None:
    path = written(bgzf(_vcf(50).encode()))
    with open_reader(str(path), SETTINGS) as reader:
        assert reader.source["sha256"] is None
        list(reader.batches())
        size = path.stat().st_size
        assert reader.source == {
            "uri": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": size,
        }
        assert reader.progress() == (size, size)
    with open_reader(str(path), SETTINGS, sha256="ab" * 32) as reader:
        assert reader.source["sha256"] == "ab" * 32


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (b"", NotAVcf, "0 bytes"),
        (b"\x89PNG\r\n", NotAVcf, "a VCF header"),
        (gzip.compress(b"", mtime=0), NotAVcf, "a file without text"),
        (bgzf(b""), NotAVcf, "a file without text"),
        (header_text(samples=("a", "a")), NotAVcf, "file.vcf line 2"),
        (bgzf(_vcf(3000).encode(), end_marker=False), Truncated, "end-of-file marker"),
        (bgzf(_vcf(3000).encode())[:-40], Truncated, "byte"),
    ],
)
def test_a_file_that_is_no_whole_vcf_is_refused_with_its_name(content, error, told: str, written) -> None:
    with pytest.raises(error, match=told) as refused:
        _read(written(content))
    assert "file.vcf" in str(refused.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bgzf], ids=["plain", "gzip", "bgzf"])
@pytest.mark.parametrize("engine", ["own", "cyvcf2"])
@pytest.mark.parametrize("samples", [(), ("kid", "mum")], ids=["sites", "samples"])
def test_a_last_line_that_was_cut_is_refused_with_its_number(pack, engine: str, samples, written) -> None:
    calls = ("GT", "0/1", "0/0") if samples else ()
    head = header_text(formats=("GT,1,String",) if samples else (), samples=samples, lines=("##contig=<ID=1>",))
    whole = head + "".join(record("T", ".", *calls, pos=number + 1) for number in range(2000))
    cut = pack(whole[: whole.rindex("\t")].encode())
    with pytest.raises(InputRefused) as refused:
        _read(written(cut), ReaderSettings(engine=engine))
    if engine == "own":
        assert isinstance(refused.value, Truncated)
        assert f"file.vcf line {whole.count(chr(10))}: " in str(refused.value)
        assert f"{10 if samples else 7} of {11 if samples else 8} columns, and no line end" in str(refused.value)
    without_end = _read(written(pack(whole[:-1].encode())), ReaderSettings(engine=engine))
    assert sum(batch.variants.height for batch in without_end) == 2000
    assert not any(batch.rejects.height for batch in without_end)


def test_a_short_line_that_ends_is_one_bad_record_and_blanks_at_the_end_are_no_cut_line(written) -> None:
    body = "".join(record(pos=number + 1) for number in range(1000))
    (short,) = _read(written(header_text() + body + "1\t1001\n"))
    assert short.rejects["code"].to_list() == ["COLUMN_COUNT"]
    (blank,) = _read(written(header_text() + body + "  "))
    assert blank.variants.height == 1000


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound), open_reader(str(tmp_path / "none.vcf"), SETTINGS):
        pass


def test_too_many_rejects_refuse_the_file_at_its_end(written) -> None:
    lines = [record(pos="x") if number in (10, 20) else record() for number in range(100)]
    path = written(header_text() + "".join(lines))
    batches = []
    with open_reader(str(path), SETTINGS) as reader, pytest.raises(TooManyRejects) as refused:
        batches.extend(reader.batches())
    assert (refused.value.rejected, refused.value.records) == (2, 100)
    assert refused.value.by_code == {"POS_NOT_INTEGER": 2}
    line = header_text().count("\n") + 11
    assert f'The first: line {line}, POS: expected a whole number, got "x".' in str(refused.value)
    assert len(_read(path, ReaderSettings(max_reject_share=0.02))) == 1


def test_a_first_block_of_nothing_but_rejects_refuses_at_once(written) -> None:
    path = written(header_text() + record(pos="x") * 50 + record() * 100_000)
    settings = ReaderSettings(block_bytes=500, max_reject_share=0.5)
    with pytest.raises(TooManyRejects) as refused:
        _read(path, settings)
    assert refused.value.records < 100


def test_values_made_null_do_not_weigh_on_the_share(written) -> None:
    text = header_text(info=("DP,1,Integer",)) + record("C", "DP=x") * 10
    (batch,) = _read(written(text))
    assert batch.defect_counts == {"INFO_NOT_INTEGER": 10}


def test_strict_names_the_file_and_the_line(written) -> None:
    path = written(header_text() + record() + record(pos="x"))
    with pytest.raises(DefectFound, match=r"file\.vcf line 4, POS: expected a whole number") as refused:
        _read(path, ReaderSettings(mode="strict"))
    assert (refused.value.line, refused.value.column, refused.value.code) == (4, "POS", "POS_NOT_INTEGER")


def test_a_file_that_grows_while_it_is_read_is_refused(written) -> None:
    path = written(_vcf(100))
    with open_reader(str(path), SETTINGS) as reader, pytest.raises(ChangedWhileRead):
        for _ in reader.batches():
            with path.open("a") as more:
                more.write(record())


def test_both_engines_fill_equal_tables(written) -> None:
    text = header_text(
        info=("DP,1,Integer", "AF,A,Float", "S,.,String", "F,0,Flag"),
        formats=("GT,1,String", "GQ,1,Float"),
        samples=("a", "b"),
        lines=("##contig=<ID=1,length=249250621>",),
    ) + "".join(
        record("C,G", f"DP={number};AF=0.{number}1,1e-07;S=x,y;F", "GT:GQ", "0/1:3.25", "2|1:0.1", pos=number)
        for number in range(1, 300)
    )
    path = written(text)
    own, other = (_read(path, ReaderSettings(engine=engine)) for engine in ("own", "cyvcf2"))
    for table in ("variants", "genotypes"):
        assert_frame_equal(joined(own, table), joined(other, table), check_exact=True)


def test_a_bcf_goes_to_htslib_and_never_to_the_own_engine(corpus: Path) -> None:
    path = corpus / "large" / "hap.py__pg-hg38.bcf"
    with open_reader(str(path), SETTINGS) as reader:
        assert reader.engine == "cyvcf2"
        first = next(reader.batches())
        assert first.variants["contig"][0] == "chr21"
    with pytest.raises(NotAVcf, match="BCF"):
        _read(path, ReaderSettings(engine="own"))


def test_what_htslib_refuses_stops_its_engine(written) -> None:
    path = written(header_text(lines=("##contig=<ID=1>",)) + record() + record(pos="x") + record())
    with pytest.raises(EngineStopped):
        _read(path, ReaderSettings(engine="cyvcf2"))


def _outcome(path: Path) -> str:
    try:
        batches = _read(path)
    except InputRefused as refused:
        assert str(path) in str(refused)
        return "refused"
    if any(batch.rejects.height for batch in batches):
        return "set aside"
    return "counted" if any(batch.defect_counts for batch in batches) else "accepted"


def test_every_valid_conformance_file_is_accepted(corpus: Path) -> None:
    files = sorted(corpus.glob("conformance/**/passed/*.vcf"))
    assert len(files) >= 30
    assert {path.name: _outcome(path) for path in files if _outcome(path) in ("refused", "set aside")} == {}


def test_no_invalid_conformance_file_makes_the_reader_stumble(corpus: Path, capsys) -> None:
    files = sorted(corpus.glob("conformance/**/failed/*.vcf"))
    counts = pl.Series("outcome", [_outcome(path) for path in files]).value_counts(sort=True)
    with capsys.disabled():
        print(f"\nconformance/failed: {dict(counts.iter_rows())}")
    assert counts["count"].sum() == len(files) >= 250


@pytest.mark.parametrize("folder", ["bad", "weird"])
def test_no_bad_file_of_the_corpus_makes_the_reader_stumble(folder: str, corpus: Path) -> None:
    files = [path for path in sorted((corpus / folder).iterdir()) if ".vcf" in path.name]
    outcomes = {path.name: _outcome(path) for path in files}
    assert set(outcomes.values()) <= {"refused", "set aside", "counted", "accepted"}
    if folder == "bad":
        assert outcomes["dup_samples.vcf"] == outcomes["truncated_line.vcf"] == "refused"
        assert outcomes["bom.vcf"] == outcomes["crlf.vcf"] == outcomes["utf8.vcf"] == "accepted"
        assert outcomes["number_A_mismatch.vcf"] == outcomes["fmt_bad_int.vcf"] == "counted"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Four times the records, within 10 % or 60 MB. A child each, which tells its own peak."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc: the peak that getrusage tells of a child is its parent's")
    row = record("C", "DP=12;AF=0.5;S=" + "x" * 40, "GT:DP", "0/1:3", "0/0:9").encode()
    declared = header_text(
        info=("DP,1,Integer", "AF,A,Float", "S,1,String"),
        formats=("GT,1,String", "DP,1,Integer"),
        samples=("a", "b"),
    ).encode()
    program = (
        "import re, sys\n"
        "from vcf_pipeline.adapters.vcf_files.reader import open_reader\n"
        "from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings\n"
        "with open_reader(sys.argv[1], ReaderSettings()) as reader:\n"
        "    n = sum(batch.variants.height for batch in reader.batches())\n"
        "print(n, re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    peaks = []
    for n in (200_000, 800_000):
        path = tmp_path / "many.vcf.gz"
        path.write_bytes(bgzf(declared + row * n))
        told = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(told[0]) == n
        peaks.append(int(told[1]) * 1024)
    assert peaks[1] <= max(peaks[0] * 1.1, peaks[0] + 60e6), peaks
