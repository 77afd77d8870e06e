"""The meaning of VCF, in the order a line meets it.

reader_settings.py  how a file is read
defects.py         catalogue: code, severity, expected, repair, section of the specification
header.py          ## lines and #CHROM → Header: declared fields, contigs, samples
assembly.py        contig names and lengths → assembly, and the reason
tokens.py          compiled kernels: line bytes → column offsets, numbers, string views. No meaning
arrow_columns.py   token offsets → Polars columns, without copying the block's text
records.py         offsets → core columns, one row per record; what is set aside
allele_tokens.py   compiled kernels over REF and ALT
alleles.py         records → allele rows: trim, variant_type, end, variant_key
info_tokens.py     compiled kernels over INFO
info.py            INFO text → one typed column per key
percent.py         escapes such as %3A, decoded after splitting
so_terms.py        consequence terms: severity, impact, synonyms
consequences.py    CSQ, ANN, BCSQ, EFF → worst consequence, gene, transcript, impact
sample_tokens.py   compiled kernels over FORMAT and samples
sample_cells.py    FORMAT and samples → where each value of each key lies
format_values.py   one FORMAT key → its typed column
genotypes.py       FORMAT and samples → gt lists; call summary per allele
batch.py           a block of lines through the files above → ParsedBatch
"""
