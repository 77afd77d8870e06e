"""One provider asked about one brief: a place, the books, the question, the answer judged, one repair.

Not here: which brief, how many providers, what stands in (router.py); how a vendor is spoken to (openai_client.py).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Literal

from vcf_pipeline.adapters.providers.port import Books, Provider, Reply
from vcf_pipeline.adapters.providers.slots import Slots
from vcf_pipeline.domain.annotation.answer import Answer
from vcf_pipeline.domain.annotation.brief import Brief
from vcf_pipeline.domain.annotation.explained import Given
from vcf_pipeline.domain.annotation.prices import Price, most_input_tokens
from vcf_pipeline.domain.annotation.prompts import MAX_OUTPUT_TOKENS, PROMPT_VERSION, Message, question, repair
from vcf_pipeline.domain.annotation.provider_choice import ProviderState
from vcf_pipeline.domain.annotation.spending import Bought, Bounds, Ending, Entry, Grant, Reserve, Settle, Wanted
from vcf_pipeline.domain.errors import BadAnswer, ProviderRefused, ProviderUnavailable

_MARGIN_S = 0.1
"""A provider that does not keep its own deadline is left this much after it."""
_BOOKS_FOR_S = 60.0
"""A call is over, or its process is gone, so long after its deadline."""


@dataclass
class Member:
    """One configured provider. price None: unknown, and never asked; `problem` says so. reason: of its last failure.

    paused_until: our own bound of calls a minute was reached, and is looked at again then.
    """

    provider: Provider
    price: Price | None
    concurrency: int = 8
    requests_per_minute: int = 0
    weight: int = 1
    problem: str = ""
    reason: str = field(default="", init=False)
    paused_until: float = field(default=0.0, init=False)
    state: ProviderState = field(init=False)
    slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self.state = ProviderState(self.name, weight=self.weight, unusable=self.problem)
        self.slots = Slots(self.concurrency)

    @property
    def name(self) -> str:
        return self.provider.name

    @property
    def model(self) -> tuple[str, str]:
        return (self.provider.name, self.provider.model)

    def start_again(self) -> None:
        """A new run: what put it out of the last one may be mended."""
        self.state, self.reason = replace(self.state.out(self.problem), bad_answers=0), ""

    def change(self, state: ProviderState) -> None:
        """Those who wait for a place here choose anew when it can no longer be asked."""
        was_free, self.state = self.state.is_free(monotonic()), state
        if was_free and not state.is_free(monotonic()):
            self.slots.look_again()


@dataclass(frozen=True)
class Asking:
    """What holds for every attempt about one brief."""

    brief: Brief
    callset_id: str
    wanted: Wanted
    budget_microusd: int
    attempt_timeout_s: float


Ended = Literal["answered", "failed", "refused", "bad", "spent", "wait", "not ours"]


@dataclass(frozen=True)
class Attempt:
    """How it ended. wait: our own bounds have no room now. not ours: another process is asking, or has answered.

    bought: of not ours. calls: that left. reason: a code. text, problems: of a bad answer.
    """

    ended: Ended
    given: Given | None = None
    bought: tuple[Bought, ...] = ()
    grant: Grant = Grant.GRANTED
    reason: str = ""
    calls: int = 0
    cost_microusd: int = 0
    text: str = ""
    problems: tuple[str, ...] = ()
    because: str = ""


class Attempts:
    """Asks; used from one loop. read: a text → an Answer, or BadAnswer. tell: a line when a provider is out."""

    def __init__(self, books: Books, read: Callable[[str, Brief], Answer], tell: Callable[[str], None]) -> None:
        self._books, self._read, self._tell = books, read, tell
        self._loose: set[asyncio.Future[Any]] = set()

    async def ask(self, member: Member, asking: Asking, seconds: float, may_repair: Callable[[], bool]) -> Attempt:
        """One attempt at a member whose place and turn were taken by the caller, and are given back here.

        seconds: what is left of the allele's time. Raises StoreUnavailable.
        """
        holds = [True]
        try:
            return await self._asked(member, asking, seconds, may_repair, holds)
        except BaseException:
            member.change(member.state.abandoned())
            raise
        finally:
            self._leave(member, holds)

    def _leave(self, member: Member, holds: list[bool]) -> None:
        if holds[0]:
            holds[0] = False
            member.state = member.state.ended()
            member.slots.give_back()

    async def _asked(
        self, member: Member, asking: Asking, seconds: float, may_repair: Callable[[], bool], holds: list[bool]
    ) -> Attempt:
        messages, total = question(asking.brief), Attempt("failed")
        ends_at = monotonic() + seconds
        while True:
            call_id, refused = await self._reserved(member, asking, messages)
            if refused is not None:
                member.change(member.state.abandoned())
                return replace(total, ended="bad", reason="BAD_ANSWER") if total.problems else refused
            timeout_s = max(min(asking.attempt_timeout_s, ends_at - monotonic()), 0.001)
            try:
                reply = await self._reply(member, messages, timeout_s)
            except ProviderUnavailable as error:
                return self._unavailable(member, call_id, error, total)
            except ProviderRefused as error:
                return self._refused(member, call_id, error, total)
            except BaseException:
                self.later(Settle(call_id, "unknown", "given up"))
                raise
            cost = member.price.cost(reply.input_tokens, reply.output_tokens, reply.kept_tokens) if member.price else 0
            total = replace(total, calls=total.calls + 1, cost_microusd=total.cost_microusd + cost)
            try:
                answer = self._read(reply.text, asking.brief)
            except BadAnswer as error:
                problems = tuple(getattr(error, "problems", None) or [str(error)])
                self.later(_settled(call_id, "bad answer", reply, cost))
                is_second = bool(total.problems)
                total = replace(total, text=reply.text, problems=problems)
                member.change(member.state.answered())
                if is_second or not may_repair() or ends_at <= monotonic():
                    return self._bad(member, total)
                messages = repair(asking.brief, reply.text, problems)
                continue
            member.change(member.state.answered_well())
            return await self._good(member, asking, call_id, reply, cost, answer, total, holds)

    async def _reserved(
        self, member: Member, asking: Asking, messages: Sequence[Message]
    ) -> tuple[str, Attempt | None]:
        """(call_id, None) when the call may leave."""
        assert member.price is not None  # noqa: S101 - one without a price is never chosen
        most = most_input_tokens(messages, member.provider.extra_bytes)
        reserve = Reserve(
            call_id=str(uuid.uuid4()),
            tenant=asking.wanted.tenant,
            callset_id=asking.callset_id,
            subject=asking.wanted.subject,
            provider=member.name,
            model=member.provider.model,
            worst_microusd=member.price.worst(most, MAX_OUTPUT_TOKENS),
            bounds=Bounds(asking.budget_microusd, member.concurrency, member.requests_per_minute),
            seconds=asking.attempt_timeout_s + _BOOKS_FOR_S,
            wanted=asking.wanted,
        )
        (told,) = await self._books.write(reserve)
        assert told is not None  # noqa: S101 - what the port promises of a Reserve
        match told.grant:
            case Grant.GRANTED:
                return reserve.call_id, None
            case Grant.BOUGHT | Grant.TAKEN:
                return "", Attempt("not ours", bought=told.bought, grant=told.grant)
            case Grant.SPENT:
                return "", Attempt("spent", grant=told.grant, reason="BUDGET_SPENT")
            case _:
                return "", Attempt("wait", grant=told.grant)

    async def _reply(self, member: Member, messages: Sequence[Message], timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(timeout_s + _MARGIN_S):
                return await member.provider.ask(messages, max_output_tokens=MAX_OUTPUT_TOKENS, timeout_s=timeout_s)
        except TimeoutError:
            raise ProviderUnavailable(
                where=member.name,
                expected="an answer",
                got=f"none within {timeout_s:g} s",
                provider=member.name,
                retry_after=None,
                may_be_billed=True,
                status=0,
            ) from None

    def _unavailable(self, member: Member, call_id: str, error: ProviderUnavailable, total: Attempt) -> Attempt:
        ending: Ending = "unknown" if error.may_be_billed else "free"
        status = int(getattr(error, "status", 0))
        self.later(Settle(call_id, ending, f"unavailable {status}" if status else "unavailable"))
        if status == 429 or error.retry_after is not None:
            member.change(member.state.cooled(monotonic(), error.retry_after))
        else:
            member.change(member.state.failed(monotonic(), is_dead=status == 0))
        has_left = error.may_be_billed or status != 0
        member.reason = "RATE_LIMITED" if status == 429 else error.code
        return replace(
            total,
            ended="failed",
            reason=member.reason,
            calls=total.calls + has_left,
            because=str(error),
        )

    def _refused(self, member: Member, call_id: str, error: ProviderRefused, total: Attempt) -> Attempt:
        self.later(Settle(call_id, "free", f"refused {error.status}"))
        if error.is_about_us:
            self._put_out(member, str(error))
        else:
            member.change(member.state.answered())
        return replace(total, ended="refused", reason=error.code, calls=total.calls + 1, because=str(error))

    def _bad(self, member: Member, total: Attempt) -> Attempt:
        member.change(member.state.answered_badly())
        if member.state.unusable and member.reason != "BAD_ANSWER":
            member.reason = "BAD_ANSWER"
            self._tell(member.state.unusable)
        return replace(total, ended="bad", reason="BAD_ANSWER", because="; ".join(total.problems))

    def _put_out(self, member: Member, reason: str) -> None:
        if not member.state.unusable:
            member.change(member.state.out(reason))
            member.reason = "PROVIDER_REFUSED"
            self._tell(reason)

    async def _good(
        self,
        member: Member,
        asking: Asking,
        call_id: str,
        reply: Reply,
        cost: int,
        answer: Answer,
        total: Attempt,
        holds: list[bool],
    ) -> Attempt:
        bought = Bought(
            tenant=asking.wanted.tenant,
            subject=asking.wanted.subject,
            provider=member.name,
            model=member.provider.model,
            prompt_version=PROMPT_VERSION,
            answer=answer,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_microusd=cost,
            latency_ms=reply.latency_ms,
        )
        written = self._books.write(_settled(call_id, "answered", reply, cost), bought)
        # whoever takes the place now is written after this, and finds the call settled
        self._leave(member, holds)
        await written
        return replace(total, ended="answered", given=given_of(bought))

    def later(self, *entries: Entry) -> None:
        """Written without being waited for; `settled` waits for all of them."""
        written = self._books.write(*entries)
        self._loose.add(written)
        written.add_done_callback(self._loose.discard)

    def keep(self, attempt: asyncio.Future[Attempt]) -> None:
        """One that nobody waits for any more ends by itself, and what it brings is written."""
        self._loose.add(attempt)
        attempt.add_done_callback(self._loose.discard)

    async def settled(self) -> None:
        """Until all that was left to end or to be written is. Raises StoreUnavailable."""
        while self._loose:
            await asyncio.gather(*self._loose)


def given_of(bought: Bought, *, is_cached: bool = False) -> Given:
    return Given(
        answer=bought.answer,
        provider=bought.provider,
        model=bought.model,
        prompt_version=bought.prompt_version,
        input_tokens=bought.input_tokens,
        output_tokens=bought.output_tokens,
        cost_microusd=bought.cost_microusd,
        latency_ms=bought.latency_ms,
        is_cached=is_cached,
    )


def _settled(call_id: str, outcome: str, reply: Reply, cost: int) -> Settle:
    return Settle(
        call_id,
        "settled",
        outcome,
        cost_microusd=cost,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        latency_ms=reply.latency_ms,
    )
