"""What is printed, and the exit code of several files."""

from __future__ import annotations

import pytest

from vcf_pipeline.cli.output import Call, all_tiers, one_line, printable, table_lines
from vcf_pipeline.domain.errors import NotFound, StoreUnavailable


def test_a_terminal_obeys_nothing_that_a_file_says() -> None:
    assert printable("a\x1b[31mb\x07\x9b") == "a\\x1b[31mb\\x07\\x9b"


def test_an_error_is_one_line() -> None:
    assert one_line("first\n  second\tthird") == "first second third"


def test_tiers_are_always_all_five_in_order() -> None:
    assert list(all_tiers({"2": 3, 1: 4}).items()) == [("1", 4), ("2", 3), ("3", 0), ("4", 0), ("unknown", 0)]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Call(json=True).emit({"label": "a\nb"}, ["for a person"])
    assert capsys.readouterr().out == '{"label": "a\\nb"}\n'


def test_without_json_a_person_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Call().emit({"label": "x"}, ["for a person"])
    assert capsys.readouterr().out == "for a person\n"


def test_one_failure_does_not_stop_the_rest_and_the_worst_code_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def act(path: str) -> None:
        seen.append(path)
        if path == "refused.vcf":
            raise NotFound(where="refused.vcf", got="nothing there")
        if path == "busy.vcf":
            raise StoreUnavailable(where="ledger", got="locked")

    assert Call().each(["refused.vcf", "busy.vcf", "good.vcf"], act) == 4
    assert seen == ["refused.vcf", "busy.vcf", "good.vcf"]
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: refused.vcf: nothing there (NOT_FOUND)."
    assert second == "error: busy.vcf: ledger: locked (STORE_UNAVAILABLE)."


def test_ctrl_c_stops_the_rest() -> None:
    def act(path: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Call().each(["a", "b"], act)


def test_a_table_keeps_its_content_whole_where_stdout_is_no_terminal() -> None:
    long = "x" * 300
    assert table_lines(["name", "count"], [[long, 7]], right=("count",))[1].split() == [long, "7"]


def test_a_printed_command_carries_home_and_tenant() -> None:
    call = Call(tenant="lab-b")
    assert call.command("query", "variants", "--gene", "A B") == (
        "vcf-pipeline --tenant lab-b query variants --gene 'A B'"
    )
