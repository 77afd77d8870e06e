"""Other programs that are asked the same question.

bcftools.py  what bcftools prints, cached; a skip with the reason without it
columns.py   a file's tables beside bcftools' columns: what differs
"""
