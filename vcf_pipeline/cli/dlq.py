"""`dlq list|show|replay|discard`: what could not be processed, why, and what becomes of it.

Not here: which letters are meant (domain/stream/dead_letters.py), reading and sending them (stages/dead_letters.py).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcf_pipeline.cli.output import (
    Call,
    exit_code_of,
    one_line,
    printable,
    stderr_line,
    table_lines,
    verb,
    verb_group,
)

if TYPE_CHECKING:
    from vcf_pipeline.domain.stream.dead_letters import LetterRecord, Wanted
    from vcf_pipeline.stages.dead_letters import Outcome
    from vcf_pipeline.wiring import Control

app = verb_group("Dead letters: messages that could not be processed, with their origin and the reason.")
PREVIEW_BYTES = 64
_AGO = re.compile(r"(\d+)\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class StateName(StrEnum):
    open = "open"
    replayed = "replayed"
    discarded = "discarded"
    all = "all"


LettersArgument = Annotated[list[str] | None, typer.Argument(metavar="LETTER", help="Ids, or their beginnings.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Of the origin, as in vcf-callsets.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="A code, or a part of the reason's text.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="2026-11-23, 2026-11-23T14:00, or 2h, 7d ago.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="The same.")]
CallsetOption = Annotated[str | None, typer.Option("--callset", help="A callset_id, or its beginning.")]
StateOption = Annotated[StateName, typer.Option("--state", help="open, replayed, discarded or all.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every open one, where nothing else narrows it.")]


@app.command("list")
@verb
def list_letters(
    call: Call,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    callset: CallsetOption = None,
    state: StateOption = StateName.open,
) -> None:
    """List dead letters, the newest first; of every tenant, or of --tenant alone."""
    from vcf_pipeline.stages.dead_letters import find_letters

    wanted = _wanted(call, (), topic, reason, since, until, callset, state)
    with _heard(call) as control:
        found = find_letters(control.ledger, wanted)
    if call.json:
        for record in found:
            call.emit(record_of(record))
        return
    if not found:
        stderr_line("no dead letters." if state is StateName.all else f"no {state.value} dead letters.")
        return
    heads = ["letter", "when", "topic", "tenant", "callset", "tries", "state", "reason"]
    rows = [
        (r.id, _when(r.last_at), r.origin_topic or "-", r.tenant or "-", r.callset_id or "-", r.attempts, r.state)
        for r in found
    ]
    why = [one_line(f"{r.code}: {r.reason}" if r.code else r.reason)[:100] for r in found]
    rows_and_why = [(*row, reason) for row, reason in zip(rows, why, strict=True)]
    call.emit({}, table_lines(heads, rows_and_why, right=("tries",)))


@app.command("show")
@verb
def show(call: Call, letter: Annotated[str, typer.Argument(metavar="LETTER", help="An id, or its beginning.")]) -> int:
    """Show one letter in full, with its message: decoded where it can be, else its first bytes."""
    from vcf_pipeline.domain.errors import PipelineError
    from vcf_pipeline.domain.stream.dead_letters import Wanted
    from vcf_pipeline.stages.dead_letters import find_letters, message_of

    with _heard(call) as control:
        (found,) = find_letters(control.ledger, Wanted(ids=(letter,)))
        record = record_of(found)
        problem: PipelineError | None = None
        try:
            body = message_of(control.coordinator, found)
        except PipelineError as error:
            problem = error
        else:
            record["message"] = _described(body)
            record["body_base64"] = base64.b64encode(body).decode()
    shown = {name: value for name, value in record.items() if name != "body_base64"}
    width = max(map(len, shown))
    call.emit(record, (f"{name:{width}}  {printable('-' if v is None else v)}" for name, v in shown.items()))
    if problem is not None:
        stderr_line(f"error: {one_line(str(problem))}")
        return exit_code_of(problem)
    return 0


@app.command("replay")
@verb
def replay_letters(
    call: Call,
    letters: LettersArgument = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    callset: CallsetOption = None,
    all_open: AllOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Send messages back, as they were, to the broker, topic and partition they came from. Twice is harmless."""
    from vcf_pipeline.stages.dead_letters import find_letters, replay

    wanted = _narrowed(_wanted(call, letters or (), topic, reason, since, until, callset, StateName.open), all_open)
    done = "would be replayed" if dry_run else "replayed"
    with _heard(call) as control:
        found = find_letters(control.ledger, wanted)
        return _told(call, replay(control.coordinator, control.ledger, found, dry_run=dry_run), done)


