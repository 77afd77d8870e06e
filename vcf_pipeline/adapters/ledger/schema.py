"""The tables of the ledger, and the revision that this code expects. Not here: what they mean (callsets.py, …).

Times are seconds since 1970 of the database's clock. Portable between SQLite and Postgres.
"""

from __future__ import annotations

import sqlalchemy as sa

from vcf_pipeline.domain.stream.envelope import MAX_ID

REVISION = "0005"
metadata = sa.MetaData()

callsets = sa.Table(
    "callsets",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("callset_id", sa.String(16), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("assembly", sa.Text),
    sa.Column("reader_settings", sa.Text, nullable=False),
    sa.Column("settings_fingerprint", sa.String(16), nullable=False),
    sa.Column("correlation_id", sa.String(MAX_ID), nullable=False),
    sa.Column("path", sa.String(6), nullable=False),
    sa.Column("records", sa.BigInteger),
    sa.Column("alleles", sa.BigInteger),
    sa.Column("rejected", sa.BigInteger),
    sa.Column("digest", sa.String(35)),
    sa.Column("reason", sa.Text),
    sa.Column("code", sa.String(40)),
    sa.Column("is_permanent", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String(64)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)
sa.Index("callsets_by_state", callsets.c.state)

announcements = sa.Table(
    "announcements",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(39), nullable=False),
    sa.Column("callset_id", sa.String(16), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("publish_id", sa.String(MAX_ID), nullable=False),
    sa.Column("is_accepted", sa.Boolean, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Float, nullable=False),
    sa.Column("place", sa.Text),
)
sa.Index("announcements_by_callset", announcements.c.tenant, announcements.c.callset_id)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("callset_id", sa.String(16), primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("publish_id", sa.String(MAX_ID), nullable=False),
    sa.Column("settings_fingerprint", sa.String(16), nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("claimed_at", sa.Float, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("is_held", sa.Boolean, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)

loads = sa.Table(
    "loads",
    metadata,
    sa.Column("load_id", sa.String(36), primary_key=True),
    sa.Column("store", sa.String(20), nullable=False),
    sa.Column("tenant", sa.String(39), nullable=False),
    sa.Column("callset_id", sa.String(16), nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.String(7), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
)
sa.Index("loads_by_callset", loads.c.store, loads.c.tenant, loads.c.callset_id)

store_versions = sa.Table(
    "store_versions",
    metadata,
    sa.Column("store", sa.String(20), primary_key=True),
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

graph_versions = sa.Table(
    "graph_versions",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("n_callsets", sa.Integer, nullable=False),
    sa.Column("published_at", sa.Float, nullable=False),
)

graph_queue = sa.Table(
    "graph_queue",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("callset_id", sa.String(16), primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("tenant", sa.String(39), nullable=False),
    sa.Column("callset_id", sa.String(16), nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("origin_topic", sa.String(100), nullable=False),
    sa.Column("code", sa.String(40), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("is_cut", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(9), nullable=False),
    sa.Column("replays", sa.Integer, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("first_at", sa.Float, nullable=False),
    sa.Column("last_at", sa.Float, nullable=False),
)
sa.Index("dead_letters_by_state", dead_letters.c.state, dead_letters.c.last_at)

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("cursor", sa.Text, nullable=False),
)

sources = sa.Table(
    "sources",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("preset", sa.String(20), nullable=False),
    sa.Column("assembly", sa.Text, nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)

analyses = sa.Table(
    "analyses",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("callset_id", sa.String(16), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(35), nullable=False),
    sa.Column("state", sa.String(9), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("updated_at", sa.Float, nullable=False),
)
sa.Index("analyses_by_state", analyses.c.state)

ai_answers = sa.Table(
    "ai_answers",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("subject", sa.String(32), primary_key=True),
    sa.Column("provider", sa.String(20), primary_key=True),
    sa.Column("model", sa.String(120), primary_key=True),
    sa.Column("prompt_version", sa.String(40), primary_key=True),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("cost_microusd", sa.BigInteger, nullable=False),
    sa.Column("latency_ms", sa.Integer, nullable=False),
    sa.Column("hits", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("used_at", sa.Float, nullable=False),
)

ai_calls = sa.Table(
    "ai_calls",
    metadata,
    sa.Column("call_id", sa.String(36), primary_key=True),
    sa.Column("tenant", sa.String(39), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("callset_id", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(32), nullable=False),
    sa.Column("provider", sa.String(20), nullable=False),
    sa.Column("model", sa.String(120), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("outcome", sa.String(40), nullable=False),
    sa.Column("reserved_microusd", sa.BigInteger, nullable=False),
    sa.Column("cost_microusd", sa.BigInteger, nullable=False),
    sa.Column("input_tokens", sa.Integer, nullable=False),
    sa.Column("output_tokens", sa.Integer, nullable=False),
    sa.Column("latency_ms", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
sa.Index("ai_calls_by_day", ai_calls.c.tenant, ai_calls.c.day)
sa.Index("ai_calls_by_state", ai_calls.c.state, ai_calls.c.provider)
sa.Index("ai_calls_by_start", ai_calls.c.provider, ai_calls.c.started_at)

ai_days = sa.Table(
    "ai_days",
    metadata,
    sa.Column("tenant", sa.String(39), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("gone_microusd", sa.BigInteger, nullable=False),
    sa.Column("open_microusd", sa.BigInteger, nullable=False),
)
