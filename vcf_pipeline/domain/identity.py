"""Names of things: tenant, callset_id, partition key, generation, ids of events.

Not here: identities of alleles (vcf/alleles.py) and of rows (row_ids.py); where a uuid comes from (stages make them).
Rules: DESIGN section 2.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from vcf_pipeline.domain.errors import BadSourceName, BadTenantName, UnknownPartition

DEFAULT_TENANT = "default"
TENANT_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,38}")
CALLSET_ID_PATTERN = re.compile(r"[0-9a-f]{16}")
SOURCE_NAME_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,30}")
NO_SOURCE_NAMES = frozenset({"annotation", "file", "info"})
"""What evidence calls a callset's own words: no registered source may be taken for them."""
_DISPLAY_LIMIT = 60


def check_tenant(name: str) -> str:
    """The name itself, or BadTenantName. A tenant's name is part of paths, topics and keys, so it is checked whole."""
    if not TENANT_PATTERN.fullmatch(name):
        raise BadTenantName(
            where="tenant",
            expected="a lower-case letter, then up to 38 lower-case letters, digits or '-'",
            got=repr(name[:_DISPLAY_LIMIT]),
            repair="Choose another name with --tenant or VCF_PIPELINE_TENANT.",
        )
    return name


def check_source_name(name: str) -> str:
    """The name itself, or BadSourceName. A source's name is part of paths and of what evidence is cited by."""
    if not SOURCE_NAME_PATTERN.fullmatch(name) or name in NO_SOURCE_NAMES:
        raise BadSourceName(
            where="source",
            expected="a lower-case letter, then up to 30 lower-case letters, digits, '_' or '-'; "
            f"and none of {', '.join(sorted(NO_SOURCE_NAMES))}",
            got=repr(name[:_DISPLAY_LIMIT]),
            repair="Choose another name, as in `clinvar` or `gnomad-4`.",
        )
    return name


def callset_id(content_sha256: str, assembly: str | None = None) -> str:
    """16 hex digits: same bytes, same id, whatever the file is called.

    assembly: only one that was given explicitly, so that a better recogniser of assemblies never changes an id.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(bytes.fromhex(content_sha256))
    if assembly:
        digest.update(b"\0" + assembly.encode())
    return digest.hexdigest()


@dataclass(frozen=True, order=True)
class PartitionKey:
    """`tenant/callset_id`: what Dagster calls the partition."""

    tenant: str
    callset_id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.callset_id}"

    @classmethod
    def parse(cls, text: str) -> PartitionKey:
        """Raises UnknownPartition for anything that is no key of ours."""
        tenant, _, rest = text.partition("/")
        if not TENANT_PATTERN.fullmatch(tenant) or not CALLSET_ID_PATTERN.fullmatch(rest):
            raise UnknownPartition(
                where="partition",
                expected="tenant/callset_id, as in default/0123456789abcdef",
                got=repr(text[:_DISPLAY_LIMIT]),
                repair="`vcf-pipeline callsets list` shows the ones there are.",
            )
        return cls(tenant, rest)


def event_id(tenant: str, callset_id: str, generation: int, kind: str, digest: str) -> str:
    """32 hex digits. A resend has the same id, a new result another one."""
    return _id("event", tenant, callset_id, str(generation), kind, digest)


def announcement_id(tenant: str, callset_id: str, publish_id: str) -> str:
    """32 hex digits: one per publishing attempt of a callset."""
    return _id("announcement", tenant, callset_id, publish_id)


def _id(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
