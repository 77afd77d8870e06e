"""Who turns texts into vectors. In data order:

port.py     what an embedder promises
hashing.py  by the words alone: offline, the same on every machine
model.py    by an embedding model of OpenAI or Ollama, within the tenant's budget
"""
