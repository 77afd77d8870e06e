"""A file per revision.

first_tables.py    0001: callsets, announcements, claims, leases, loads, graph versions
"""
