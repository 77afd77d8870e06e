"""lines.py: where the header ends, and blocks that neither lose nor cut a line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcf_pipeline.adapters.vcf_files import lines as module
from vcf_pipeline.adapters.vcf_files.lines import LineReader
from vcf_pipeline.domain.errors import NotAVcf, Truncated

HEADER = b"##fileformat=VCFv4.2\n##source=x\n#CHROM\tPOS\n"


def _pieces(text: bytes, size: int):
    return iter([text[at : at + size] for at in range(0, len(text), size)])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    st.booleans(),
    st.integers(1, 90),
    st.integers(1, 60),
    st.integers(1, 5),
)
def test_blocks_are_the_text_cut_between_lines(rows, final, piece, block, most) -> None:
    text = b"\n".join(rows) + (b"\n" if final and rows else b"")
    reader = LineReader("f", _pieces(HEADER + text, piece))
    assert reader.header_text.encode() == HEADER
    blocks = list(reader.blocks(block, most))
    assert b"".join(part.text for part in blocks) == text
    line, offset = 4, len(HEADER)
    for place, part in enumerate(blocks):
        assert (part.first_line, part.byte_offset) == (line, offset)
        assert part.text.count(b"\n") <= most
        assert len(part.text) <= block or part.text.count(b"\n", 0, -1) == 0
        assert part.text.endswith(b"\n") or place == len(blocks) - 1
        line += part.text.count(b"\n")
        offset += len(part.text)


def test_a_header_without_final_newline_is_a_file_without_records() -> None:
    reader = LineReader("f", _pieces(HEADER[:-1], 7))
    assert reader.header_text.encode() == HEADER
    assert list(reader.blocks(100, 100)) == []


def test_a_byte_order_mark_is_a_warning_and_counts_as_bytes() -> None:
    reader = LineReader("f", iter([b"\xef\xbb\xbf" + HEADER + b"1\t2\n"]))
    assert reader.header_text.encode() == HEADER
    assert reader.warnings == ["the file begins with a byte order mark"]
    assert next(reader.blocks(100, 100)).byte_offset == 3 + len(HEADER)


def test_a_latin_1_header_is_a_warning() -> None:
    reader = LineReader("f", iter([HEADER.replace(b"=x", b"=\xe9")]))
    assert "##source=é" in reader.header_text
    assert len(reader.warnings) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "a file without text"),
        ("##fileformat=VCFv4.2\n".encode("utf-16"), "UTF-16"),
        (b"##fileformat=VCFv4.2\n1\t5\t.\tA\tC\n", "before the records"),
        (b"##fileformat=VCFv4.2\n##x\n", "a #CHROM line"),
        (b"hello\nworld\n", "a VCF header"),
        (b"\x7fELF\0\0\0", "a VCF header"),
        (b"##fileformat=VCFv4.2\0\n#CHROM\n", "NUL bytes"),
        (b"\n\n\n", "a VCF header"),
    ],
)
def test_what_is_no_vcf_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(NotAVcf, match=told):
        LineReader("f", iter([text] if text else []))


def test_a_line_longer_than_a_block_is_a_block(monkeypatch) -> None:
    line = b"x" * 5000 + b"\n"
    blocks = list(LineReader("f", _pieces(HEADER + line + b"y\n", 100)).blocks(300, 10))
    assert blocks[0].text.startswith(line)
    monkeypatch.setattr(module, "LINE_LIMIT", 1000)
    with pytest.raises(Truncated, match="f line 4") as refused:
        list(LineReader("f", _pieces(HEADER + line, 100)).blocks(300, 10))
    assert refused.value.code == "LINE_TOO_LONG"
