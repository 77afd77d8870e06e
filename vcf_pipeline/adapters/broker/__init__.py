"""Brokers. In data order:

port.py          what a broker promises
embedded.py      the SQLite log
coordinator.py   bounded window, waiting and reading over the brokers there are
"""
