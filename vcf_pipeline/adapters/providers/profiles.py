"""What each vendor's endpoint takes and expects, as values: address, models, names of fields, what to leave out.

Not here: prices (domain/annotation/prices.py); asking (openai_client.py). Facts are of the vendors' public pages in
November 2026; docs/providers.md names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "cited": {"type": "array", "items": {"type": "string"}},
        "reading": {"type": "string"},
    },
    "required": ["summary", "cited", "reading"],
    "additionalProperties": False,
}
"""The shape that prompts.py asks for. What it may say is judged when it is read, not by the vendor."""

_JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "explanation", "strict": True, "schema": ANSWER_SCHEMA},
}
_JSON_OBJECT = {"type": "json_object"}


@dataclass(frozen=True)
class Profile:
    """One vendor. base_url: as it documents it. limit_field: what bounds the tokens of an answer.

    response_format: None where the endpoint ignores it. needs_key: whether it refuses who has none. by_model: fields
    for models whose name begins so, the first that fits; they switch off thinking, which would use up the answer's
    tokens and be billed as such. Temperature and seed are never sent: newer models refuse them.
    """

    name: str
    base_url: str
    model: str
    embedding_model: str
    limit_field: str
    response_format: dict[str, Any] | None
    needs_key: bool
    by_model: tuple[tuple[str, dict[str, Any]], ...] = ()

    def fields(self, model: str, max_output_tokens: int) -> dict[str, Any]:
        """Fields of a question beside model and messages."""
        fields: dict[str, Any] = {self.limit_field: max_output_tokens}
        if self.response_format is not None:
            fields["response_format"] = self.response_format
        for prefix, more in self.by_model:
            if model.startswith(prefix):
                return fields | more
        return fields


PROFILES = {
    "openai": Profile(
        name="openai",
        base_url="https://api.openai.com/v1",
        model="gpt-6-luna",
        embedding_model="text-embedding-3-small",
        limit_field="max_completion_tokens",
        response_format=_JSON_SCHEMA,
        needs_key=True,
        by_model=(
            ("gpt-6", {"reasoning_effort": "none"}),
            ("gpt-5.", {"reasoning_effort": "none"}),
            ("gpt-5", {"reasoning_effort": "minimal"}),
        ),
    ),
    "claude": Profile(
        name="claude",
        base_url="https://api.anthropic.com/v1",
        model="claude-haiku-5-5",
        embedding_model="",
        limit_field="max_tokens",
        response_format=None,
        needs_key=True,
        by_model=(
            ("claude-haiku-5", {"thinking": {"type": "disabled"}}),
            ("claude-sonnet-5", {"thinking": {"type": "disabled"}}),
            ("claude-opus-5", {"thinking": {"type": "disabled"}}),
        ),
    ),
    "ollama": Profile(
        name="ollama",
        base_url="http://localhost:11434/v1",
        model="gemma4:e4b",
        embedding_model="embeddinggemma",
        limit_field="max_tokens",
        response_format=_JSON_OBJECT,
        needs_key=False,
        by_model=(("gpt-oss", {"reasoning_effort": "low"}), ("", {"reasoning_effort": "none"})),
    ),
}


def base_url(profile: Profile, given: str) -> str:
    """The address to call: as given, else the vendor's own.

    OLLAMA_HOST, which Ollama itself reads, may be a bare host or host:port; the path is Ollama's then.
    """
    if not given:
        return profile.base_url
    if profile.name != "ollama":
        return given.rstrip("/")
    scheme, sign, rest = given.partition("://")
    if not sign:
        scheme, rest = "http", given
    host, slash, path = rest.rstrip("/").partition("/")
    # Ollama listens where it is told 0.0.0.0, and is reached at this machine's own address
    host = host.replace("0.0.0.0", "127.0.0.1", 1)  # noqa: S104 - replaced, not listened on
    if not sign and ":" not in host.rpartition("]")[2]:
        host = f"{host}:11434"
    return f"{scheme}://{host}/{path or 'v1'}" if slash or path else f"{scheme}://{host}/v1"
