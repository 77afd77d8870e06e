"""What is known of an allele → how soon a person should look at it. A triage, never a diagnosis.

thresholds.py    the numbers that the table compares with
info_values.py   INFO columns of any type → text, numbers, frequencies
presets.py       known sources: which fields are read, and what each says
joins.py         rows of a callset and of a source side by side
claims.py        ClinVar's words, number codes and review statuses → significance and stars
statements.py    one thing that may be said of an allele
heard_claims.py  who claims what, and whose claim prevails
heard_sources.py  what registered sources say beside claims
quoted_consequences.py  ClinVar's own consequence, where nothing else gives one
evidence.py      rows of `variants` → claim, population frequency, quality as typed columns; and what was said
rules.py         the table: code, expression, tier, citation; BA1's exceptions
tiers.py         rules applied → tier and reasons; unknown without evidence
moves.py         two triages of the same alleles → what moved between tiers, and why
"""
