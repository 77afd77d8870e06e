"""Iggy's HTTP interface, for the two things that its client cannot do everywhere: options of a topic on a server before
the durability keys, and logging in by token over HTTP.

Not here: messages, which go through the client (iggy.py).
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from vcf_pipeline.adapters.broker.iggy_errors import is_existing, mapped, timed_out, unavailable
from vcf_pipeline.domain.errors import BadSetting

_UNLIMITED = 2**64 - 1


@dataclass(frozen=True)
class IggyHttp:
    """url: scheme, host and port. ca: file with the certificates to trust."""

    url: str
    username: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    ca: str
    timeout_s: float

    def login(self) -> str:
        """A bearer for what follows. Raises BadSetting for a wrong password, BrokerUnavailable, BrokerTimeout."""
        if self.token:
            answer = self._asked("POST", "/personal-access-tokens/login", {"token": self.token})
        else:
            answer = self._asked("POST", "/users/login", {"username": self.username, "password": self.password})
        bearer = (answer.get("access_token") or {}).get("token")
        if not isinstance(bearer, str):
            raise unavailable(f"iggy {self.url}", "an answer to the login without an access token")
        return bearer

    def create_topic(self, stream: str, name: str, partitions: int, expiry_us: int, options: dict[str, str]) -> None:
        """One that is there already is left as it is. expiry_us: microseconds."""
        body = {
            "name": name,
            "partitions_count": partitions,
            "compression_algorithm": "none",
            "message_expiry": expiry_us,
            "max_topic_size": _UNLIMITED,
            "options": options,
        }
        path = f"/streams/{urllib.parse.quote(stream, safe='')}/topics"
        try:
            self._asked("POST", path, body, self.login())
        except Exception as problem:
            if not is_existing(problem):
                raise

    def _asked(self, method: str, path: str, body: dict[str, Any], bearer: str = "") -> dict[str, Any]:
        where = f"iggy {self.url}{path}"
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise BadSetting(where="VCF_PIPELINE_IGGY__HTTP_URL", expected="http:// or https://", got=self.url)
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            f"{self.url.rstrip('/')}{path}",
            data=json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})},
        )
        context = ssl.create_default_context(cafile=self.ca or None) if self.url.startswith("https") else None
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s, context=context) as answer:  # noqa: S310
                found = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as problem:
            said = problem.read(2000).decode("utf-8", "replace")
            raise mapped(RuntimeError(_reason(said) or f"HTTP {problem.code}"), where) from problem
        except TimeoutError:
            raise timed_out(where, f"none within {self.timeout_s:g} s") from None
        except (OSError, ValueError) as problem:
            raise unavailable(where, str(problem)) from problem
        return found if isinstance(found, dict) else {}


def _reason(said: str) -> str:
    try:
        found = json.loads(said)
    except ValueError:
        return said
    return f"{found.get('reason', '')} {found.get('field') or ''}".strip() if isinstance(found, dict) else said
