"""Doubles that ship with the package, over ports and domain. Each enters by the door of the real thing.

scripted_broker.py   a broker in memory that pauses and dies when its script says so
"""
