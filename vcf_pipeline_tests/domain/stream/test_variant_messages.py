"""Single variants: what a line says of them, and what no line can say."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcf_pipeline.domain.errors import BadVariant, UnreadableMessage
from vcf_pipeline.domain.stream.chunks import BatchAssembler
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.stream.variant_messages import (
    MAX_RECORDS,
    RECORDS,
    RecordParser,
    VCFVariantMessage,
    read_lines,
    records_body,
    to_line,
)
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

PLAIN: dict[str, Any] = {"chromosome": "1", "position": 12345, "reference": "A", "alternate": "T"}


def message(body: Any, **fields: Any) -> Envelope:
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    return Envelope(id="p/0", kind=RECORDS, tenant="t", publish_id="p", body=packed, **fields)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "1\t12345\t.\tA\tT\t.\t.\t."),
        ({"quality": 30.0, "filter_status": "PASS"}, "1\t12345\t.\tA\tT\t30\tPASS\t."),
        ({"quality": 0.1, "variant_id": "rs7;rs8"}, "1\t12345\trs7;rs8\tA\tT\t0.1\t.\t."),
        ({"quality": np.float32(0.5), "position": np.int64(7)}, "1\t7\t.\tA\tT\t0.5\t.\t."),
        ({"alternate": "T,<DEL>,*,A[17:198982["}, "1\t12345\t.\tA\tT,<DEL>,*,A[17:198982[\t.\t.\t."),
        (
            {"info_fields": {"DP": 9, "AF": [0.5, None], "DB": True, "X": None}},
            "1\t12345\t.\tA\tT\t.\t.\tAF=0.5,.;DB;DP=9",
        ),
        ({"info_fields": {"NOTE": "a b;c=d,e%\t"}}, "1\t12345\t.\tA\tT\t.\t.\tNOTE=a%20b%3Bc%3Dd%2Ce%25%09"),
        ({"info_fields": {"X": False}}, "1\t12345\t.\tA\tT\t.\t.\t."),
    ],
)
def test_a_variant_is_the_line_that_says_the_same(fields: dict[str, Any], line: str):
    assert to_line(VCFVariantMessage(**{**PLAIN, **fields})) == line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chromosome", ""),
        ("chromosome", "#1"),
        ("chromosome", "1\t2"),
        ("chromosome", 1),
        ("position", -1),
        ("position", 1 << 40),
        ("position", True),
        ("position", "7"),
        ("position", 7.0),
        ("reference", ""),
        ("reference", "A\nchr2\t1"),
        ("reference", "Z"),
        ("alternate", "T,"),
        ("alternate", "T\t."),
        ("alternate", "T,."),
        ("alternate", None),
        ("quality", float("nan")),
        ("quality", float("inf")),
        ("quality", -1),
        ("quality", "30"),
        ("filter_status", "low quality"),
        ("variant_id", "a\tb"),
        ("info_fields", ["DP"]),
        ("info_fields", {"D P": 1}),
        ("info_fields", {"DP": float("nan")}),
        ("info_fields", {"DP": {"a": 1}}),
        ("info_fields", {"DP": []}),
        ("info_fields", {"DP": "x" * 70_000}),
        ("samples", [{"GT": "0/1"}]),
    ],
)
def test_what_no_line_can_say_is_refused_by_its_field(field: str, value: Any):
    with pytest.raises(BadVariant) as refused:
        to_line(VCFVariantMessage(**{**PLAIN, field: value}))
    assert refused.value.where.startswith(field)
    assert refused.value.exit_code == 2


@given(st.text(max_size=40))
def test_any_text_in_info_comes_back_as_it_was_sent(text: str):
    if not text or "\0" in text or text == "." or not text.isprintable():
        return
    lines = [to_line(VCFVariantMessage(**PLAIN, info_fields={"NOTE": text}))]
    (values,) = RecordParser(ReaderSettings()).parse(lines).variants["info_NOTE"].to_list()
    assert values == [text]


def test_a_message_of_variants_is_a_batch_typed_by_what_vcf_reserves():
    variants = [
        VCFVariantMessage(**PLAIN, quality=30.0, info_fields={"DP": 10, "AF": 0.25, "DB": True, "MINE": "x"}),
        VCFVariantMessage(chromosome="chr2", position=5, reference="AC", alternate="A,G", filter_status="q10"),
    ]
    assembler = BatchAssembler(ReaderSettings(assembly="GRCh38"))
    batch = assembler.add(message(records_body(variants)))
    assert batch is not None
    assert batch.variants.select("contig", "pos", "ref", "alt", "qual", "filter", "info_DP", "variant_key").rows() == [
        ("1", 12345, "A", "T", 30.0, None, 10, "1-12345-A-T"),
        ("chr2", 5, "AC", "A", None, ["q10"], None, "2-5-AC-A"),
        ("chr2", 5, "AC", "G", None, ["q10"], None, "2-5-AC-G"),
    ]
    assert batch.variants["info_MINE"].to_list() == [["x"], None, None]
    assert batch.variants["info_AF"].to_list() == [0.25, None, None]
    again = assembler.add(message(records_body(variants[:1]), seq=1))
    assert again is not None
    assert (again.first_record_no, again.n_records) == (2, 1)
    assert assembler.sent is not None
    assert assembler.sent.assembly.name == "GRCh38"
    assert assembler.is_between_batches


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\x00",
        {},
        [],
        "text",
        [1],
        [{}],
        [{**PLAIN, "position": "7"}],
        [{**PLAIN, "chrom": "1"}],
        [{name: value for name, value in PLAIN.items() if name != "alternate"}],
        [{**PLAIN, "info": {"DP": [[1]]}}],
        [{**PLAIN, "info": 7}],
        [PLAIN, {**PLAIN, "reference": "A\nX"}],
        [PLAIN] * (MAX_RECORDS + 1),
        [{**PLAIN, "info": {"A": [[[[[[[[[[1]]]]]]]]]]}}],
    ],
)
def test_hostile_bodies_are_unreadable_and_nothing_worse(body: Any):
    with pytest.raises(UnreadableMessage):
        read_lines(message(body))


def test_another_codec_and_a_mixture_of_kinds_are_unreadable():
    with pytest.raises(UnreadableMessage, match="codec none"):
        read_lines(message([PLAIN], codec="zstd"))
    assembler = BatchAssembler()
    assembler.add(message([PLAIN]))
    with pytest.raises(UnreadableMessage, match=RECORDS):
        assembler.add(Envelope(id="p/1", kind="variants/arrow", tenant="t", publish_id="p", seq=1, body=b""))
