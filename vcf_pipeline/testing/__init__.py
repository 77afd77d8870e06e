"""Doubles that ship with the package, over ports and domain. Each enters by the door of the real thing."""
