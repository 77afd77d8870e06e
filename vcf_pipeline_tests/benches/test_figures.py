"""Figures: percentiles by the nearest rank, files of as many records as asked for, memory that is sampled."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcf_pipeline.adapters.vcf_files.reader import open_reader
from vcf_pipeline.benches.figures import percentiles
from vcf_pipeline.benches.made_file import make_file
from vcf_pipeline.benches.memory import Sampler, Stalling
from vcf_pipeline.domain.errors import NotAVcf, NotFound
from vcf_pipeline.domain.stream.topics import CALLSETS, variants_topic
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings
from vcf_pipeline.testing.scripted_broker import ScriptedBroker


def records_of(path: Path) -> tuple[int, int]:
    with open_reader(str(path), ReaderSettings(mode="strict")) as reader:
        batches = list(reader.batches())
    return sum(batch.n_records for batch in batches), sum(batch.rejects.height for batch in batches)


def test_percentiles_are_values_that_were_there():
    assert percentiles([float(number) for number in range(1, 101)]) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert percentiles([7.0]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert percentiles([]) == {}


def test_a_made_up_file_has_its_records_all_valid_and_its_bytes_follow_from_the_seed(tmp_path: Path):
    paths = [tmp_path / name for name in ("a.vcf.gz", "b.vcf.gz", "c.vcf.gz")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert make_file(path, 1234, seed=seed) == 1234
        assert records_of(path) == (1234, 0)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()


def test_a_real_file_is_repeated_in_whole_rounds(tmp_path: Path):
    source = Path(__file__).parent.parent / "data" / "slivar__clinvar_20191007.vcf.gz"
    n_source = records_of(source)[0]
    made = make_file(tmp_path / "many.vcf.gz", 5 * n_source + 1, str(source))
    assert made == 5 * n_source
    assert records_of(tmp_path / "many.vcf.gz")[0] == made


def test_what_is_no_source_is_refused(tmp_path: Path):
    with pytest.raises(NotFound):
        make_file(tmp_path / "x.vcf.gz", 10, str(tmp_path / "nowhere.vcf"))
    (tmp_path / "header.vcf").write_text("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    with pytest.raises(NotAVcf):
        make_file(tmp_path / "x.vcf.gz", 10, str(tmp_path / "header.vcf"))


def test_memory_that_is_taken_is_seen():
    with Sampler() as sampler:
        taken = b"x" * (200 << 20)
    assert sampler.samples[-1][1] - sampler.samples[0][1] > 150
    assert len(taken) == 200 << 20


def test_a_stalling_broker_stalls_once_and_only_over_data():
    broker = ScriptedBroker()
    topic = variants_topic("t")
    broker.ensure_topics([topic, CALLSETS])
    stalling = Stalling(broker, seconds=0.0, after=2)
    for _ in range(3):
        stalling.append(CALLSETS, 0, [b"event"])
    assert stalling._left == 2
    stalling.append(topic, 0, [b"one"])
    assert list(stalling.append(topic, 0, [b"two"])) == [1]
    assert stalling.end_offsets(topic)[0] == 2
