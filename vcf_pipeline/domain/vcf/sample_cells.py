"""FORMAT and the sample columns of a block → where each value of each key lies, and what is wrong with the layout.

Not here: loops over bytes (sample_tokens.py), the values (format_values.py, genotypes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vcf_pipeline.domain.vcf import sample_tokens
from vcf_pipeline.domain.vcf.arrow_columns import Block
from vcf_pipeline.domain.vcf.header import Header

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

_PHASE_PREFIX_SINCE = (4, 4)


@dataclass
class SampleBlock:
    """The records' sample columns, and what was found wrong in them.

    block: the bytes. Offsets count in it; n_alts is 0 where ALT is `.`. wrong: records with another number of sample
    columns than the header; raw: records whose text is kept; defects: (record, key, code, text).
    """

    block: Block
    sample_off: Ints
    line_end: Ints
    format_off: Ints
    format_len: Ints32
    n_alts: Ints32
    header: Header
    defects: list[tuple[int, str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n = self.sample_off.size
        self.n_samples = len(self.header.samples)
        self.rows_per_record = np.maximum(self.n_alts, 1)
        self.first_row = np.concatenate([[0], np.cumsum(self.rows_per_record)])[:-1].astype(np.int64)
        self.n_rows = int(self.rows_per_record.sum())
        self.raw = np.zeros(self.n, np.bool_)
        wrong = np.zeros(self.n, np.uint8)
        sample_tokens.sample_columns(self.block.array, self.sample_off, self.line_end, self.n_samples, wrong)
        self.wrong = wrong.astype(np.bool_)
        self.prefix_allowed = _version(self.header.version) >= _PHASE_PREFIX_SINCE

    def text(self, start: int, length: int) -> str:
        return self.block.cut(int(start), int(length))

    def note(self, code: str, key: str, records: Iterable[int], texts: Iterable[str], *, raw: bool = True) -> None:
        """One defect of each record. raw: its text is kept."""
        for record, text in zip(records, texts, strict=True):
            self.defects.append((int(record), key, code, text))
            if raw:
                self.raw[record] = True


def _version(text: str) -> tuple[int, int]:
    """(4, 2) of "VCFv4.2" or "4.2"; (0, 0) of anything else."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass
class Formats:
    """The block's distinct FORMAT texts. ids: each record's; names: the keys of each; keys: the wanted ones, declared

    first; slots[format, place]: the wanted key there, -1 for none; n_keys[format].
    """

    ids: Ints32
    names: list[list[str]]
    keys: list[str]
    slots: Ints32
    n_keys: Ints32

    @classmethod
    def of(cls, samples: SampleBlock, selection: tuple[str, ...] | None) -> Formats:
        """selection: the keys wanted beside GT, None for all."""
        ids = np.empty(samples.n, np.int32)
        first = np.empty(samples.n, np.int64)
        count = sample_tokens.format_ids(samples.block.array, samples.format_off, samples.format_len, ids, first)
        texts = [samples.text(samples.format_off[r], samples.format_len[r]) for r in first[:count]]
        names = [[] if text in ("", ".") else text.split(":") for text in texts]
        met = list(dict.fromkeys(key for keys in names for key in keys))
        wanted = [key for key in met if key == "GT" or selection is None or key in selection]
        declared = samples.header.formats
        keys = [key for key in declared if key in set(wanted)] + [key for key in wanted if key not in declared]
        place = {key: slot for slot, key in enumerate(keys)}
        slots = np.full((max(count, 1), max((len(k) for k in names), default=0) + 1), -1, np.int32)
        for f, of_format in enumerate(names):
            for k, key in enumerate(of_format):
                if key in place and key not in of_format[:k]:
                    slots[f, k] = place[key]
        # a lone `.` stands for no key at all, so that a lone `.` in each sample is no surplus
        n_keys = np.array([max(len(of_format), 1) for of_format in names], np.int32)
        return cls(ids, names, keys, slots, n_keys)

    def records_with(self, key: str) -> Bools:
        if key not in self.keys:
            return np.zeros(self.ids.size, np.bool_)
        has = (self.slots == self.keys.index(key)).any(axis=1)
        return np.asarray(has[self.ids], np.bool_)


@dataclass
class KeyCells:
    """One key: the records that have it, and offset and length (-1: dropped) of each sample's value, by record."""

    key: str
    records: Ints
    off: Ints32
    length: Ints32


def find_cells(samples: SampleBlock, formats: Formats, rest: Ints) -> dict[str, KeyCells]:
    """The cells of every wanted key in the records `rest`; notes samples with more values than FORMAT has keys."""
    n_slots = len(formats.keys)
    cell_row = np.full((max(n_slots, 1), samples.n), -1, np.int64)
    starts = [0]
    records = []
    of_rest = formats.ids[rest]
    for slot in range(n_slots):
        mine = rest[(formats.slots == slot).any(axis=1)[of_rest]]
        cell_row[slot, mine] = starts[-1] + np.arange(mine.size, dtype=np.int64) * samples.n_samples
        starts.append(starts[-1] + mine.size * samples.n_samples)
        records.append(mine)
    off = np.zeros(starts[-1], np.int32)
    length = np.full(starts[-1], -1, np.int32)
    surplus = np.zeros(samples.n, np.uint8)
    if rest.size:
        sample_tokens.sample_cells(
            samples.block.array, samples.sample_off, samples.line_end, rest, formats.ids, formats.slots,
            formats.n_keys, samples.n_samples, cell_row, off, length, surplus,
        )  # fmt: skip
    told = np.flatnonzero(surplus)
    samples.note("FORMAT_TOO_MANY_VALUES", "FORMAT", told, (_shown(samples, r) for r in told))
    return {
        key: KeyCells(key, records[slot], off[starts[slot] : starts[slot + 1]], length[starts[slot] : starts[slot + 1]])
        for slot, key in enumerate(formats.keys)
    }


def _shown(samples: SampleBlock, record: Any) -> str:
    start = samples.sample_off[record]
    return samples.text(start, min(samples.line_end[record] - start, 80))


def note_formats(samples: SampleBlock, formats: Formats) -> None:
    """Keys that stand twice in FORMAT, and keys that the header does not declare."""
    for f, names in enumerate(formats.names):
        repeated = [key for key in dict.fromkeys(names) if names.count(key) > 1]
        unknown = [key for key in dict.fromkeys(names) if key not in samples.header.formats]
        if not repeated and not unknown:
            continue
        mine = np.flatnonzero((formats.ids == f) & ~samples.wrong)
        for key in repeated:
            samples.note("FORMAT_KEY_REPEATED", key, mine, [key] * mine.size)
        for key in unknown:
            samples.note("FORMAT_KEY_UNDECLARED", key, mine, [key] * mine.size, raw=False)
