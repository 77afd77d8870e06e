"""What a provider of explanations may see, is asked, and may say. A model explains, it does not decide.

brief.py      a triaged allele → the few typed facts that may leave the house
prompts.py    a brief → the question, by version
answer.py     a model's text → an answer, or what is wrong with it
explained.py  what became of a brief: answered by whom, at what cost, or why not
"""
