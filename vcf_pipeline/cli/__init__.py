"""The command line: options → a stage (or defs/launch) → output. Nothing here decides what a variant means.

app.py        the table of verbs, loaded when called; exit codes of what goes wrong
output.py     one invocation: options of every verb, JSON lines, tables, notes
meter.py      progress of a run or publication, on stderr
env.py        shell exports for Dagster's own commands
explaining.py  what explaining alleles would cost, asked before, and what came of it
run.py        files → tables and stores, in this process
register.py   files → callsets that the next run takes up
publish.py    files → a stream
callsets.py   what there is; forget
topology.py   the topics on every broker
spool.py      what waits for a broker
dlq.py        dead letters
bench.py      how quick publishing is, with plots
sources.py    reference data: add, list, update, remove
annotate.py   one variant, or a callset's alleles, explained
report.py     a callset as one page to read and print
query_text.py  words, or a text to be like → explanations
query.py      variants, their explanations and the graph
providers.py  whether each provider of explanations answers
ai.py         what explanations have cost, and answers that are kept
doctor.py     what is in force and what is wrong
demo.py       real files through stream and batch, compared
"""
