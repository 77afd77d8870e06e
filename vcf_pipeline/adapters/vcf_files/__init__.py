"""VCF and BCF files → ParsedBatches.

bgzf.py     blocks: inflate, checksums, end marker; gzip and plain text too
lines.py    bytes → the header's text, blocks of whole lines with their numbers
htslib.py   the second engine, BCF and regions, in a child process that may die
reader.py   a path → Header and ParsedBatches; chooses by content
"""
