"""A process that appends one message and ends without closing its broker: `python leaving_process.py HOST:PORT USER
PASSWORD PREFIX`.

Not here: what is expected of it (iggy_traps.py).
"""

from __future__ import annotations

import sys

from vcf_pipeline.adapters.broker.iggy import IggyBroker, IggyOptions
from vcf_pipeline.domain.stream.topics import variants_topic

if __name__ == "__main__":
    address, user, password, prefix = sys.argv[1:]
    broker = IggyBroker(IggyOptions(address, username=user, password=password, prefix=prefix, connect_timeout_s=10.0))
    broker.append(variants_topic("default"), 0, [b"last words"])
    print("sent")
