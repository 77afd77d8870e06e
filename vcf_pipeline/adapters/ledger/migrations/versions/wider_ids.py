"""0005: ids of publications as long as an envelope may have them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_WIDER = {"callsets": "correlation_id", "announcements": "publish_id", "claims": "publish_id"}


def upgrade() -> None:
    for table, column in _WIDER.items():
        # a batch, since SQLite changes a column by copying the table
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, existing_type=sa.String(36), type_=sa.String(200), existing_nullable=False)
