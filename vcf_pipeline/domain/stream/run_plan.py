"""(messages, the ledger's view, cursor) → runs and the new cursor; and what to ask for again.

Pure: sensors fetch, ask here, record what was accepted, return. Not here: Dagster (defs/sensors.py,
defs/reconcile.py), how a message is decoded (events.py), where the view comes from (the ledger and Dagster's
runs). Rules: DESIGN section 6.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal

from vcf_pipeline.domain.identity import PartitionKey
from vcf_pipeline.domain.stream.cursor import Cursor, Place
from vcf_pipeline.domain.stream.events import Event, Heard
from vcf_pipeline.domain.stream.stage_events import StageEvent

State = Literal["none", "in_flight", "done", "refused", "forgotten", "range_failed"]

SPOOL_PATH = "spool"
"""How a callset came that was published while no broker was left: its file is run meanwhile, unasked."""
PATH_TAG = "vcf_pipeline/path"
CORRELATION_TAG = "vcf_pipeline/correlation_id"
TENANT_TAG = "vcf_pipeline/tenant"
RANGE_TAG = "vcf_pipeline/range"


@dataclass(frozen=True)
class Progress:
    """How far control is with one announcement.

    none: nothing of this callset and generation was started. in_flight: a run of it is queued or going on, or
    another publication of it was accepted before. done: materialised, with `digest`. refused: final.
    forgotten: this publish_id was recorded before the callset was forgotten. range_failed: a run over a range
    that held it failed. generation: the one that control gives this announcement. attempts: how often a run of it
    has failed, so that one who sends the event again after a fix gets a run that Dagster has not had.
    """

    state: State = "none"
    generation: int = 0
    digest: str = ""
    attempts: int = 0


NONE = Progress()


@dataclass(frozen=True)
class View:
    """progress: by the event's id; one that is not in it is `none`, generation 0.

    partitions: Dagster's keys of `callsets`, in the order in which it lists them: a range follows that order.
    """

    progress: Mapping[str, Progress] = field(default_factory=dict)
    partitions: Sequence[str] = ()


@dataclass(frozen=True)
class Limits:
    """burst: so many pending neighbours make a range worth while (50 events: 4.4 s against 33 s). max_range:
    one bad callset fails all of a range, so it is bounded. backoff_s, max_attempts: of reconciling.
    rebuild_after_s: the partition of a callset that changed since is its sensor's to add, not reconciling's: two who
    add one at once are an error to Dagster.
    """

    burst: int = 8
    max_range: int = 16
    backoff_s: float = 30.0
    max_attempts: int = 3
    rebuild_after_s: float = 10.0


LIMITS = Limits()


@dataclass(frozen=True)
class RunPlanned:
    """key: Dagster remembers it for ever. partition_keys: one, or the first and the last of a range, in list
    order.

    members: every key of the run. correlation_id: of a single callset, "" for a range.
    """

    key: str
    partition_keys: tuple[str, ...]
    tags: Mapping[str, str]
    correlation_id: str
    members: tuple[str, ...]

    @property
    def is_range(self) -> bool:
        return len(self.partition_keys) > 1


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be read, with its origin."""

    place: Place
    reason: str
    body: bytes


@dataclass(frozen=True)
class Plan(Generic[Event]):
    """accepted: to be recorded in the ledger before `cursor` is returned. partition_keys: to be added, in
    this order.
    """

    accepted: tuple[Event, ...]
    runs: tuple[RunPlanned, ...]
    partition_keys: tuple[str, ...]
    cursor: Cursor
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True)
class _Pending:
    key: str
    generation: int
    digest: str
    correlation_id: str
    may_range: bool
    heard_again: int = 0


