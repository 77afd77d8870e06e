"""0004: answers are kept by provider too: two of them may serve a model of one name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # SQLite cannot change a primary key: a new table takes over what was bought
    columns: list[sa.Column[Any]] = [
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("prompt_version", sa.String(length=40), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_microusd", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.Integer(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
    ]
    names = [column.name for column in columns]
    before = sa.table("ai_answers", *map(sa.column, names))
    after = op.create_table(
        "ai_answers_by_provider",
        *columns,
        sa.PrimaryKeyConstraint("tenant", "subject", "provider", "model", "prompt_version"),
    )
    op.execute(sa.insert(after).from_select(names, sa.select(before)))
    op.drop_table("ai_answers")
    op.rename_table("ai_answers_by_provider", "ai_answers")
