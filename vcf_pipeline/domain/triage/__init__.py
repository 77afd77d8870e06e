"""What is known of an allele → how soon a person should look at it. A triage, never a diagnosis.

thresholds.py  the numbers that the table compares with
claims.py     ClinVar's words, number codes and review statuses → significance and stars
evidence.py   rows of `variants` → claim, population frequency, quality as typed columns; and what was said
rules.py      the table: code, expression, tier, citation; BA1's exceptions
tiers.py      rules applied → tier and reasons; unknown without evidence
"""
