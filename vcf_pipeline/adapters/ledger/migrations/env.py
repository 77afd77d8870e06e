"""Runs the steps on the connection that database.py gives; Alembic has no address of its own here."""

from __future__ import annotations

from alembic import context

from vcf_pipeline.adapters.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
