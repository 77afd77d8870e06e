"""Acts: one file or folder per outside thing, whose errors are mapped inside it. Strangers to each other.

objects.py     files: content's checksum, atomic replacement, private folders; all others may use it
vcf_files/     a VCF or BCF → header and batches
tables.py      Parquet parts, the manifest last, orphans swept
sources.py     rows of registered sources, sorted, read row group by row group
ledger/        the small durable facts, in SQLite or Postgres
broker/        topics and messages
providers/     explanations from models, and the rules that need none
embedders/     texts to vectors
stores/        LanceDB and Kuzu
"""
