"""The ledger: the small durable facts. SQLAlchemy Core on SQLite (WAL), Alembic migrations.

schema.py           tables, and the revision that the code expects
migrations/         from one revision to the next
database.py         opening, transactions, the database's clock, vendor errors mapped
holder.py           which process holds something, and whether it is gone
leases.py           the right to write, for a time, with a fence
callsets.py         callsets: states, resolving what a person typed, forgetting
announcements.py    announcements and claims: who was first to publish
dead_letters.py     the index of dead letters
analyses.py         how far the annotation of each callset is
answers.py          answers that were bought, and the right to buy one
calls.py            calls to providers: reserved, settled, and what a day has cost
books.py            both, written in groups
loads.py            loads of the stores, versions of the graph
sources.py          registered sources: which version is current
ledger.py           Ledger: all of it behind one door
"""
