"""Who turns texts into vectors. In data order:

port.py               what an embedder promises
hashing.py            by the words alone: offline, the same on every machine
openai_compatible.py  by an embedding model of OpenAI or Ollama
"""
