"""A file per revision.

first_tables.py           0001: callsets, announcements, claims, leases, loads, graph versions
dead_letters.py           0002: the index of dead letters, and how far each listener of control has read
annotations.py            0003: sources, analyses, answers, claims and calls
answers_by_provider.py    0004: answers are kept by provider, too
wider_ids.py              0005: ids of publications as long as an envelope may have them
"""
