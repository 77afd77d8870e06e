"""What VCF, tables, messages and tiers mean. Decides; no I/O, clock, randomness or environment.

errors.py      the exception tree
identity.py    tenant, callset_id, partition key, generation, event ids
kernel.py      how loops over bytes and numbers are compiled
vcf/           the meaning of VCF, in the order a line meets it
row_ids.py     the 16 bytes that name an allele row
tables/        columns of every table, the digest of rows, what a manifest says
breaker.py     when a broker or provider that failed is tried again
stream/        topics, the envelope, chunks, announcements, cursors, run plans
sources/       reference data of a lab → rows that evidence is joined from
triage/        evidence → tier and reasons
annotation/    what a provider of explanations may see, is asked, and may say
projections/   rows of tables → rows of the stores
query.py       the query object and its filter language
text_query.py  words that are searched for, read as phrases
variant_text.py  a variant as people write it
"""
