"""Tables → what the stores hold.

search_rows.py   variants and their triage → rows of LanceDB
graph_rows.py    the same and genotypes → nodes and edges of Kuzu, and the rule of what goes in
"""
