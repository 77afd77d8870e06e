"""Brokers. In data order:

port.py            what a broker promises
embedded_files.py  databases made whole, a thread's connection, SQLite's errors mapped
embedded.py        the SQLite log
coordinator.py     bounded window, waiting and reading over the brokers there are
"""
