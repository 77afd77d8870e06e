"""Contig names and lengths → the assembly, and the reason for it.

Not here: whether two callsets may be compared (queries look at the name), coordinates of genes.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from vcf_pipeline.domain.vcf.header import Header


@dataclass(frozen=True)
class Assembly:
    """name: "GRCh37", "GRCh38", "T2T-CHM13" or None where nothing decides; reason: one sentence a person can
    check.
    """

    name: str | None
    reason: str


_NAMES = (*(str(number) for number in range(1, 23)), "X", "Y")
_LENGTHS = {
    "GRCh37": (
        *(249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022),
        *(141213431, 135534747, 135006516, 133851895, 115169878, 107349540, 102531392, 90354753),
        *(81195210, 78077248, 59128983, 63025520, 48129895, 51304566, 155270560, 59373566),
    ),
    "GRCh38": (
        *(248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636),
        *(138394717, 133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345),
        *(83257441, 80373285, 58617616, 64444167, 46709983, 50818468, 156040895, 57227415),
    ),
    "T2T-CHM13": (
        *(248387328, 242696752, 201105948, 193574945, 182045439, 172126628, 160567428, 146259331),
        *(150617247, 134758134, 135127769, 133324548, 113566686, 101161492, 99753195, 96330374),
        *(84276897, 80542538, 61707364, 66210255, 45090682, 51324926, 154259566, 62460029),
    ),
}
"""Lengths of chromosomes 1–22, X, Y, from the assemblies' reports at NCBI (GCF_000001405.25, .40,
GCF_009914755.1).
"""

ASSEMBLIES = tuple(_LENGTHS)
_BY_LENGTH = {
    (name, length): assembly
    for assembly, lengths in _LENGTHS.items()
    for name, length in zip(_NAMES, lengths, strict=True)
}
_ALIASES = (
    ("GRCh37", re.compile(r"(?i)grch37|\bhg19\b|\bb37\b|hs37d5|g1k_v37|\bhg19[._]|hs37")),
    ("GRCh38", re.compile(r"(?i)grch38|\bhg38\b|\bb38\b|hs38|\bhg38[._]|Homo_sapiens_assembly38")),
    ("T2T-CHM13", re.compile(r"(?i)t2t|chm13|\bhs1\b")),
)
_HINT_LINE = re.compile(r"(?im)^##(?:reference|assembly|contig|VEP|VEP-command-line|SnpEffCmd|source|INFO)\b.*$")
_HINT_LIMIT = 20_000
HG19_CHRM_LENGTH = 16_571


def recognise_assembly(header: Header, explicit: str | None) -> Assembly:
    """What was given, else what the lengths of contigs say, else what the header's lines name. Raises
    nothing.

    explicit: a name or an alias of it (hg19, b37, hg38, hs1); any other text is taken as it stands.
    """
    if explicit:
        for name, pattern in _ALIASES:
            if pattern.fullmatch(explicit) or explicit == name:
                return Assembly(name, f"given as {explicit!r}")
        return Assembly(explicit, f"given as {explicit!r}")
    votes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for contig in header.contigs:
        bare = contig.id[3:] if contig.id[:3].lower() == "chr" else contig.id
        found = _BY_LENGTH.get((bare, contig.length or 0))
        if found:
            votes[found] += 1
            examples.setdefault(found, f"{contig.id} of {contig.length:,} bases")
    if len(votes) == 1:
        name, count = next(iter(votes.items()))
        return Assembly(name, f"{count} contig length{'s' * (count > 1)} of {name}, such as {examples[name]}")
    if len(votes) > 1:
        told = ", ".join(f"{name} ({examples[name]})" for name in sorted(votes))
        return Assembly(None, f"the contig lengths disagree: {told}")
    for contig in header.contigs:
        for name, pattern in _ALIASES:
            if contig.assembly and pattern.search(contig.assembly):
                return Assembly(name, f"##contig {contig.id} names assembly {contig.assembly!r}")
    return _from_hints(header)


def _from_hints(header: Header) -> Assembly:
    hints: dict[str, str] = {}
    for line in _HINT_LINE.findall(header.text):
        for name, pattern in _ALIASES:
            met = pattern.search(line[:_HINT_LIMIT])
            if met:
                hints.setdefault(name, f"{line[: line.find('=')]} names {met.group(0)}")
    if len(hints) == 1:
        name, reason = next(iter(hints.items()))
        return Assembly(name, reason)
    if hints:
        return Assembly(None, "the header's lines disagree: " + "; ".join(hints[name] for name in sorted(hints)))
    return Assembly(None, "no contig length and no line of the header names an assembly")


def has_old_chrm(header: Header) -> bool:
    """UCSC hg19's chrM (NC_001807, 16,571 bases) rather than rCRS."""
    return any(contig.id.lower() == "chrm" and contig.length == HG19_CHRM_LENGTH for contig in header.contigs)
