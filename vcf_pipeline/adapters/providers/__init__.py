"""Providers of explanations. In data order:

port.py  what a provider promises, and what the router asks of the ledger
"""
