"""Reference data of a lab → rows that evidence is joined from: alleles by key, intervals by place.

lines.py        blocks of lines → columns; what is refused, by line; what comments tell of the assembly
gene_models.py  GFF3 and GTF → genes
bed.py          BED → intervals
tsv.py          a table of alleles → alleles and their fields
accessions.py   RefSeq's names of contigs → bare ones
alleles.py      allele rows → rows of a source, each key once
"""
