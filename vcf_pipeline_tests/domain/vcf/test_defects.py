"""defects.py: one catalogue, and every code that the parsers note stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import vcf_pipeline.domain.vcf as folder
from vcf_pipeline.domain.vcf.defects import CATALOGUE, DefectLog, message, refuse

_CODE = re.compile(r'"((?:INFO|FORMAT|GT|POS|REF|ALT|QUAL|CONTIG|FILTER|TEXT|COLUMN|END|BLANK)_[A-Z0-9_]+)"')


def test_every_code_in_the_folder_is_in_the_catalogue() -> None:
    used = set()
    for path in Path(next(iter(folder.__path__))).glob("*.py"):
        if path.name != "defects.py":
            used |= set(_CODE.findall(path.read_text()))
    assert {"POS_NOT_INTEGER", "INFO_WRONG_NUMBER", "GT_MALFORMED"} <= used
    assert used - set(CATALOGUE) == set()


def test_every_defect_says_what_was_expected_and_how_to_repair_it() -> None:
    for code, defect in CATALOGUE.items():
        assert defect.code == code
        assert defect.expected
        assert defect.repair[0].isupper()
        assert re.fullmatch(r"1\.\d(\.\d)?", defect.section)


def test_a_message_cuts_long_values() -> None:
    assert message("POS_NOT_INTEGER", "POS", "chr7") == 'POS: expected a whole number, got "chr7"'
    assert len(message("POS_NOT_INTEGER", "POS", "x" * 5000)) < 120


def test_the_log_counts_a_record_once_and_keeps_the_first_defect_that_is_no_warning() -> None:
    log = DefectLog(np.zeros(9, np.bool_))
    log.note("INFO_KEY_UNDECLARED", "A", np.array([0]), str)
    log.note("INFO_NOT_INTEGER", "DP", np.array([5, 5, 7]), str, keep_raw=True)
    log.note("INFO_NOT_FLOAT", "AF", np.array([3]), str)
    assert log.counts == {"INFO_KEY_UNDECLARED": 1, "INFO_NOT_INTEGER": 2, "INFO_NOT_FLOAT": 1}
    assert np.flatnonzero(log.raw).tolist() == [5, 7]
    assert log.first is not None
    error = refuse(log.first, 44)
    assert (error.code, error.line, error.column) == ("INFO_NOT_FLOAT", 44, "AF")


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_a_code_is_a_stable_name(code: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", code)
