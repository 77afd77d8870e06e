"""ParsedBatch → messages → ParsedBatch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.domain.errors import UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.chunks import BatchAssembler, ChunkEncoder, Sent
from vcf_pipeline.domain.stream.envelope import Envelope
from vcf_pipeline.domain.vcf.assembly import Assembly
from vcf_pipeline.domain.vcf.batch import ParsedBatch
from vcf_pipeline.domain.vcf.header import parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline_tests.vcf_text import header_text, parse, record

HEADER = {
    "info": ("DP,1,Integer", "AF,A,Float", "DB,0,Flag"),
    "formats": ("GT,1,String", "AD,R,Integer"),
    "samples": ("kid", "mum"),
}
SENT = Sent(
    parse_header(header_text(**HEADER)),
    ReaderSettings(info=("DP", "AF", "DB"), max_reject_share=0.5),
    "own",
    Assembly(None, "no contig says so"),
)


def some_records(n: int, padding: int = 0) -> ParsedBatch:
    lines = [
        record(
            "C,G" if number % 5 == 0 else "C",
            f"DP={number};DB" if number % 3 else ".",
            "GT:AD",
            "0/1:3,4" if number % 5 else "1|2:1,2,3",
            "./.",
            pos=100 + number,
            id=f"rs{number}" + "x" * padding,
        )
        for number in range(n)
    ]
    lines[n // 2] = "1\tnowhere\t.\tA\tC\t.\t.\t.\tGT\t0/0\t0/0\n"
    return parse(*lines, **HEADER)


def messages_of(encoder: ChunkEncoder, *batches: ParsedBatch) -> list[Envelope]:
    def made() -> Iterator[Envelope]:
        yield from encoder.header(SENT, 1)
        for batch in batches:
            yield from encoder.batch(batch, 2)

    return [frame.decode(frame.encode(envelope)) for envelope in made()]


def assert_equal(got: ParsedBatch | None, expected: ParsedBatch) -> None:
    assert got is not None
    assert (got.first_record_no, got.n_records) == (expected.first_record_no, expected.n_records)
    assert got.defect_counts == expected.defect_counts
    for table in ("variants", "genotypes", "consequences", "rejects"):
        mine, theirs = getattr(got, table), getattr(expected, table)
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            assert_frame_equal(mine, theirs)


def received(messages: list[Envelope]) -> tuple[BatchAssembler, list[ParsedBatch]]:
    assembler = BatchAssembler()
    batches = [batch for message in messages if (batch := assembler.add(message)) is not None]
    return assembler, batches


def test_a_batch_comes_back_whole_with_its_rejects_and_defects():
    batch = some_records(40)
    assert batch.rejects.height == 1
    messages = messages_of(ChunkEncoder("t", "p", "c"), batch)
    assembler, (again,) = received(messages)
    assert_equal(again, batch)
    assert assembler.sent == SENT
    assert assembler.is_between_batches
    assert [message.seq for message in messages] == list(range(len(messages)))
    assert messages[0].kind == "header"


@pytest.mark.parametrize("limit", [6_000, 12_000, 40_000])
def test_messages_stay_below_the_limit_and_no_cut_goes_through_a_record(limit: int):
    batch = some_records(2000, padding=20)
    later = replace(
        batch,
        first_record_no=2000,
        variants=batch.variants.with_columns(pl.col("record_no") + 2000),
        genotypes=batch.genotypes.with_columns(pl.col("record_no") + 2000) if batch.genotypes is not None else None,
        rejects=batch.rejects.with_columns(pl.col("record_no") + 2000),
    )
    encoder = ChunkEncoder("t", "p", "c", message_bytes=limit)
    messages = messages_of(encoder, batch, later)
    assert max(len(frame.encode(message)) for message in messages) <= limit + 700
    _, batches = received(messages)
    assert_equal(batches[0], batch)
    assert_equal(batches[1], later)
    cuts = [
        (message.attributes["first_record_no"], message.attributes["n_records"])
        for message in messages
        if message.kind == "variants/arrow" and message.attributes["part"] == 0
    ]
    assert cuts[0][0] == 0
    assert all(first + n == following for (first, n), (following, _) in itertools.pairwise(cuts))


def test_one_record_above_the_limit_travels_in_numbered_parts():
    noise = "".join(f"{number * 2654435761 % (1 << 32):08x}" for number in range(4000))
    batch = parse(record(alt="<DEL>", info="NOTE=" + noise, pos=5))
    encoder = ChunkEncoder("t", "p", "c", message_bytes=4000)
    messages = messages_of(encoder, batch)
    parts = [message.attributes for message in messages if message.kind == "variants/arrow"]
    assert len(parts) > 2
    assert [part["part"] for part in parts] == list(range(len(parts)))
    assert {part["parts"] for part in parts} == {len(parts)}
    assert_equal(received(messages)[1][0], batch)


def test_a_header_above_the_limit_travels_in_parts_too():
    lines = tuple(f"##note{number}={number * 2654435761 % (1 << 32):08x}" for number in range(3000))
    sent = replace(SENT, header=parse_header(header_text(lines=lines)))
    envelopes = list(ChunkEncoder("t", "p", "c", message_bytes=4000).header(sent, 0))
    assert len(envelopes) > 2
    assembler, batches = received(envelopes)
    assert batches == []
    assert assembler.sent == sent


def test_a_batch_of_nothing_but_rejects_and_one_without_samples_come_back():
    rejected = parse("1\tnowhere\t.\tA\tC\t.\t.\t.\n")
    assert rejected.variants.is_empty()
    assert_equal(received(messages_of(ChunkEncoder("t", "p", "c"), rejected))[1][0], rejected)


def test_the_same_batches_give_the_same_bodies():
    batches = [some_records(300)]
    first, second = (messages_of(ChunkEncoder("t", "p", "c"), *batches) for _ in range(2))
    assert [message.body_hash for message in first] == [message.body_hash for message in second]


MESSAGES = messages_of(ChunkEncoder("t", "p", "c"), some_records(40))


def with_attributes(message: Envelope, **changes: object) -> Envelope:
    return replace(message, attributes={**message.attributes, **changes})


@pytest.mark.parametrize(
    "messages",
    [
        MESSAGES[1:],
        [MESSAGES[0], with_attributes(MESSAGES[1], part=1, parts=2)],
        [MESSAGES[0], with_attributes(MESSAGES[1], first_record_no=7)],
        [MESSAGES[0], with_attributes(MESSAGES[1], batch=[9, 40])],
        [MESSAGES[0], with_attributes(MESSAGES[1], batch="x")],
        [MESSAGES[0], with_attributes(MESSAGES[1], rows=3)],
        [MESSAGES[0], with_attributes(MESSAGES[1], n_records=3)],
        [MESSAGES[0], with_attributes(MESSAGES[1], end={"rows": {"variants": 1}})],
        [MESSAGES[0], with_attributes(MESSAGES[1], end=1)],
        [MESSAGES[0], replace(MESSAGES[1], kind="pictures")],
        [MESSAGES[0], replace(MESSAGES[1], codec="lzma")],
        [MESSAGES[0], replace(MESSAGES[1], body=b"junk")],
        [replace(MESSAGES[0], body=b"junk")],
        [MESSAGES[0], MESSAGES[-1]],
    ],
    ids=range(14),
)
def test_messages_that_do_not_hang_together_are_unreadable(messages: list[Envelope]):
    with pytest.raises(UnreadableMessage):
        received(messages)
