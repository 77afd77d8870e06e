"""Receiving: what was read from the file is what comes out of the stream, or an error names what is
missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.domain.errors import MissingChunks, StreamBroken, TopicRecreated, UnreadableMessage
from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Announcement
from vcf_pipeline.domain.stream.topics import Topic, variants_topic
from vcf_pipeline.domain.tables.digest import TableDigest
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.stages.receive import open_received
from vcf_pipeline.testing.scripted_broker import ScriptedBroker
from vcf_pipeline_tests.stages.published import SMALL_BLOCKS, announcements, made_vcf, published

TABLES = ("variants", "genotypes", "consequences", "rejects")


def assert_stream_equals_file(
    announced: Announcement, coordinator: Coordinator, path: str, settings: ReaderSettings
) -> None:
    """Header, batches, frames with their dtypes, defects and the digest that was announced."""
    digest = TableDigest()
    with open_received(announced, coordinator) as source, open_reader(path, settings) as reader:
        assert source.header == reader.header
        assert source.assembly == reader.assembly
        assert source.settings == settings
        for got, expected in zip(source.batches(), reader.batches(), strict=True):
            assert (got.first_record_no, got.n_records) == (expected.first_record_no, expected.n_records)
            assert got.defect_counts == expected.defect_counts
            for table in TABLES:
                mine, theirs = getattr(got, table), getattr(expected, table)
                assert (mine is None) == (theirs is None)
                if theirs is not None:
                    assert_frame_equal(mine, theirs)
                    digest.add(table, mine)
        assert source.progress() == (announced.n_chunks, announced.n_chunks)
    assert digest.value() == announced.digest


def sent(tmp_path: Path) -> tuple[ScriptedBroker, Coordinator, Announcement, str]:
    broker = ScriptedBroker()
    coordinator = Coordinator([broker])
    path = made_vcf(tmp_path, records=800, broken=1)
    published(path, coordinator, tmp_path)
    return broker, coordinator, announcements(coordinator)[0], path


def stored(broker: ScriptedBroker, announced: Announcement) -> list[bytes]:
    segment = announced.segments[0]
    return broker._logs[Topic.parse(segment.topic)].partitions[segment.partition]


def drained(announced: Announcement, coordinator: Coordinator) -> int:
    with open_received(announced, coordinator) as source:
        return sum(batch.n_records for batch in source.batches())


def test_what_comes_out_is_what_the_file_gives(tmp_path: Path):
    _, coordinator, announced, path = sent(tmp_path)
    assert_stream_equals_file(announced, coordinator, path, SMALL_BLOCKS)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "annotated/scout__643594.clinical.vcf.gz",
        "annotated/slivar__with-bcsq.vcf",
        "annotated/vcfanno__exac.vcf.gz",
        "large/hap.py__hc.vcf.gz",
    ],
)
def test_real_files_come_out_as_they_went_in(name: str, corpus: Path, tmp_path: Path):
    coordinator = Coordinator([ScriptedBroker()])
    path = str(corpus / name)
    published(path, coordinator, tmp_path, settings=ReaderSettings())
    assert_stream_equals_file(announcements(coordinator)[0], coordinator, path, ReaderSettings())


def test_missing_chunks_are_named(tmp_path: Path):
    broker, coordinator, announced, _ = sent(tmp_path)
    messages = stored(broker, announced)
    messages[2] = messages[4] = b"overwritten"
    with pytest.raises(MissingChunks) as missing:
        drained(announced, coordinator)
    assert missing.value.seqs == [2, 4]


def test_a_missing_header_is_a_missing_chunk(tmp_path: Path):
    broker, coordinator, announced, _ = sent(tmp_path)
    stored(broker, announced)[0] = b"overwritten"
    with pytest.raises(MissingChunks) as missing:
        drained(announced, coordinator)
    assert missing.value.seqs == [0]


def over_all(announced: Announcement, broker: ScriptedBroker) -> Announcement:
    """The same announcement with its segment over everything that now lies in the partition."""
    (segment,) = announced.segments
    return replace(announced, segments=(replace(segment, last_offset=len(stored(broker, announced)) - 1),))


def test_repeats_early_chunks_and_other_publications_between_change_nothing(tmp_path: Path):
    broker, coordinator, announced, path = sent(tmp_path)
    messages = stored(broker, announced)
    foreign = frame.encode(replace(frame.decode(messages[1]), publish_id="another"))
    other_tenant = frame.encode(replace(frame.decode(messages[1]), tenant="other"))
    messages[:] = [
        messages[0],
        messages[2],
        foreign,
        messages[1],
        other_tenant,
        *messages[1:],
        messages[-1],
        messages[0],
    ]
    assert_stream_equals_file(over_all(announced, broker), coordinator, path, SMALL_BLOCKS)


def test_a_number_that_comes_again_with_another_body_breaks_the_stream(tmp_path: Path):
    broker, coordinator, announced, _ = sent(tmp_path)
    messages = stored(broker, announced)
    messages.append(frame.encode(replace(frame.decode(messages[1]), body=b"other")))
    with pytest.raises(StreamBroken) as broken:
        drained(over_all(announced, broker), coordinator)
    assert broken.value.code == "CHUNK_CHANGED"


@pytest.mark.parametrize("counted", ["records", "alleles", "rejected"])
def test_counts_that_are_not_those_announced_break_the_stream(counted: str, tmp_path: Path):
    _, coordinator, announced, _ = sent(tmp_path)
    wrong = replace(announced, **{counted: getattr(announced, counted) + 1})
    with pytest.raises(StreamBroken) as broken:
        drained(wrong, coordinator)
    assert broken.value.code == "COUNTS_DIFFER"


def test_more_chunks_than_announced_or_fewer_break_the_stream(tmp_path: Path):
    _, coordinator, announced, _ = sent(tmp_path)
    with pytest.raises(StreamBroken):
        drained(replace(announced, n_chunks=announced.n_chunks - 1), coordinator)
    with pytest.raises(MissingChunks) as missing:
        drained(replace(announced, n_chunks=announced.n_chunks + 1), coordinator)
    assert missing.value.seqs == [announced.n_chunks]


def test_a_body_that_is_not_what_its_kind_says_is_unreadable(tmp_path: Path):
    broker, coordinator, announced, _ = sent(tmp_path)
    messages = stored(broker, announced)
    messages[1] = frame.encode(replace(frame.decode(messages[1]), body=b"junk"))
    with pytest.raises(UnreadableMessage):
        drained(announced, coordinator)


def test_segments_that_overlap_give_each_chunk_once(tmp_path: Path):
    _, coordinator, announced, path = sent(tmp_path)
    (segment,) = announced.segments
    middle = (segment.first_offset + segment.last_offset) // 2
    halves = (replace(segment, last_offset=middle + 2), replace(segment, first_offset=middle - 1))
    assert_stream_equals_file(replace(announced, segments=halves), coordinator, path, SMALL_BLOCKS)


def test_a_topic_that_was_recreated_says_so(tmp_path: Path):
    broker, coordinator, announced, _ = sent(tmp_path)
    broker.recreate(variants_topic("t"))
    with pytest.raises(TopicRecreated):
        drained(announced, coordinator)
