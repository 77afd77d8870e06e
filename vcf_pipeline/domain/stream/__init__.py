"""What travels, and what follows from it. In data order:

iggy_address.py   an address of Iggy's server ↔ transport, host, port, who logs in
topics.py         the topology: name, partitions, retention, cargo
topology_diff.py  the topology against what a broker has
envelope.py       the msgpack frame: encode, bounded decode
columns.py        frames ↔ Arrow IPC under zstd: what the wire leaves out and how it comes back
chunks.py         ParsedBatch ↔ bodies of data messages, cut to size
variant_messages.py  single variants of other programs → lines of a VCF → ParsedBatch
records_ended.py  another program's single variants are all sent
announcement.py   segments, counts, digest; which seq is missing or doubled
stage_events.py   what stages tell each other and listeners, one dataclass per kind
events.py         the kinds of control message, each in its topic, and hearing them
cursor.py         next offsets by broker, incarnation, partition ↔ JSON
dead_letters.py   what could not be processed: the letter, which of them are meant, whether one can go back
run_plan.py       (messages, ledger's view, cursor) → runs, new cursor; what to ask for again
"""
