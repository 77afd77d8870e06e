"""The one tree of errors, worded *where: expected …, got … (CODE). How to repair.*

    PipelineError            where · expected · got · how to repair
    ├─ PermanentError        no rerun cures it
    │  ├─ UsageError         exit 2: BadTenantName, BadSourceName, UnknownSource, UnknownPartition, AmbiguousCallset,
    │  │                             UnknownSetting, BadSetting, BadVariant
    │  ├─ InputRefused       exit 3: NotFound, NotAVcf, Truncated, Corrupt, DefectFound, TooManyRejects, EngineStopped
    │  ├─ StreamBroken       exit 1: MissingChunks, OffsetLost, OffsetRegressed, TopicMissing, TopicRecreated,
    │  │                             MessageTooLarge, UnreadableMessage
    │  ├─ BrokerUnfit        exit 1: its version, or topics under which acknowledged messages could be lost
    │  ├─ ProviderError      exit 1: ProviderRefused, BadAnswer, BudgetSpent, UnknownPrice
    │  └─ Superseded         exit 1: another fence, a newer generation, a forgotten callset
    └─ TransientError        exit 4: BrokerUnavailable, BrokerTimeout (it may have landed), TopicFull,
                                     StoreUnavailable, LeaseHeld, ProviderUnavailable

An error carries its data as attributes, so that nobody parses its text again.
Not here: vendors' errors, which each adapter maps to these; what each defect of a VCF means (vcf/defects.py).
"""

from __future__ import annotations

from typing import Any, ClassVar


class PipelineError(Exception):
    """Something that a person has to read.

    where: file, line and column, or the address, or the setting. expected, got: what stood against what.
    repair: a sentence that says what to do. code: a stable name for scripts.
    """

    exit_code: ClassVar[int] = 1
    code: str = "FAILED"

    def __init__(
        self,
        message: str = "",
        *,
        where: str = "",
        expected: str = "",
        got: str = "",
        repair: str = "",
        code: str = "",
        **data: Any,
    ) -> None:
        self.where, self.expected, self.got, self.repair = where, expected, got, repair
        self.code = code or type(self).code
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)
        self.message = message or self._compose()
        super().__init__(self.message)

    def _compose(self) -> str:
        fact = f"expected {self.expected}, got {self.got}" if self.expected else self.got
        head = f"{self.where}: {fact}" if self.where else fact
        sentence = f"{head} ({self.code})."
        return f"{sentence} {self.repair}".strip()

    def add_sentence(self, sentence: str) -> None:
        """Say one thing more, known only where the error arrived."""
        self.message = f"{self.message} {sentence}"
        self.args = (self.message,)

    def rename(self, path: str, name: str) -> None:
        """Say what a person calls it wherever a path of our own stands."""
        for part in ("where", "expected", "got", "repair", "message"):
            setattr(self, part, getattr(self, part).replace(path, name))
        self.args = (self.message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[PipelineError], state: dict[str, Any]) -> PipelineError:
    """An error that crossed a process boundary, with its data."""
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


class PermanentError(PipelineError):
    """No rerun cures it."""


class TransientError(PipelineError):
    """A later try may succeed."""

    exit_code = 4
    code = "UNAVAILABLE"


class UsageError(PermanentError):
    """The call was wrong, not the input."""

    exit_code = 2
    code = "USAGE"


class BadTenantName(UsageError):
    code = "BAD_TENANT_NAME"


class BadSourceName(UsageError):
    code = "BAD_SOURCE_NAME"


class UnknownSource(UsageError):
    code = "UNKNOWN_SOURCE"


class UnknownPartition(UsageError):
    code = "UNKNOWN_PARTITION"


class AmbiguousCallset(UsageError):
    """A prefix or label that several callsets share; `candidates` are their partition keys."""

    code = "AMBIGUOUS_CALLSET"
    candidates: list[str]


class UnknownSetting(UsageError):
    code = "UNKNOWN_SETTING"


class BadSetting(UsageError):
    code = "BAD_SETTING"


class BadVariant(UsageError):
    """A single variant that no line of a VCF can say. `where` is the field."""

    code = "BAD_VARIANT"


class InputRefused(PermanentError):
    """The input cannot become a callset. Nothing of it is kept but a ledger row with the reason."""

    exit_code = 3
    code = "INPUT_REFUSED"


