"""Tables of a callset, in data order.

schemas.py    columns of every table: dtype, unit, coordinate base
digest.py     hash of rows in any order
manifest.py   what a manifest says; whole or not, current or stale
"""