def plan_runs(
    messages: Sequence[Heard[Event]],
    view: View,
    cursor: Cursor,
    limits: Limits = LIMITS,
    *,
    stage: str = "variants",
) -> Plan[Event]:
    """Which runs the heard events ask for, in whichever stage. Repeats, and what is done, in flight, refused or
    forgotten, ask none.

    A done callset that is announced with another digest (published again with other reader settings) runs
    again.
    """
    accepted: list[Event] = []
    pending: dict[str, _Pending] = {}
    for message in messages:
        announced = message.event
        if announced is None:
            continue
        key = str(announced.key)
        progress = view.progress.get(announced.id, NONE)
        if key in pending or not _asks_for_a_run(announced, progress):
            continue
        accepted.append(announced)
        pending[key] = _Pending(
            key,
            progress.generation,
            announced.digest,
            announced.correlation_id,
            may_range=progress.state != "range_failed",
            heard_again=progress.attempts,
        )
    new = _missing(list(pending), view.partitions)
    return Plan(
        accepted=tuple(accepted),
        runs=tuple(_runs(list(pending.values()), [*view.partitions, *new], limits, stage)),
        partition_keys=tuple(new),
        cursor=cursor.after(message.place for message in messages),
        dead_letters=tuple(
            DeadLetter(message.place, message.reason, message.body)
            for message in messages
            if message.event is None and message.ended is None
        ),
    )


def _asks_for_a_run(announced: Event, progress: Progress) -> bool:
    if progress.state == "done":
        return progress.digest != announced.digest
    return progress.state in ("none", "range_failed")


def stage_progress(
    event: StageEvent, *, generation: int | None, current: str, done: str, has_run: bool, attempts: int = 0
) -> Progress:
    """How far control is with what an event of a stage asks for.

    generation: the callset's, None for one that is unknown or forgotten. current: digest of the manifest that the
    event is about, as it is now. done: digest of the one that the stage's result was made from, "" without a result.
    attempts: failed tries of it.
    An event about another generation, or about a manifest that was replaced since, is no longer anybody's business:
    the new one has an event of its own.
    """
    if generation is None or event.generation != generation or event.digest != current:
        return Progress("forgotten", generation or 0)
    if done == event.digest:
        return Progress("done", generation, done)
    if has_run:
        return Progress("in_flight", generation)
    return Progress("range_failed" if attempts else "none", generation, attempts=attempts)


def _missing(keys: Sequence[str], partitions: Sequence[str]) -> list[str]:
    """Those not yet in Dagster's list, the tenants side by side so that a burst of each can be one range."""
    present = set(partitions)
    new = [key for key in keys if key not in present]
    tenants = list(dict.fromkeys(_tenant(key) for key in new))
    return sorted(new, key=lambda key: tenants.index(_tenant(key)))


def _tenant(key: str) -> str:
    return key.partition("/")[0]


