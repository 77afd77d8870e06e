"""The topology: every topic, its partitions, retention and cargo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Topic:
    """name: as in DESIGN section 4. tenant: of the data topic, which each tenant has for itself; None for control."""

    name: str
    tenant: str | None = None
