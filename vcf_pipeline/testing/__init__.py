"""Doubles that ship with the package, over ports and domain. Each enters by the door of the real thing.

fake_answers.py      what a fake provider says, honestly or not
fake_providers.py    providers of explanations over HTTP, with faults by script
iggy_state.py        what the stub of an Iggy server holds, and how it answers
iggy_stub.py         a server of Apache Iggy's protocol in this process, with faults by script
iggy_wire.py         the protocol's frames, as far as the stub speaks it
memory_books.py      books of calls that do not last
scripted_broker.py   a broker in memory that pauses and dies when its script says so
"""
