"""Texts that are no VCF are cut into whole lines, with the checks that their compression offers."""

from __future__ import annotations

import gzip

import pytest

from vcf_pipeline.adapters.vcf_files.text_files import fasta_contigs, open_text
from vcf_pipeline.domain.errors import Corrupt, NotAVcf, NotFound, Truncated
from vcf_pipeline_tests.vcf_text import bgzf

TEXT = "".join(f"line {number} {'x' * (number % 50)}\n" for number in range(1, 2000)).encode()


@pytest.mark.parametrize("packed", [lambda text: text, gzip.compress, bgzf], ids=["plain", "gzip", "bgzf"])
@pytest.mark.parametrize("ending", [b"", b"without a newline"])
def test_blocks_are_whole_lines_with_their_numbers(tmp_path, packed, ending):
    (tmp_path / "t").write_bytes(packed(TEXT + ending))
    with open_text(str(tmp_path / "t")) as text:
        blocks = list(text.blocks(1000))
    assert b"".join(block.text for block in blocks) == TEXT + ending
    for block in blocks:
        if block.text.startswith(b"line"):
            assert block.text.startswith(b"line %d " % block.first_line)
    assert all(block.text.endswith(b"\n") for block in blocks[:-1])


def test_a_truncated_or_damaged_file_is_refused(tmp_path):
    whole = bgzf(TEXT, block_bytes=5000)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    (tmp_path / "damaged.gz").write_bytes(bytes(damaged))
    for name, error in (("cut.gz", Truncated), ("damaged.gz", (Corrupt, Truncated))):
        with pytest.raises(error), open_text(str(tmp_path / name)) as text:
            list(text.blocks())


def test_what_is_no_text_file_is_named(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "archive").write_bytes(b"PK\x03\x04 and more")
    for name, error in (("empty", NotAVcf), ("archive", NotAVcf), ("none", NotFound)):
        with pytest.raises(error), open_text(str(tmp_path / name)):
            pass


def test_the_sequences_of_a_fasta_are_named_in_its_order(tmp_path):
    (tmp_path / "r.fa").write_text(">chr1 AC:CM000663.2\nACGT\nAC>GT\n>chr2\n\n>HLA-A*01:01 x\nAC")
    assert fasta_contigs(str(tmp_path / "r.fa")) == ["chr1", "chr2", "HLA-A*01:01"]
    (tmp_path / "r.fa").write_text("chr1\tgene\n")
    with pytest.raises(NotAVcf, match="begins with `>`"):
        fasta_contigs(str(tmp_path / "r.fa"))
