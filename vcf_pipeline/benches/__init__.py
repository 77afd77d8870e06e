"""What `vcf-pipeline bench` measures: the pipeline's own functions, timed on a broker of your choice.

made_file.py  a VCF of as many records as asked for: a real file's, repeated, or made up
figures.py    percentiles, processor seconds, what else the machine was doing; one timed publication
stream.py     one publication: rates, latencies, compression by codec
load.py       many publications at once
memory.py     resident memory while publishing, and while the broker stalls
svg.py        bars and lines as SVG
"""
