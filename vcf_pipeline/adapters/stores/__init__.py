"""Searchable projections of the tables; dropping one and loading again rebuilds it.

port.py               what a store promises
lancedb_variants.py   search by field: one append-only table per tenant
kuzu_graph.py         the graph: a new version from the last
kuzu_reader.py        questions to one version of it, in a limited child process
"""