class NotFound(InputRefused):
    code = "NOT_FOUND"


class NotAVcf(InputRefused):
    code = "NOT_A_VCF"


class Truncated(InputRefused):
    code = "TRUNCATED"


class Corrupt(InputRefused):
    code = "CORRUPT"


class ChangedWhileRead(InputRefused):
    code = "CHANGED_WHILE_READ"


class DefectFound(InputRefused):
    """In strict mode: the first defect. `line` (1-based), `column`, `code` say which."""

    line: int
    column: str


class TooManyRejects(InputRefused):
    """The share of records set aside is above the limit. `rejected`, `records`, `by_code`."""

    code = "TOO_MANY_REJECTS"
    rejected: int
    records: int
    by_code: dict[str, int]


class EngineStopped(InputRefused):
    """htslib refused a record, died or hung."""

    code = "ENGINE_STOPPED"


class StreamBroken(PermanentError):
    """What a stream holds cannot be what was sent."""

    code = "STREAM_BROKEN"


class MissingChunks(StreamBroken):
    """`seqs`: the numbers that never came."""

    code = "MISSING_CHUNKS"
    seqs: list[int]


class OffsetLost(StreamBroken):
    """`first_available`: the lowest offset that is still stored."""

    code = "OFFSET_LOST"
    first_available: int


class OffsetRegressed(StreamBroken):
    """The end of a topic lies before a place already read: the broker lost messages and counts anew."""

    code = "OFFSET_REGRESSED"


class TopicMissing(StreamBroken):
    code = "TOPIC_MISSING"


class TopicRecreated(StreamBroken):
    code = "TOPIC_RECREATED"


class MessageTooLarge(StreamBroken):
    code = "MESSAGE_TOO_LARGE"


class UnreadableMessage(StreamBroken):
    """Bytes that are no envelope, or a body that is not what its kind says: for the dead letters."""

    code = "UNREADABLE_MESSAGE"


class BrokerUnfit(PermanentError):
    """This broker cannot be used as it is, whatever is sent: a person mends it, and another one does meanwhile."""

    code = "BROKER_UNFIT"


class Superseded(PermanentError):
    """Another holder, a newer generation or a `forget` came in between: this work no longer counts."""

    code = "SUPERSEDED"


class ProviderError(PermanentError):
    """A provider of explanations cannot be asked this, or answered what cannot be used. `provider`: its name."""

    code = "PROVIDER_FAILED"
    provider: str


class ProviderRefused(ProviderError):
    """The provider refuses the question itself (400, 422) or who asks (401, 403, 404): the same again would too.

    `status`: HTTP's. `is_about_us`: key, model or right, so that no other question would be answered either.
    """

    code = "PROVIDER_REFUSED"
    status: int
    is_about_us: bool


class BadAnswer(ProviderError):
    """An answer that breaks the rules of domain/annotation/answer.py. `problems`: each as a sentence."""

    code = "BAD_ANSWER"
    problems: list[str]


class BudgetSpent(ProviderError):
    """The tenant's budget of today has no room for what this call may cost."""

    code = "BUDGET_SPENT"


class UnknownPrice(ProviderError):
    """Nobody has said what the model costs, so that no budget could hold it."""

    code = "UNKNOWN_PRICE"


class BrokerUnavailable(TransientError):
    code = "BROKER_UNAVAILABLE"


class BrokerTimeout(TransientError):
    """No answer in time. The outcome is unknown: the message may have landed."""

    code = "BROKER_TIMEOUT"


class TopicFull(TransientError):
    code = "TOPIC_FULL"


class StoreUnavailable(TransientError):
    code = "STORE_UNAVAILABLE"


class LeaseHeld(TransientError):
    """Somebody else holds the lease; `holder` says who."""

    code = "LEASE_HELD"
    holder: str


class ProviderUnavailable(TransientError):
    """Not reached, overloaded, out of rate or too late. `retry_after`: seconds the provider asks for, or None.

    `may_be_billed`: the question had left, and nobody knows what became of it. `status`: HTTP's; 0: none came.
    """

    code = "PROVIDER_UNAVAILABLE"
    provider: str
    retry_after: float | None
    may_be_billed: bool
    status: int
