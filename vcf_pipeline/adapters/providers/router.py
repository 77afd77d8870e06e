"""Briefs → what became of each: cached, asked of one or several providers in turn, or explained by rules.

Bounded whatever the number of briefs: so many are under way, the others wait in the caller's iterator. Not here: one
attempt (attempts.py); whom to ask first (domain/annotation/provider_choice.py); threads (explainer.py).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from time import monotonic

from vcf_pipeline.adapters.providers.attempts import Asking, Attempt, Attempts, Member, given_of
from vcf_pipeline.adapters.providers.port import Books, Task
from vcf_pipeline.adapters.providers.rules import RULES, RulesAnnotator
from vcf_pipeline.adapters.providers.runs import Gathered, Options, Run
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.brief import Brief
from vcf_pipeline.domain.annotation.consensus import Gathering, shown_first
from vcf_pipeline.domain.annotation.explained import Explained, Status
from vcf_pipeline.domain.annotation.prompts import PROMPT_VERSION
from vcf_pipeline.domain.annotation.provider_choice import TRIES_A_PROVIDER, next_free, order
from vcf_pipeline.domain.annotation.spending import Bought, Grant, Look, Wanted

_LOOK_AHEAD = 1024
_AT_A_TIME = 256
_POLL_S = 0.03
_RATE_PAUSE_S = 1.0


class Router:
    """Used from one loop. read: a model's text → an Answer, or BadAnswer. tell: a line for whoever watches."""

    def __init__(
        self,
        members: Sequence[Member],
        books: Books,
        rules: RulesAnnotator,
        read: Callable[[str, Brief], Answer],
        options: Options,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._members = {member.name: member for member in members}
        self._books, self._rules, self._options = books, rules, options
        self._attempts = Attempts(books, read, tell)
        self._flights: dict[tuple[str, str], asyncio.Future[Explained]] = {}
        for member in members:
            if member.problem:
                tell(member.problem)

    # --- a run

    async def explain(self, run: Run, tasks: Iterable[Task]) -> None:
        """Emit one Explained for each task, as they come; of those that wait, the lowest tier first.

        A sequence is put in the order of its tiers; of an iterator, the next thousand are. Raises StoreUnavailable
        when what is under way has ended; what a stop left unasked is not emitted.
        """
        for member in self._members.values():
            member.start_again()
        ordered = sorted(tasks, key=lambda task: task.tier) if isinstance(tasks, Sequence) else tasks
        source = iter(ordered)
        width = sum(member.concurrency for member in self._asked(run)) or 1
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width + width // 4 + 1, _LOOK_AHEAD)):
                group.create_task(self._work(run, source))
        await self._attempts.settled()
        if run.error is not None:
            raise run.error

    async def settled(self) -> None:
        """Until what was left to end by itself has ended and is written."""
        await self._attempts.settled()

    async def _work(self, run: Run, source: Iterator[Task]) -> None:
        try:
            while (one := await self._next(run, source)) is not None:
                explained = await self._explained(run, *one)
                if explained is not None:
                    await run.emit(explained)
        except Exception as error:
            # the others end what they are at, so that what was paid for is written
            run.error = run.error or error
            run.stop()

    async def _next(self, run: Run, source: Iterator[Task]) -> tuple[Task, Sequence[Bought]] | None:
        """A task, and those answers to it that are there."""
        if len(run.waiting) < _LOOK_AHEAD // 4 and not run.is_read:
            async with run.filling:
                while len(run.waiting) < _LOOK_AHEAD // 4 and not run.is_read and not run.is_stopping:
                    await self._fill(run, source)
        if run.is_stopping or not run.waiting:
            return None
        return heapq.heappop(run.waiting)[2:]

    async def _fill(self, run: Run, source: Iterator[Task]) -> None:
        """More tasks in waiting, those that need no call answered at once."""
        # in a thread: the caller's iterator may read a table
        tasks = await asyncio.to_thread(lambda: list(itertools.islice(source, _AT_A_TIME)))
        run.is_read = len(tasks) < _AT_A_TIME
        members = self._asked(run)
        if not members:
            for task in tasks:
                await run.emit(self._without_providers(run, task.brief))
            return
        models = [member.model for member in members]
        subjects = [task.brief.subject for task in tasks]
        found = await self._books.find(run.tenant, list(dict.fromkeys(subjects)), models, PROMPT_VERSION)
        for task, subject in zip(tasks, subjects, strict=True):
            bought = found.get(subject, [])
            if not task.brief.facts:
                # an answer has to cite a fact: without one nobody can give it
                await run.emit(Explained(subject, "skipped", "NO_FACTS"))
            elif len(bought) >= self._wanted(run):
                await run.emit(self._from_cache(run, subject, bought))
            else:
                heapq.heappush(run.waiting, (task.tier, next(run.numbers), task, bought))

    # --- one brief

    async def _explained(self, run: Run, task: Task, bought: Sequence[Bought]) -> Explained | None:
        """None: a stop came before it was asked. The same brief twice at a time is asked once."""
        key = (run.tenant, task.brief.subject)
        flight = self._flights.get(key)
        if flight is not None:
            first = await asyncio.shield(flight)
            return _again(first)
        flight = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            explained = await self._asked_for(run, task, key[1], bought)
        except BaseException as error:
            flight.set_exception(error)
            flight.exception()  # whoever waits is told; nobody may
            raise
        else:
            flight.set_result(explained or Explained(key[1], "skipped", "STOPPED"))
            return explained
        finally:
            del self._flights[key]

    async def _asked_for(self, run: Run, task: Task, subject: str, bought: Sequence[Bought]) -> Explained | None:
        brief = task.brief
        gathered = Gathered(Gathering(run.correlation_id, subject, self._wanted(run)), task.tier)
        self._take_bought(run, gathered, bought)
        asking = self._asking(run, brief, subject)
        try:
            while not gathered.gathering.is_complete:
                if not await self._step(run, asking, gathered):
                    break
        finally:
            # what is still under way (a hedge that lost) is paid for: it ends by itself, and its answer is kept
            for future in gathered.running:
                self._attempts.keep(future)
            gathered.thirst(run, False)
        return self._outcome(run, brief, subject, gathered)

    async def _step(self, run: Run, asking: Asking, gathered: Gathered) -> bool:
        """Start what can be started, wait for what ends first. False: there is nothing more to be done."""
        options = self._options
        wanted = gathered.gathering.missing + int(gathered.is_hedging)
        while len(gathered.running) < wanted and not run.is_stopping:
            member = await self._chosen(run, gathered, may_wait=not gathered.running)
            if member is None:
                break
            seconds = gathered.begin(monotonic(), options.deadline_s)
            attempt = self._attempts.ask(member, asking, seconds, lambda: not run.is_stopping)
            gathered.running[asyncio.ensure_future(attempt)] = member
        if not gathered.running:
            return False
        may_hedge = options.hedge_after_s > 0 and not gathered.is_hedging
        done, _ = await asyncio.wait(
            gathered.running, return_when=asyncio.FIRST_COMPLETED, timeout=options.hedge_after_s if may_hedge else None
        )
        gathered.is_hedging = gathered.is_hedging or not done
        for future in done:
            member = gathered.running.pop(future)
            await self._take(run, asking, gathered, member, future.result())
        return True

    async def _take(self, run: Run, asking: Asking, gathered: Gathered, member: Member, attempt: Attempt) -> None:
        gathered.add(member, attempt)
        gathered.thirst(run, attempt.grant is Grant.FULL)
        match attempt.ended:
            case "answered" if attempt.given is not None:
                gathered.take(run.correlation_id, asking.wanted.subject, attempt.given)
                gathered.done.add(member.name)
            case "not ours":
                await self._wait_for_others(run, asking, gathered, attempt.bought)
            case "wait" if attempt.grant is Grant.RATE:
                member.paused_until = monotonic() + _RATE_PAUSE_S
                member.change(member.state.paused(member.paused_until))
            case "wait":
                await asyncio.sleep(_POLL_S)
                gathered.ends_at += _POLL_S
            # a pause that was asked for is no try, unless something was paid for before it
            case "failed" if attempt.reason != "RATE_LIMITED" or attempt.problems:
                gathered.tries[member.name] = gathered.tries.get(member.name, 0) + 1
                if gathered.tries[member.name] >= TRIES_A_PROVIDER:
                    gathered.done.add(member.name)
            case "refused" | "bad" | "spent":
                gathered.done.add(member.name)

    async def _chosen(self, run: Run, gathered: Gathered, *, may_wait: bool) -> Member | None:
        """A member whose place and turn are taken; None: none can be asked in time, or in this run."""
        while not run.is_stopping:
            if any(waiting and tier < gathered.tier for tier, waiting in run.thirsty.items()):
                await asyncio.sleep(_POLL_S)
                continue
            without = gathered.done | {member.name for member in gathered.running.values()}
            states = [member.state for member in self._asked(run)]
            now = monotonic()
            candidates = [
                self._members[state.name] for state in order(states, self._options.balance, now, without=without)
            ]
            free = candidates[:1] if self._options.balance == "preference" else candidates
            taken = next((member for member in free if member.slots.take()), None)
            if taken is None and candidates and may_wait:
                has_place = await candidates[0].slots.wait(1.0)
                taken = candidates[0] if has_place else None
                if taken is not None and not taken.state.is_free(monotonic()):
                    taken.slots.give_back()
                    continue
            if taken is not None:
                taken.change(taken.state.begun(monotonic()))
                return taken
            if not may_wait:
                return None
            if not candidates and not await self._patiently(run, gathered, without):
                return None
        return None

    async def _patiently(self, run: Run, gathered: Gathered, without: set[str]) -> bool:
        """Wait a moment for one that cannot be asked now; False: it is not worth it."""
        now = monotonic()
        members = [member for member in self._asked(run) if member.name not in without]
        at = next_free([member.state for member in members], now)
        if at is None or RULES in run.allowed:
            return False
        # our own bound takes nothing from the allele's time
        is_ours = any(member.paused_until > now for member in members)
        if at > gathered.last_moment(now, self._options.deadline_s) and not is_ours:
            return False
        pause = min(max(at - now, 0.005), 0.05)
        await asyncio.sleep(pause)
        if is_ours and gathered.ends_at:
            gathered.ends_at += pause
        return True

    async def _wait_for_others(self, run: Run, asking: Asking, gathered: Gathered, bought: Sequence[Bought]) -> None:
        """Another process is asking, or has answered: until its answer is there, or it has failed or died."""
        while not run.is_stopping:
            self._take_bought(run, gathered, bought)
            if gathered.gathering.is_complete:
                return
            await asyncio.sleep(_POLL_S)
            gathered.ends_at += _POLL_S
            (told,) = await self._books.write(Look(asking.wanted))
            assert told is not None  # noqa: S101 - what the port promises of a Look
            if told.grant is Grant.FREE:
                return
            bought = told.bought

    def _take_bought(self, run: Run, gathered: Gathered, bought: Sequence[Bought]) -> None:
        for one in bought:
            if gathered.take(run.correlation_id, one.subject, given_of(one, is_cached=True)):
                gathered.done.add(one.provider)
                self._books.count_hits([one])

    # --- what it comes to

    def _outcome(self, run: Run, brief: Brief, subject: str, gathered: Gathered) -> Explained | None:
        calls, cost, rejected = gathered.calls, gathered.cost_microusd, tuple(gathered.rejected.values())
        given = shown_first(gathered.gathering.given, run.allowed)
        if given:
            reason = "" if gathered.gathering.is_complete else "PARTIAL_CONSENSUS"
            return Explained(subject, "annotated", reason, given, calls, cost, rejected)
        if run.is_stopping:
            return None
        reason = gathered.reason or next((member.reason for member in self._asked(run) if member.reason), "")
        reason = reason or "PROVIDER_UNAVAILABLE"
        may_use_rules = RULES in run.allowed or (self._options.fallback_to_rules and reason != "BUDGET_SPENT")
        by_rules = self._rules.given(brief) if may_use_rules else None
        if by_rules is not None:
            status: Status = "annotated"
        else:
            status = "skipped" if reason == "BUDGET_SPENT" else "failed"
        given = (by_rules,) if by_rules is not None else ()
        return Explained(subject, status, reason, given, calls, cost, rejected)

    def _without_providers(self, run: Run, brief: Brief) -> Explained:
        """Rules were asked for, or nobody else may see the tenant's facts."""
        subject, by_rules = brief.subject, self._rules.given(brief)
        if by_rules is None:
            return Explained(subject, "skipped", "NO_FACTS")
        if run.allowed[:1] == (RULES,):
            return Explained(subject, "annotated", "", (by_rules,))
        problem = next((m.problem for name in run.allowed if (m := self._members.get(name)) and m.problem), "")
        reason = "UNKNOWN_PRICE" if problem else "NOT_ALLOWED"
        if self._options.fallback_to_rules or RULES in run.allowed:
            return Explained(subject, "annotated", reason, (by_rules,))
        return Explained(subject, "failed" if problem else "skipped", reason)

    def _from_cache(self, run: Run, subject: str, bought: Sequence[Bought]) -> Explained:
        used = bought[: self._wanted(run)]
        self._books.count_hits(used)
        given = tuple(given_of(one, is_cached=True) for one in used)
        return Explained(subject, "annotated", "", shown_first(given, run.allowed))

    def _asked(self, run: Run) -> list[Member]:
        """Members that may be asked for this tenant, in order; whoever stands behind `rules` never is."""
        before = itertools.takewhile(lambda name: name != RULES, run.allowed)
        members = [self._members[name] for name in before if name in self._members]
        return [member for member in members if not member.problem]

    def _wanted(self, run: Run) -> int:
        return min(self._options.consensus, len(self._asked(run)))

    def _asking(self, run: Run, brief: Brief, subject: str) -> Asking:
        return Asking(
            brief=brief,
            callset_id=run.callset_id,
            wanted=Wanted(
                tenant=run.tenant,
                subject=subject,
                models=tuple(member.model for member in self._asked(run)),
                prompt_version=PROMPT_VERSION,
                answers=self._wanted(run),
            ),
            budget_microusd=self._options.budget_microusd,
            attempt_timeout_s=self._options.attempt_timeout_s,
        )


def _again(explained: Explained) -> Explained:
    """The same answer for the same brief asked at the same time: nothing was paid for it."""
    given = tuple(replace(one, is_cached=True) if one.provider != RULES else one for one in explained.given)
    return replace(explained, given=given, calls=0, cost_microusd=0)
