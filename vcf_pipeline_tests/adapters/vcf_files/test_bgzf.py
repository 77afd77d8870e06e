"""bgzf.py: whole files only, every checksum compared, nothing inflated beyond a piece."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.adapters.vcf_files.bgzf import SourceFile, compression_of, inflated
from vcf_pipeline.domain.errors import ChangedWhileRead, Corrupt, InputRefused, NotAVcf, NotFound, Truncated
from vcf_pipeline_tests.vcf_text import bgzf

TEXT = b"".join(b"line %d of a text that is cut into several blocks\n" % number for number in range(9000))


def _read(path: Path) -> list[bytes]:
    source = SourceFile(str(path), hash_bytes=False)
    try:
        first = source.read()
        return list(inflated(source, first, compression_of(str(path), first)))
    finally:
        source.close()


@pytest.fixture
def written(tmp_path: Path) -> object:
    def write(content: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bgzf], ids=["plain", "gzip", "bgzf"])
def test_what_was_packed_comes_out(pack, written) -> None:
    assert b"".join(_read(written(pack(TEXT)))) == TEXT


def test_gzip_of_several_members_is_one_text(written) -> None:
    assert b"".join(_read(written(gzip.compress(b"a\n") + gzip.compress(b"b\n")))) == b"a\nb\n"


def test_a_bgzf_without_its_end_marker_is_truncated(written) -> None:
    path = written(bgzf(TEXT, end_marker=False))
    with pytest.raises(Truncated, match="no end-of-file marker") as refused:
        _read(path)
    assert refused.value.byte_offset == path.stat().st_size


@pytest.mark.parametrize("pack", [bgzf, gzip.compress], ids=["bgzf", "gzip"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_cut_file_is_refused_with_the_byte(pack, share: float, written) -> None:
    whole = pack(TEXT)
    with pytest.raises(Truncated, match=r"byte \d+"):
        _read(written(whole[: int(len(whole) * share)]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path_factory, data) -> None:
    whole = bytearray(bgzf(TEXT[:20_000], block_bytes=7000))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("changed") / "file"
    path.write_bytes(whole)
    try:
        pieces = _read(path)
    except InputRefused as refused:
        assert refused.exit_code == 3
        return
    # bytes that no checksum covers: times, flags and the like in a block's head, or the magic of gzip itself
    assert b"".join(pieces) in (TEXT[:20_000], bytes(whole))


def test_a_changed_checksum_is_corrupt(written) -> None:
    whole = bytearray(bgzf(TEXT[:1000]))
    whole[-28 - 8] ^= 255
    with pytest.raises(Corrupt, match="byte 0: expected the block's own checksum"):
        _read(written(bytes(whole)))


def test_other_bytes_after_gzip_members_are_corrupt_and_zeros_are_not(written) -> None:
    assert b"".join(_read(written(gzip.compress(b"a\n") + bytes(600)))) == b"a\n"
    with pytest.raises(Corrupt):
        _read(written(gzip.compress(b"a\n") + b"tail"))


@pytest.mark.parametrize("pack", [bgzf, gzip.compress], ids=["bgzf", "gzip"])
def test_a_bomb_comes_in_small_pieces(pack, written) -> None:
    pieces = _read(written(pack(bytes(40 << 20))))
    assert sum(map(len, pieces)) == 40 << 20
    assert max(map(len, pieces)) <= (1 << 20) + (1 << 16)


@pytest.mark.parametrize(
    ("start", "name"), [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"CRAM", "CRAM")]
)
def test_other_archives_are_named(start: bytes, name: str) -> None:
    with pytest.raises(NotAVcf, match=name):
        compression_of("x", start)


def test_missing_files_directories_and_pipes_are_not_found(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keep_open = os.open(pipe, os.O_RDWR)
    for path, told in ((tmp_path / "none", "none"), (tmp_path, "a directory"), (pipe, "a pipe or device")):
        with pytest.raises(NotFound, match=told):
            SourceFile(str(path), hash_bytes=False)
    os.close(keep_open)


def test_the_bytes_read_are_hashed_and_counted(written) -> None:
    path = written(TEXT)
    source = SourceFile(str(path), hash_bytes=True)
    while source.read():
        pass
    assert source.sha256() == hashlib.sha256(TEXT).hexdigest()
    assert source.progress() == (len(TEXT), len(TEXT))
    source.check_unchanged()
    source.close()


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_meanwhile_is_noticed(change: str, written) -> None:
    path = written(TEXT)
    source = SourceFile(str(path), hash_bytes=False)
    while source.read():
        pass
    if change == "append":
        path.write_bytes(TEXT + b"more")
    elif change == "replace":
        other = path.with_name("other")
        other.write_bytes(TEXT)
        other.replace(path)
    else:
        path.unlink()
    with pytest.raises(ChangedWhileRead):
        source.check_unchanged()
    source.close()