def _runs(pending: Sequence[_Pending], partitions: Sequence[str], limits: Limits, stage: str) -> list[RunPlanned]:
    """One run per callset, and one per stretch of the list that is all pending, of one tenant, and long
    enough.
    """
    by_key = {one.key: one for one in pending}
    runs = []
    for stretch in _stretches(by_key, partitions):
        if len(stretch) < limits.burst:
            runs += [_single(by_key[key], stage) for key in stretch]
            continue
        n_ranges = -(-len(stretch) // limits.max_range)
        cuts = [len(stretch) * number // n_ranges for number in range(n_ranges + 1)]
        runs += [_range([by_key[key] for key in stretch[first:end]], stage) for first, end in itertools.pairwise(cuts)]
    order = {one.key: place for place, one in enumerate(pending)}
    return sorted(runs, key=lambda run: order[run.members[0]])


def _stretches(pending: Mapping[str, _Pending], partitions: Sequence[str]) -> list[list[str]]:
    """Pending keys in list order, cut wherever something else, or another tenant, stands between."""
    stretches: list[list[str]] = []
    last = ""
    for key in partitions:
        one = pending.get(key)
        if one is None:
            last = ""
            continue
        if not one.may_range:
            stretches.append([key])
            last = ""
            continue
        if last and _tenant(last) == _tenant(key):
            stretches[-1].append(key)
        else:
            stretches.append([key])
        last = key
    return stretches


def run_key(stage: str, partition_key: str, generation: int, digest: str, attempt: int = 0, again: int = 0) -> str:
    """`stage/callset/generation/digest`, with `/attempt-n` when reconciling asks, `/again-n` when the event was heard
    again after n failures.
    """
    suffix = f"/attempt-{attempt}" if attempt else f"/again-{again}" if again else ""
    return f"{stage}/{partition_key}/{generation}/{digest}{suffix}"


def _single(one: _Pending, stage: str, attempt: int = 0) -> RunPlanned:
    return RunPlanned(
        key=run_key(stage, one.key, one.generation, one.digest, attempt, one.heard_again),
        partition_keys=(one.key,),
        tags={PATH_TAG: "stream", CORRELATION_TAG: one.correlation_id, TENANT_TAG: _tenant(one.key)},
        correlation_id=one.correlation_id,
        members=(one.key,),
    )


def _range(members: Sequence[_Pending], stage: str) -> RunPlanned:
    if len(members) == 1:
        return _single(members[0], stage)
    # a digest, because a run_key is an indexed column and Postgres ends an index row near 2.7 kB
    whole = hashlib.blake2b(digest_size=16)
    for one in members:
        whole.update(run_key(stage, one.key, one.generation, one.digest).encode() + b"\0")
    tenant = _tenant(members[0].key)
    return RunPlanned(
        key=f"{stage}/{tenant}/range/{whole.hexdigest()}",
        partition_keys=(members[0].key, members[-1].key),
        tags={PATH_TAG: "stream", TENANT_TAG: tenant, RANGE_TAG: str(len(members))},
        correlation_id="",
        members=tuple(one.key for one in members),
    )


@dataclass(frozen=True)
class Standing:
    """One callset as the ledger and Dagster know it. state: the ledger's. since: seconds since 1970 of its
    last change.

    attempts: how often a run of this generation and digest failed or was asked for again.
    is_lost: its run was killed, and nobody but reconciling will repeat it.
    is_permanent: the last failure is one that no rerun cures.
    """

    key: PartitionKey
    state: str
    generation: int
    digest: str
    path: str
    correlation_id: str
    attempts: int
    since: float
    has_run: bool = False
    is_lost: bool = False
    is_permanent: bool = False


@dataclass(frozen=True)
class Reconciled:
    """runs: to ask for again. partition_keys: of callsets that Dagster has forgotten. given_up: left
    failed.
    """

    runs: tuple[RunPlanned, ...]
    partition_keys: tuple[str, ...]
    given_up: tuple[str, ...]


def plan_reconcile(
    callsets: Sequence[Standing],
    now: float,
    partitions: Sequence[str] = (),
    limits: Limits = LIMITS,
    *,
    stage: str = "variants",
) -> Reconciled:
    """What was announced or spooled and is not done, with no run in progress: once per backoff (doubling), three times
    at most. What lost its run, or waits in a spool, is asked for at once the first time.

    Refused and forgotten are final. A callset registered for batch is asked for by people, not here; its
    partition is rebuilt all the same. What was spooled has no sensor that adds its partition before the run is asked
    for: its publisher does, or this.
    """
    known = set(partitions)
    runs: list[RunPlanned] = []
    given_up: list[str] = []
    living = [one for one in callsets if one.state not in ("refused", "forgotten")]
    for one in living:
        is_spooled = one.path == SPOOL_PATH
        if not (one.path == "stream" or is_spooled) or one.state == "done" or one.has_run:
            continue
        if is_spooled and str(one.key) not in known:
            continue
        if one.is_permanent or one.attempts >= limits.max_attempts:
            given_up.append(str(one.key))
        elif (
            (one.is_lost or is_spooled) and not one.attempts
        ) or now - one.since >= limits.backoff_s * 2**one.attempts:
            pending = _Pending(str(one.key), one.generation, one.digest, one.correlation_id, may_range=False)
            runs.append(_single(pending, stage, one.attempts + 1))
    settled = [str(one.key) for one in living if now - one.since >= limits.rebuild_after_s]
    return Reconciled(tuple(runs), tuple(_missing(settled, partitions)), tuple(given_up))
