"""The table that `make acceptance` ends with: what was to be seen, whether it was, how long it took.

A pytest plugin, loaded with `-p vcf_pipeline_tests.acceptance_table`. Not here: any test.
"""

from __future__ import annotations

from typing import Any

RESULTS = {"passed": "seen", "failed": "FAILED", "skipped": "skipped", "error": "ERROR"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        (_sentence(report.nodeid), RESULTS[outcome], f"{report.duration:,.1f} s")
        for outcome in RESULTS
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", None) == "call" or outcome != "passed"
    ]
    if not rows:
        return
    wide = max(len(sentence) for sentence, _, _ in rows)
    terminalreporter.section("what must be seen")
    for sentence, result, seconds in sorted(rows):
        terminalreporter.write_line(f"{sentence:<{wide}}  {result:<7}  {seconds:>10}")


def _sentence(nodeid: str) -> str:
    """`journeys/test_x.py::test_a_retry_starts_at_once[run-3]` → `a retry starts at once (run-3)`."""
    name, _, parameter = nodeid.rpartition("::")[2].partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words} ({parameter.removesuffix(']')})" if parameter else words
