"""VCF and BCF files → ParsedBatches.

bgzf.py     blocks: inflate, checksums, end marker; gzip and plain text too
lines.py    bytes → the header's text, blocks of whole lines with their numbers
text_files.py  other texts by line, with the same checks: GFF3, GTF, BED, TSV, FASTA
bcftools_csq.py  consequences, by `bcftools csq` in a child process
htslib.py   the second engine, BCF and regions, in a child process that may die
reader.py   a path → Header and ParsedBatches; chooses by content
"""