@app.command("discard")
@verb
def discard_letters(
    call: Call,
    letters: LettersArgument = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    callset: CallsetOption = None,
    all_open: AllOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Lay letters aside for good. They stay in their topic until its retention takes them."""
    from vcf_pipeline.stages.dead_letters import discard, find_letters

    wanted = _narrowed(_wanted(call, letters or (), topic, reason, since, until, callset, StateName.open), all_open)
    done = "would be discarded" if dry_run else "discarded"
    with _heard(call) as control:
        return _told(call, discard(control.ledger, find_letters(control.ledger, wanted), dry_run=dry_run), done)


@contextmanager
def _heard(call: Call) -> Iterator[Control]:
    """Control with the index brought up to date; brokers that could not be asked are named."""
    from vcf_pipeline.stages.dead_letters import hear_letters
    from vcf_pipeline.wiring import Control

    with Control(call.settings()) as control:
        for problem in hear_letters(control.coordinator, control.ledger):
            stderr_line(f"warning: {one_line(str(problem))}")
        yield control


def _wanted(
    call: Call,
    letters: list[str] | tuple[str, ...],
    topic: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    callset: str | None,
    state: StateName,
) -> Wanted:
    from vcf_pipeline.domain.stream.dead_letters import STATES, Wanted

    return Wanted(
        ids=tuple(letters),
        topic=topic,
        reason=reason,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        callset=callset,
        tenant=call.tenant,
        states=STATES if state is StateName.all else (state.value,),
    )


def _narrowed(wanted: Wanted, all_open: bool) -> Wanted:
    if wanted.is_everything and not all_open:
        raise typer.BadParameter("say which: ids, a filter such as --topic, or --all for every open one.")
    return wanted


def moment(text: str | None, option: str) -> float | None:
    """Seconds since 1970. A date without a zone is this machine's; `2h` is two hours ago."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip()):
        step = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return (datetime.now(UTC) - step).timestamp()
    try:
        return datetime.fromisoformat(text.strip()).astimezone().timestamp()
    except ValueError:
        raise typer.BadParameter(f"{option} takes 2026-11-23, 2026-11-23T14:00 or 2h, not {text!r}.") from None


def _told(call: Call, outcomes: Iterator[Outcome], done: str) -> int:
    worst = count = 0
    for outcome in outcomes:
        count += 1
        record = outcome.record
        emitted = {**record_of(record), "action": "refused" if outcome.refused else done}
        emitted["refused"] = outcome.refused or None
        emitted["still_unreadable"] = outcome.still_unreadable or None
        emitted["segment"] = outcome.segment.to_dict() if outcome.segment else None
        call.emit(emitted, [] if outcome.refused else [f"{done}  {record.id}  {record.origin_topic}"])
        if outcome.refused:
            stderr_line(f"error: {record.id}: {one_line(outcome.refused)}")
            worst = max(worst, exit_code_of(outcome.problem) if outcome.problem else 1)
        elif outcome.still_unreadable:
            stderr_line(f"warning: {record.id} will come back: {one_line(outcome.still_unreadable)}")
    if not count:
        stderr_line("no dead letter is meant by that.")
    return worst


def record_of(record: LetterRecord) -> dict[str, Any]:
    return {
        "letter": record.id,
        "state": record.state,
        "tenant": record.tenant or None,
        "callset_id": record.callset_id or None,
        "topic": record.origin_topic or None,
        "origin": record.origin,
        "code": record.code or None,
        "reason": record.reason,
        "attempts": record.attempts,
        "replays": record.replays,
        "size_bytes": record.size_bytes,
        "first_at": _when(record.first_at),
        "last_at": _when(record.last_at),
    }


def _described(body: bytes) -> str:
    """What a person sees of a message: its envelope's own words, else its first bytes."""
    from vcf_pipeline.domain.errors import UnreadableMessage
    from vcf_pipeline.domain.stream import envelope as frame

    try:
        found = frame.decode(body)
    except UnreadableMessage:
        head = body[:PREVIEW_BYTES]
        return f"{len(body):,} bytes, no envelope: {head!r}{'…' if len(body) > len(head) else ''}"
    return f"{found.kind} {found.id}, tenant {found.tenant}, {len(found.body):,} bytes of body"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
