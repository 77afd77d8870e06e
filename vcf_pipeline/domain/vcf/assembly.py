"""Contig names and lengths → the assembly, and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assembly:
    """name: "GRCh37", "GRCh38", "T2T-CHM13" or None where nothing decides; reason: one sentence a person can check."""

    name: str | None
    reason: str
