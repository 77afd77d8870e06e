"""What the spool holds → brokers, with what control knows of it: done by batch meanwhile is dropped, not sent.

Not here: the order and the bookkeeping (adapters/broker/forwarder.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from vcf_pipeline.adapters.broker.coordinator import Coordinator
from vcf_pipeline.adapters.broker.forwarder import Drained
from vcf_pipeline.adapters.ledger.ledger import Ledger
from vcf_pipeline.domain.stream.announcement import Announcement


def forward_spooled(
    coordinator: Coordinator,
    ledger: Ledger | None,
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> Drained:
    """One pass over the spool; ends at the first publication that no broker takes. ledger: None on a sender.

    seconds: when to leave the rest to the next pass; a stretch that is on its way is waited for. Raises TransientError
    only for a spool that cannot be read.
    """
    deadline = clock() + seconds

    def is_done(announced: Announcement) -> bool:
        callset = ledger.callset(announced.key) if ledger is not None else None
        return (
            callset is not None
            and callset.state == "done"
            and callset.settings_fingerprint == announced.settings_fingerprint
        )

    def on_forwarded(announced: Announcement) -> None:
        if ledger is not None:
            ledger.record_announcement(announced)

    return coordinator.drain(is_done, on_forwarded, lambda: clock() >= deadline)
