"""What a fake provider says: an honest answer from the facts it was sent, and lies of several kinds.

Not here: how it is served (fake_providers.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any

LIES = ("citation", "number", "label", "shape", "prose", "empty", "long", "advice")
EMBEDDING_DIMENSIONS = 8


def facts_of(messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The brief in the first message of the user; empty where there is none, as in a check."""
    for message in messages:
        if message.get("role") == "user":
            try:
                brief = json.loads(str(message.get("content", "")))
            except ValueError:
                return {}
            return brief if isinstance(brief, dict) else {}
    return {}


def honest_answer(brief: dict[str, Any]) -> str:
    """One that every check passes: real keys, no number, the reading that the claims have."""
    label = str(brief.get("significance", "no_claim"))
    words = label.replace("_", " ")
    cited = list(brief.get("facts", {}))[:3]
    summary = f"The given facts are why this variant is listed; what is claimed of it is {words}."
    return json.dumps({"summary": summary, "cited": cited, "reading": label})


def lie(kind: str, brief: dict[str, Any]) -> str:
    """kind: of LIES. citation: cites what is not there. number: invents one. label: reads the contrary (which is
    allowed, and flagged). shape, prose, empty, long: not what was asked for. advice: what may not be said.
    """
    answer = json.loads(honest_answer(brief))
    if kind == "citation":
        answer["cited"] = ["clinvar:NOT_A_KEY"]
    elif kind == "number":
        answer["summary"] = "The variant was seen in 90210 of 123457 carriers."
    elif kind == "label":
        answer["reading"] = "benign" if answer["reading"] != "benign" else "pathogenic"
    elif kind == "shape":
        answer = {"text": answer["summary"]}
    elif kind == "prose":
        return "I am sorry, but I would rather talk about something else."
    elif kind == "empty":
        return ""
    elif kind == "long":
        answer["summary"] = "The variant is well known. " * 4000
    elif kind == "advice":
        answer["summary"] = "You have the disease and should start the treatment at once."
    else:
        raise ValueError(f"no lie called {kind}")
    return json.dumps(answer)


def completion(model: str, text: str, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A chat completion as all three dialects send it. Tokens: four bytes each, as a rule of thumb."""
    asked = sum(len(str(message.get("content", "")).encode()) for message in messages) // 4 + 4 * len(messages)
    said = len(text.encode()) // 4 + 1
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}
        ],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """The same text, the same vector, of `dimensions` numbers between -1 and 1; base64 where it is asked for."""
    texts = body.get("input", "")
    texts = [texts] if isinstance(texts, str) else list(texts)
    dimensions = int(body.get("dimensions") or EMBEDDING_DIMENSIONS)
    rows = []
    for at, text in enumerate(texts):
        vector = _vector(str(text), dimensions)
        as_base64 = body.get("encoding_format") == "base64"
        shown: Any = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if as_base64 else vector
        rows.append({"object": "embedding", "index": at, "embedding": shown})
    tokens = sum(len(str(text).encode()) for text in texts) // 4 + 1
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body.get("model", ""), "data": rows, "usage": usage}


def _vector(text: str, dimensions: int) -> list[float]:
    raw = hashlib.shake_128(text.encode()).digest(2 * dimensions)
    return [number / 32768 for number in struct.unpack(f"<{dimensions}h", raw)]


def error_body(dialect: str, status: int, message: str) -> dict[str, Any]:
    """An error as the vendor words it."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "api_error")
    if dialect == "claude":
        return {"type": "error", "error": {"type": kind, "message": message}}
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
