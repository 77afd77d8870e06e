"""What happens to a callset, in order: plain functions over ports that give a report. None has heard of Dagster.

inbox.py           files of the inbox folder that nobody has looked at
register.py        a file → callset in the ledger; same bytes, same callset
publish.py         a file → chunks, then the announcement
standard_input.py  standard input → a private file while it is published
publish_state.py   what a sender remembers of a publication, to go on after a kill
publish_claim.py   who announces what several publish at once
forward.py         what waits in the spool → brokers
publish_variants.py  single variants → chunks of callsets, one a session
announce_records.py  single variants that were sent → their announcement
receive.py         an announcement → batches
read_ahead.py      an iterator, one item ahead in a thread
parse.py           batches, read or received → parsed_variants
sources.py         a file of reference data → a registered source
gene_model_files.py  a gene model kept with its reference
joined_sources.py  frames of a callset with what sources have of the same alleles and places
computed_consequences.py  a callset without consequences → those of a registered gene model, by bcftools csq
triage.py          parsed_variants → triaged_variants
stale_triage.py    a stored triage that triaging now would not give: why, and what one allele would be
annotate.py        triaged_variants → ai_annotations: the alleles that matter, explained
explanations.py    the explanations of a callset that hold for its triage as it is now
load.py            a callset's tables → a store, under a lease
load_annotations.py  a callset's explanations → both stores, under a lease
dead_letters.py    hear, read, replay and discard what could not be processed
topology.py        the topics on every broker: look, apply
complete.py        every table written and both stores current → done
receipts.py        what a sender waits for: stored and searchable
notify.py          what a run tells others: the next stage, caches, people
query.py           a query object → rows of stores and tables
search_text.py     words, or a text to be like → explanations
explain_variant.py  one variant as a person writes it → what is known, its tier, in words
report.py          a callset → what its report says
report_page.py     a report → one page of HTML
forget.py          a callset removed everywhere
"""
