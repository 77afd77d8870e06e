"""What librdkafka and a Kafka broker complain of, as errors of the tree: the one place that knows their codes.

Told apart by name (`KafkaError.name()`): those that begin with `_` come from the client, the others from a broker.
Not here: when a report may be believed (kafka_sending.py, kafka_topics.py look again before they call a topic missing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcf_pipeline.domain.errors import (
    BadSetting,
    BrokerTimeout,
    BrokerUnavailable,
    MessageTooLarge,
    PipelineError,
    TopicMissing,
)

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, KafkaException

NO_SUCH_TOPIC = frozenset(
    {"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "_NOENT"}
)
"""A client also says these of a topic whose leader it does not know just now: confirm before believing."""

STALE = NO_SUCH_TOPIC | {
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "NOT_CONTROLLER",
    "_WAIT_CACHE",
}
"""What fresh metadata may cure."""

UNKNOWN_OUTCOME = frozenset(
    {
        "_TIMED_OUT",
        "_MSG_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_PURGE_INFLIGHT",
        "_PURGE_QUEUE",  # two of five such messages were in the log: taken back into the queue after a disconnect
        "_DESTROY",
        "_WAIT_COORD",
        "REQUEST_TIMED_OUT",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    }
)
TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"})
REFUSED = frozenset(
    {
        "_AUTHENTICATION",
        "SASL_AUTHENTICATION_FAILED",
        "UNSUPPORTED_SASL_MECHANISM",
        "ILLEGAL_SASL_STATE",
        "TOPIC_AUTHORIZATION_FAILED",
        "CLUSTER_AUTHORIZATION_FAILED",
        "GROUP_AUTHORIZATION_FAILED",
    }
)
INSECURE = frozenset({"_SSL"})
NO_WAY = frozenset({"_TRANSPORT", "_RESOLVE"})
"""What a client's error callback says of each attempt to connect to one address; the text begins with the address."""
DOWN = INSECURE | {"_ALL_BROKERS_DOWN"}
"""What a client's error callback says of a cluster that is not there: a hint."""
WRONG_SETTING = frozenset(
    {"_INVALID_ARG", "_UNKNOWN_PROPERTY", "INVALID_CONFIG", "TOPIC_EXCEPTION", "POLICY_VIOLATION"}
)
OUT_OF_RANGE = frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"})
FATAL = frozenset({"_FATAL", "_FENCED", "_STATE"})
"""After these a producer sends nothing more: another one has to be made."""

REPAIR_REACH = "Is it running? `vcf-pipeline doctor` tries the address of VCF_PIPELINE_KAFKA__BOOTSTRAP_SERVERS."
LANDED = "What was sent may have landed; sending it again does no harm, since readers drop what they have."


def problem_of(exception: KafkaException) -> KafkaError:
    """The error that an exception carries."""
    problem: KafkaError = exception.args[0]
    return problem


def mapped(problem: KafkaError, where: str, *, is_sent: bool = False) -> PipelineError:
    """where: the address, with the topic where one is concerned. is_sent: of a message, not of a question."""
    name, text = problem.name(), problem.str()
    if name in UNKNOWN_OUTCOME:
        return timed_out(where, f"{text} ({name})", is_sent=is_sent)
    if name in NO_SUCH_TOPIC:
        return TopicMissing(where=where, expected="a topic", got=f"{text} ({name})")
    if name in TOO_LARGE:
        return MessageTooLarge(
            where=where,
            expected="a message within the topic's max.message.bytes",
            got=f"{text} ({name})",
            repair="`vcf-pipeline topology apply` raises the topic's limit to what is sent.",
        )
    if name in WRONG_SETTING:
        return BadSetting(
            where=where,
            expected="a setting that Kafka takes",
            got=f"{text} ({name})",
            repair="See VCF_PIPELINE_KAFKA__*.",
        )
    return unreachable(problem, where)


def unreachable(problem: KafkaError, where: str) -> BrokerUnavailable | BadSetting:
    """Of a question before anything was sent, whatever the client calls it. BadSetting where trying again is no use."""
    name = problem.name()
    if name in REFUSED:
        return BadSetting(where=where, expected="a user who may", got=f"{problem.str()} ({name})", repair=_repair(name))
    return BrokerUnavailable(where=where, expected="an answer", got=f"{problem.str()} ({name})", repair=_repair(name))


def timed_out(where: str, got: str, *, is_sent: bool = False) -> BrokerTimeout:
    return BrokerTimeout(where=where, expected="an answer in time", got=got, repair=LANDED if is_sent else REPAIR_REACH)


def _repair(name: str) -> str:
    if name in REFUSED:
        return "Check VCF_PIPELINE_KAFKA__SASL_USERNAME, __SASL_PASSWORD and __SASL_MECHANISM, and that user's rights."
    if name in INSECURE:
        return "Check VCF_PIPELINE_KAFKA__SECURITY_PROTOCOL and __SSL_CA."
    if name == "INVALID_REPLICATION_FACTOR":
        return "Fewer brokers are up than the topic asks copies of; it is tried again."
    return REPAIR_REACH
