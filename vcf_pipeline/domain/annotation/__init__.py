"""What a provider of explanations may see, is asked, and may say. A model explains, it does not decide.

forbidden.py        what no summary may say, and what is no name of a condition
shapes.py           what each value that may leave has to look like
brief.py            a triaged allele → the few typed facts that may leave the house
prompts.py          a brief → the question, by version
prices.py           what a call costs, by model
spending.py         what is written in the books about calls, and whether one more may be made
provider_choice.py  whom to ask next
numbers_said.py     numbers in a summary: each has to be in the facts
answer.py           a model's text → an answer, or what is wrong with it
sentences.py        a brief → its summary by rules, with no model
explained.py        what became of a brief: answered by whom, at what cost, or why not
consensus.py        answers of several providers → the one to show, and how far they agree
"""
