"""From one revision of the ledger to the next, by Alembic.

env.py       runs the steps on the connection that database.py gives
versions/    a file per revision
"""
