"""The index of dead letters: noted once, opened again by another failure, left alone once discarded."""

from __future__ import annotations

from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.dead_letters import Letter


def letter(offset: int, message: str = "m", origin: int = 0, **changed: object) -> Letter:
    values = {
        "id": message,
        "place": Place("embedded", "dead-letters", "life", 0, offset),
        "origin": f"embedded:vcf-callsets[0]@{origin}/life",
        "origin_topic": "vcf-callsets",
        "tenant": "lab",
        "callset_id": "",
        "code": "X",
        "reason": f"why {offset}",
        "attempts": 1,
        "size_bytes": 3,
        "is_cut": False,
        "at": 100.0 + offset,
    }
    return Letter(**{**values, **changed})  # type: ignore[arg-type]


def heard(ledger: Ledger, *letters: Letter) -> int:
    return ledger.record_letters(letters, ledger.dead_letter_cursor())


def test_letters_are_listed_newest_first_with_what_they_say(ledger: Ledger) -> None:
    assert ledger.dead_letters() == []
    assert heard(ledger, letter(0, "a"), letter(1, "b")) == 2
    newest, oldest = ledger.dead_letters()
    assert (newest.id, oldest.id) == ("b", "a")
    assert (newest.reason, newest.state, newest.attempts, newest.replays) == ("why 1", "open", 1, 0)
    assert newest.place == Place("embedded", "dead-letters", "life", 0, 1)
    assert (newest.first_at, newest.last_at) == (101.0, 101.0)


def test_one_that_somebody_else_noted_meanwhile_is_not_counted_twice(ledger: Ledger) -> None:
    before = ledger.dead_letter_cursor()
    heard(ledger, letter(0, "a", origin=1))
    assert ledger.record_letters([letter(0, "a", origin=1), letter(1, "a", origin=2)], before) == 1
    assert ledger.dead_letters()[0].attempts == 2


def test_a_topic_that_lost_its_end_is_noted_again_from_its_start(ledger: Ledger) -> None:
    heard(ledger, letter(7, "a"))
    assert heard(ledger, letter(0, "b")) == 1
    assert ledger.dead_letter_cursor() == Cursor().after([letter(0).place])


def test_a_message_that_fails_again_elsewhere_is_one_more_attempt_and_open_again(ledger: Ledger) -> None:
    heard(ledger, letter(0, origin=0))
    ledger.mark_letter("m", "replayed")
    assert [(one.state, one.replays) for one in ledger.dead_letters()] == [("replayed", 1)]
    heard(ledger, letter(1, origin=9, reason="still"))
    (one,) = ledger.dead_letters()
    assert (one.state, one.attempts, one.replays, one.reason) == ("open", 2, 1, "still")
    assert (one.first_at, one.last_at) == (100.0, 101.0)


def test_the_same_failure_told_twice_is_no_attempt_more_and_opens_nothing(ledger: Ledger) -> None:
    heard(ledger, letter(0, origin=5))
    ledger.mark_letter("m", "replayed")
    heard(ledger, letter(1, origin=5))
    assert [(one.state, one.attempts) for one in ledger.dead_letters()] == [("replayed", 1)]


def test_what_was_discarded_stays_so_and_its_attempts_count_on(ledger: Ledger) -> None:
    heard(ledger, letter(0, origin=0))
    ledger.mark_letter("m", "discarded")
    heard(ledger, letter(1, origin=1))
    assert [(one.state, one.attempts, one.replays) for one in ledger.dead_letters()] == [("discarded", 2, 0)]
