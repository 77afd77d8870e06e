"""0001: callsets, announcements, claims, leases, loads, graph versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "announcements",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("publish_id", sa.String(length=36), nullable=False),
        sa.Column("is_accepted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("announcements_by_callset", "announcements", ["tenant", "callset_id"], unique=False)
    op.create_table(
        "callsets",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("assembly", sa.Text(), nullable=True),
        sa.Column("reader_settings", sa.Text(), nullable=False),
        sa.Column("settings_fingerprint", sa.String(length=16), nullable=False),
        sa.Column("correlation_id", sa.String(length=36), nullable=False),
        sa.Column("path", sa.String(length=6), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=True),
        sa.Column("alleles", sa.BigInteger(), nullable=True),
        sa.Column("rejected", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.String(length=35), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.Column("is_permanent", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "callset_id"),
    )
    op.create_index("callsets_by_state", "callsets", ["state"], unique=False)
    op.create_table(
        "claims",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("publish_id", sa.String(length=36), nullable=False),
        sa.Column("settings_fingerprint", sa.String(length=16), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "callset_id", "generation"),
    )
    op.create_table(
        "graph_queue",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "callset_id"),
    )
    op.create_table(
        "graph_versions",
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("n_callsets", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "version"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "loads",
        sa.Column("load_id", sa.String(length=36), nullable=False),
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("callset_id", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=7), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("load_id"),
    )
    op.create_index("loads_by_callset", "loads", ["store", "tenant", "callset_id"], unique=False)
    op.create_table(
        "store_versions",
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=39), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("store", "tenant"),
    )
