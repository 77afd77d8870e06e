"""Tables → what the stores hold.

search_rows.py      variants and their triage → rows of LanceDB
annotation_rows.py  the same and their explanations → rows of LanceDB that are searched by words and vectors
graph_rows.py       variants, triage, genotypes, explanations → nodes and edges of Kuzu, and the rule of what goes in
"""
