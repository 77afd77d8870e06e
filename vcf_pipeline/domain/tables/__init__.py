"""Tables of a callset, in data order.

schemas.py    columns of every table: dtype, unit, coordinate base
dtypes.py     dtypes as text, the union of two, a frame cast to it
digest.py     hash of rows in any order
manifest.py   what a manifest says; whole or not, current or stale
"""
