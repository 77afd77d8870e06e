"""Providers of explanations. In data order:

port.py           what a provider promises, and what the router asks of the ledger
profiles.py       what each vendor's endpoint takes and expects
openai_client.py  one client for all that speak OpenAI's chat completions
rules.py          the annotator that needs no model
slots.py          places for calls in this process
attempts.py       one provider asked about one brief
runs.py           what is known of a run, and of one brief in it
router.py         briefs → what became of each, by whoever can answer
check.py          one small question to a provider
explainer.py      the router for callers without a loop
"""
