"""Searchable projections of the tables; dropping one and loading again rebuilds it.

port.py                 what a store promises
lance.py                what both of LanceDB's tables are reached by
lancedb_variants.py     search by field: one append-only table per tenant
lancedb_annotations.py  search by words and by vectors: a small merged table per tenant and embedder
kuzu_graph.py           the graph: a new version from the last
kuzu_reader.py          questions to one version of it, in a limited child process
"""
