"""What Apache Iggy's client says → errors of our tree. The client raises RuntimeErrors that differ by text only.

Not here: when a call is tried again (iggy_session.py). A text nobody knows counts as a broker that is not available, so
that another one is taken and the text is seen.
"""

from __future__ import annotations

from vcf_pipeline.domain.errors import (
    BadSetting,
    BrokerTimeout,
    BrokerUnavailable,
    BrokerUnfit,
    MessageTooLarge,
    PipelineError,
    TopicFull,
    TopicMissing,
)

CLIENT_VERSION = "0.9"
SPEAKS = f"this client speaks with servers of version {CLIENT_VERSION}"

LOGIN_REFUSED = "LOGIN_REFUSED"
NOT_DURABLE = "TOPIC_NOT_DURABLE"
WRONG_VERSION = "BROKER_VERSION"

_LOGIN = (
    "invalid credentials",
    "invalid personal access token",
    "personal access token: ",  # … has expired
    "invalid username",
    "invalid password",
)
_TOO_LARGE = ("too big message payload", "payload too large", "frame too large", "length limit exceeded")
_FULL = ("topic is full", "no space left", "disk is full", "topic size")
_MISSING = ("was not found", "resource with key", "shard not found", "not found")
_VERSION = ("incompatible binary protocol", "incompatible protocol")
_NO_OPTION = ("unsupported option key", "invalid option value")
_EXISTS = "already exists"


def is_existing(problem: BaseException) -> bool:
    """Somebody else was first."""
    return _EXISTS in str(problem).lower()


def is_unknown_option(problem: BaseException) -> bool:
    """The server does not know a key that the client sends: an older one."""
    return any(text in str(problem).lower() for text in _NO_OPTION)


def mapped(problem: BaseException, where: str) -> PipelineError:
    """where: server and what was asked of it; never a password."""
    if isinstance(problem, PipelineError):
        return problem
    if isinstance(problem, TimeoutError):
        return timed_out(where, "no answer in time")
    said = str(problem) or type(problem).__name__
    text = said.lower()
    if any(known in text for known in _LOGIN):
        return BadSetting(
            where=where,
            expected="a login that the server knows",
            got=said,
            repair="Set user and password, percent-encoded, in VCF_PIPELINE_IGGY__URL, or a token in "
            "VCF_PIPELINE_IGGY__TOKEN.",
            code=LOGIN_REFUSED,
        )
    if "unauthorized" in text:
        return BadSetting(
            where=where,
            expected="a user who may manage and use our streams",
            got=said,
            repair="Give this user manage_streams, or let an operator run `vcf-pipeline topology apply`.",
            code=LOGIN_REFUSED,
        )
    if any(known in text for known in _VERSION):
        return wrong_version(where, said)
    if any(known in text for known in _TOO_LARGE):
        return MessageTooLarge(where=where, expected="a message that the server takes", got=said)
    if any(known in text for known in _FULL):
        return TopicFull(where=where, expected="room", got=said, repair="Give the server's disk more room.")
    if any(known in text for known in _MISSING):
        return TopicMissing(
            where=where,
            expected="stream, topic and partition",
            got=said,
            repair="`vcf-pipeline topology apply` makes what is missing.",
        )
    return unavailable(where, said)


def unavailable(where: str, said: str) -> BrokerUnavailable:
    return BrokerUnavailable(where=where, expected="an Apache Iggy server that answers", got=said)


def timed_out(where: str, got: str) -> BrokerTimeout:
    return BrokerTimeout(
        where=where, expected="an answer", got=got, repair="What was sent may have landed all the same."
    )


def wrong_version(where: str, said: str) -> BrokerUnfit:
    return BrokerUnfit(
        where=where,
        expected=f"Apache Iggy {CLIENT_VERSION}",
        got=said,
        repair=f"{SPEAKS[0].upper()}{SPEAKS[1:]}: take one of those, as apache/iggy:0.9.0.",
        code=WRONG_VERSION,
    )


def not_durable(where: str, why: str) -> BrokerUnfit:
    """A topic whose acknowledged messages a crash of the server may lose."""
    return BrokerUnfit(
        where=where,
        expected="a topic that stores what it has acknowledged (durability persisted and "
        "messages_required_to_save 1, or enforce_fsync true with it)",
        got=why,
        repair="Options cannot be changed later: delete the topic with Iggy's own tools and run `vcf-pipeline topology "
        "apply`, or take another VCF_PIPELINE_IGGY__PREFIX.",
        code=NOT_DURABLE,
    )
