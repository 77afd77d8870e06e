"""Single variants as other programs send them → lines of a VCF → ParsedBatch.

A publication of single variants is the VCF text of HEADER_TEXT and a line per variant: its sha256 gives the callset
its id, its lines are read as a file's are, so the tables are those that a file of this text would get. Sites only:
genotypes need a header that names the samples, which is a file's. Not here: when a chunk is cut and what is announced
(stages/publish_variants.py); the frame round a body (envelope.py). The wire format is told in docs/messages.md.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from vcf_pipeline.domain.errors import BadVariant, UnreadableMessage
from vcf_pipeline.domain.stream.envelope import MAX_MESSAGE_BYTES, Envelope, unpack_bounded
from vcf_pipeline.domain.vcf.batch import BlockParser, ParsedBatch
from vcf_pipeline.domain.vcf.header import Header, parse_header
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings

RECORDS = "variants/records"
MAX_RECORDS = 10_000
"""In one message."""
MAX_CALLSET_ROWS = 1_000_000
"""Allele rows of one callset of single variants."""
MAX_TEXT = 200
MAX_ALLELES = 100_000
"""Characters of REF, and of ALT."""
MAX_INFO = 500
MAX_INFO_TEXT = 65_536
_MAX_POS = (1 << 31) - 1

_RESERVED_INFO = (
    "AA,1,String AC,A,Integer AD,R,Integer ADF,R,Integer ADR,R,Integer AF,A,Float AN,1,Integer BQ,1,Float "
    "CIGAR,A,String DB,0,Flag DP,1,Integer END,1,Integer H2,0,Flag H3,0,Flag MQ,1,Float MQ0,1,Integer NS,1,Integer "
    "SB,4,Integer SOMATIC,0,Flag VALIDATED,0,Flag 1000G,0,Flag SVTYPE,1,String SVLEN,A,Integer CIPOS,2,Integer "
    "CIEND,2,Integer GENE,.,String"
)
"""Keys that VCF 4.3 reserves, with its types (sections 1.6.1 and 3), and GENE; another key becomes a list of texts."""
HEADER_TEXT = "\n".join(
    [
        "##fileformat=VCFv4.3",
        "##source=vcf_pipeline single variants",
        *(
            '##INFO=<ID={},Number={},Type={},Description="As VCF 4.3 reserves it">'.format(*entry.split(","))
            for entry in _RESERVED_INFO.split()
        ),
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        "",
    ]
)
_WHOLE, _REAL, _MAP = (int, numbers.Integral), (float, int, numbers.Real), (dict, Mapping)
"""The built-in types first: an abstract one is asked for ten times longer, and a variant has a dozen values."""
_BASES = "[ACGTNRYSWKMBDHVUacgtnryswkmbdhvu]"
_CONTIG = re.compile(r"[0-9A-Za-z!$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")
_REF = re.compile(f"{_BASES}+")
_ALT = re.compile(
    rf"(?:{_BASES}+|\*|<[^<>,\s]+>|\.{_BASES}+|{_BASES}+\.|[\[\]][^\[\]\s,]+[\[\]]{_BASES}+|"
    rf"{_BASES}+[\[\]][^\[\]\s,]+[\[\]])"
)
_KEY = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*|1000G")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")
_ESCAPED = str.maketrans({char: f"%{ord(char):02X}" for char in "%;=, \t\r\n"})


@dataclass
class VCFVariantMessage:
    """One variant, by the names that users of VCF Agent's Phase 5.1 know.

    chromosome: as in a VCF's CHROM. position: 1-based. alternate: one ALT, several separated by commas, "." for none.
    quality: phred-scaled, None for unknown. filter_status: None, "PASS" or names separated by semicolons.
    info_fields: INFO by key; True is a flag, None and False leave the key out, a list has several values.
    samples: must be empty, since single variants are sites-only. source_file: names the callset where nothing else
    does. The others are accepted and not stored.
    """

    chromosome: str
    position: int
    reference: str
    alternate: str
    quality: float | None = None
    filter_status: str | None = None
    variant_id: str | None = None
    info_fields: Mapping[str, Any] | None = None
    samples: Sequence[Mapping[str, Any]] | None = None
    message_type: Any = None
    timestamp: float | None = None
    source_file: str | None = None

    def to_map(self) -> dict[str, Any]:
        """What travels, without what is not given."""
        fields = {
            "chromosome": self.chromosome,
            "position": self.position,
            "reference": self.reference,
            "alternate": self.alternate,
            "quality": self.quality,
            "filter": self.filter_status,
            "id": self.variant_id,
            "info": dict(self.info_fields) if self.info_fields else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


_FIELDS = {
    "chromosome": "chromosome",
    "position": "position",
    "reference": "reference",
    "alternate": "alternate",
    "quality": "quality",
    "filter": "filter_status",
    "id": "variant_id",
    "info": "info_fields",
}


def to_line(message: VCFVariantMessage) -> str:
    """The line of a VCF that says the same. Raises BadVariant for what no line can say."""
    if message.samples:
        raise _bad("samples", "none: single variants are sites-only", f"{len(message.samples)} samples")
    alternate = _text("alternate", message.alternate, MAX_ALLELES)
    if alternate != "." and not all(_ALT.fullmatch(item) for item in alternate.split(",")):
        raise _bad("alternate", "bases, *, <ID>, a breakend, or . alone", alternate)
    return "\t".join(
        (
            _matching("chromosome", message.chromosome, _CONTIG, "a contig's name without spaces", MAX_TEXT),
            str(_position(message.position)),
            _optional("variant_id", message.variant_id),
            _matching("reference", message.reference, _REF, "bases", MAX_ALLELES),
            alternate,
            _quality(message.quality),
            _optional("filter_status", message.filter_status),
            _info(message.info_fields),
        )
    )


def _text(name: str, value: Any, limit: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise _bad(name, f"a text of 1 to {limit:,} characters", value)
    return value


def _matching(name: str, value: Any, pattern: re.Pattern[str], what: str, limit: int) -> str:
    text = _text(name, value, limit)
    if not pattern.fullmatch(text):
        raise _bad(name, what, text)
    return text


def _optional(name: str, value: Any) -> str:
    return "." if value is None else _matching(name, value, _WORD, "a text without spaces", MAX_INFO_TEXT)


def _position(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, _WHOLE) or not 0 <= int(value) <= _MAX_POS:
        raise _bad("position", f"a whole number from 0 to {_MAX_POS:,}", value)
    return int(value)


def _quality(value: Any) -> str:
    if value is None:
        return "."
    if isinstance(value, bool) or not isinstance(value, _REAL) or not 0 <= float(value) < math.inf:
        raise _bad("quality", "a number from 0", value)
    return _number(value)


def _number(value: float | numbers.Real) -> str:
    """The shortest text that reads back as the same number; a whole one without a point."""
    if isinstance(value, _WHOLE):
        return str(int(value))
    return repr(float(value)).removesuffix(".0")


def _info(fields: Mapping[str, Any] | None) -> str:
    if not fields:
        return "."
    if not isinstance(fields, _MAP) or len(fields) > MAX_INFO:
        raise _bad("info_fields", f"a map of at most {MAX_INFO} keys", fields)
    entries = []
    for key, value in fields.items():
        if not isinstance(key, str) or len(key) > MAX_TEXT or not _KEY.fullmatch(key):
            raise _bad("info_fields", "keys such as DP", key)
        if value is None or value is False:
            continue
        entries.append(key if value is True else f"{key}={_values(key, value)}")
    return ";".join(sorted(entries)) or "."


def _values(key: str, value: Any) -> str:
    is_list = isinstance(value, (list, tuple))
    text = ",".join([_value(key, one) for one in value]) if is_list else _value(key, value)
    if not 0 < len(text) <= MAX_INFO_TEXT:
        raise _bad(f"info_fields[{key!r}]", f"1 to {MAX_INFO_TEXT:,} characters", f"{len(text):,}")
    return text


def _value(key: str, value: Any) -> str:
    if value is None:
        return "."
    if isinstance(value, str) and "\0" not in value:
        return value.translate(_ESCAPED)
    if not isinstance(value, bool) and isinstance(value, _REAL) and math.isfinite(value):
        return _number(value)
    raise _bad(f"info_fields[{key!r}]", "texts and finite numbers", value)


def _bad(name: str, expected: str, got: Any) -> BadVariant:
    shown = got if isinstance(got, str) else repr(got)
    return BadVariant(where=name, expected=expected, got=repr(shown[:80]) if isinstance(got, str) else shown[:80])


class RecordParser:
    """Lines of one publication, in order → ParsedBatches; and what its announcement needs.

    `sha256` and `size_bytes` are those of the VCF text so far.
    """

    def __init__(self, settings: ReaderSettings) -> None:
        self.header: Header = parse_header(HEADER_TEXT)
        self.settings = settings
        self.records = self.size_bytes = 0
        self._parser = BlockParser(self.header, settings)
        self._hash = hashlib.sha256(HEADER_TEXT.encode())
        self.size_bytes = len(HEADER_TEXT.encode())

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def parse(self, lines: Sequence[str]) -> ParsedBatch:
        """lines: of to_line, without their newlines. Records that no allele can be made of are rejects."""
        text = "".join(f"{line}\n" for line in lines).encode()
        batch = self._parser.parse(text, self.records, self.header.n_lines + 1 + self.records, self.size_bytes)
        self._hash.update(text)
        self.records += batch.n_records
        self.size_bytes += len(text)
        return batch


def records_body(messages: Iterable[VCFVariantMessage]) -> bytes:
    """The body of a `variants/records` message."""
    packed: bytes = msgpack.packb([message.to_map() for message in messages], use_bin_type=True)
    return packed


def read_lines(envelope: Envelope) -> list[str]:
    """The lines of a `variants/records` message. Raises UnreadableMessage for anything but a list of variants."""
    where = f"chunk {envelope.seq} of {envelope.publish_id}"
    if envelope.codec not in ("", "none"):
        raise UnreadableMessage(where=where, expected="codec none", got=repr(envelope.codec[:20]))
    records = unpack_bounded(envelope.body, MAX_MESSAGE_BYTES)
    if not isinstance(records, list) or not 0 < len(records) <= MAX_RECORDS:
        raise UnreadableMessage(
            where=where, expected=f"a list of 1 to {MAX_RECORDS:,} variants", got=_described(records)
        )
    lines = []
    for number, record in enumerate(records):
        try:
            lines.append(to_line(_from_map(record)))
        except BadVariant as problem:
            raise UnreadableMessage(
                where=f"{where}, variant {number}, {problem.where}", expected=problem.expected, got=problem.got
            ) from None
    return lines


def _from_map(record: Any) -> VCFVariantMessage:
    if not isinstance(record, dict):
        raise _bad("variant", "a map", record)
    unknown = [name for name in record if name not in _FIELDS]
    if unknown:
        raise _bad("variant", f"the fields {', '.join(_FIELDS)}", str(unknown[0]))
    missing = [name for name in ("chromosome", "position", "reference", "alternate") if name not in record]
    if missing:
        raise _bad("variant", f"{missing[0]}", "none")
    return VCFVariantMessage(**{_FIELDS[name]: value for name, value in record.items()})


def _described(value: Any) -> str:
    return f"{len(value):,} of them" if isinstance(value, list) else type(value).__name__
