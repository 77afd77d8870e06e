"""0003: sources of evidence, how far the annotation of each callset is, answers that were bought,
calls, and what each day has cost.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("preset", sa.String(length=20), nullable=False),
        sa.Column("assembly", sa.Text(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "analyses",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=35), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "callset_id"),
    )
    op.create_index("analyses_by_state", "analyses", ["state"], unique=False)
    op.create_table(
        "ai_answers",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("prompt_version", sa.String(length=40), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_microusd", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", "model", "prompt_version"),
    )
    op.create_table(
        "ai_calls",
        sa.Column("call_id", sa.String(length=36), nullable=False),
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("reserved_microusd", sa.BigInteger(), nullable=False),
        sa.Column("cost_microusd", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("call_id"),
    )
    op.create_index("ai_calls_by_day", "ai_calls", ["tenant", "day"], unique=False)
    op.create_index("ai_calls_by_state", "ai_calls", ["state", "provider"], unique=False)
    op.create_index("ai_calls_by_start", "ai_calls", ["provider", "started_at"], unique=False)
    op.create_table(
        "ai_days",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("gone_microusd", sa.BigInteger(), nullable=False),
        sa.Column("open_microusd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day"),
    )
