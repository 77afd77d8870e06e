"""A file's bytes → inflated bytes, piece by piece: BGZF, gzip or plain, with every check the format offers.

Only bounded pieces are ever inflated, so a compressed bomb costs time and no memory.
Not here: lines (lines.py), what the text means (domain/vcf).
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from vcf_pipeline.domain.errors import ChangedWhileRead, Corrupt, NotAVcf, NotFound, Truncated

Compression = Literal["bgzf", "gzip", "plain"]
EOF_MARKER = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends a whole BGZF file (SAM specification 4.1.2)."""
BLOCK_LIMIT = 1 << 16
_READ = 1 << 20
_GZIP = b"\x1f\x8b"
_OTHER_ARCHIVES = {
    b"\xfd7zXZ\0": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"PK\x03\x04": "a zip archive",
    b"CRAM": "a CRAM file",
}


class SourceFile:
    """One pass over a file: counts and hashes its bytes, and notices when it changes meanwhile."""

    def __init__(self, path: str, *, hash_bytes: bool) -> None:
        self.path = path
        self._file = _open(path)
        self._stat = os.fstat(self._file.fileno())
        if not stat.S_ISREG(self._stat.st_mode):
            self._file.close()
            raise NotFound(
                where=path,
                expected="a regular file",
                got="a pipe or device",
                repair="Save it to a file first.",
            )
        self.size_bytes = self._stat.st_size
        self.done_bytes = 0
        self._hash = hashlib.sha256() if hash_bytes else None

    def read(self) -> bytes:
        """The next piece, empty at the end."""
        try:
            piece = self._file.read(_READ)
        except OSError as error:
            raise Corrupt(
                where=f"{self.path} byte {self.done_bytes}",
                expected="readable bytes",
                got=str(error),
                repair="Check the disk or the mount, then try again.",
                code="UNREADABLE",
            ) from error
        self.done_bytes += len(piece)
        if self._hash is not None:
            self._hash.update(piece)
        return piece

    def progress(self) -> tuple[int, int]:
        """(bytes read, bytes there are)."""
        return self.done_bytes, self.size_bytes

    def sha256(self) -> str | None:
        """Of the bytes read so far; None when nobody asked for it."""
        return self._hash.hexdigest() if self._hash is not None else None

    def check_unchanged(self) -> None:
        """Raises ChangedWhileRead when size, time or inode are no longer those of the opening."""
        try:
            now = Path(self.path).stat()
            same = (now.st_size, now.st_mtime_ns, now.st_ino) == (
                self._stat.st_size,
                self._stat.st_mtime_ns,
                self._stat.st_ino,
            )
        except OSError:
            same = False
        if not same or self.done_bytes != self.size_bytes:
            raise ChangedWhileRead(
                where=self.path,
                expected="a file that stays as it is",
                got="another size, time or inode at the end than at the beginning",
                repair="Run again when its writer is done.",
            )

    def close(self) -> None:
        self._file.close()


def _open(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        got, repair = "none", "Check the path."
    except IsADirectoryError:
        got, repair = "a directory", "Name the file in it."
    except PermissionError:
        got, repair = "a file that may not be read", "Grant read access."
    except (OSError, ValueError) as error:
        got, repair = str(error), "Check the path."
    raise NotFound(where=path, expected="a VCF or BCF file", got=got, repair=repair)


def compression_of(path: str, start: bytes) -> Compression:
    """By the first bytes. Raises NotAVcf for archives of other kinds."""
    for magic, name in _OTHER_ARCHIVES.items():
        if start.startswith(magic):
            raise NotAVcf(
                where=path,
                expected="plain text, gzip or BGZF",
                got=name,
                repair="Unpack it, or recompress it with bgzip.",
            )
    if not start.startswith(_GZIP):
        return "plain"
    return "bgzf" if _block_size(start) else "gzip"


def inflated(source: SourceFile, first: bytes, compression: Compression) -> Iterator[bytes]:
    """The inflated text in pieces. first: the piece already read. Raises Truncated, Corrupt."""
    if compression == "bgzf":
        return _bgzf(source, first)
    if compression == "gzip":
        return _gzip(source, first)
    return _plain(source, first)


def _plain(source: SourceFile, piece: bytes) -> Iterator[bytes]:
    while piece:
        yield piece
        piece = source.read()


def _block_size(start: bytes) -> int:
    """The size of the BGZF block that begins here; 0 when it is none. Rule: SAM specification 4.1."""
    if len(start) < 18 or start[:3] != b"\x1f\x8b\x08" or not start[3] & 4:
        return 0
    extra_end = 12 + int.from_bytes(start[10:12], "little")
    at = 12
    while at + 6 <= min(extra_end, len(start)):
        length = int.from_bytes(start[at + 2 : at + 4], "little")
        if start[at : at + 2] == b"BC" and length == 2:
            return int.from_bytes(start[at + 4 : at + 6], "little") + 1
        at += 4 + length
    return 0


def _bgzf(source: SourceFile, piece: bytes) -> Iterator[bytes]:
    """Blocks inflated by libdeflate; each one's checksum and size are compared, the end marker is
    demanded.
    """
    from deflate import DeflateError, crc32, deflate_decompress

    offset = 0
    last_block = b""
    rest = b""
    while piece:
        buffer = rest + piece if rest else piece
        view = memoryview(buffer)
        at, parts, size_inflated = 0, [], 0
        while len(buffer) - at >= 18:
            size = (
                int.from_bytes(buffer[at + 16 : at + 18], "little") + 1
                if buffer[at + 12 : at + 16] == b"BC\x02\x00" and buffer[at : at + 4] == b"\x1f\x8b\x08\x04"
                else _block_size(buffer[at : at + BLOCK_LIMIT])
            )
            if size < 28:
                raise _corrupt(source, offset + at, "a BGZF block", "other bytes")
            if at + size > len(buffer):
                break
            body = at + 12 + int.from_bytes(buffer[at + 10 : at + 12], "little")
            checksum, length = struct.unpack_from("<II", buffer, at + size - 8)
            if length > BLOCK_LIMIT or body > at + size - 8:
                raise _corrupt(source, offset + at, "a block of at most 64 kiB", f"one of {length} bytes")
            if length:
                try:
                    text = deflate_decompress(view[body : at + size - 8], length)
                except DeflateError as error:
                    raise _corrupt(source, offset + at, "deflated bytes", str(error)) from error
                if len(text) != length or crc32(text) != checksum:
                    raise _corrupt(source, offset + at, "the block's own checksum and size", "others")
                parts.append(text)
                size_inflated += length
                # a bomb turns one piece into a gigabyte
                if size_inflated >= _READ:
                    yield b"".join(parts)
                    parts, size_inflated = [], 0
            last_block = buffer[at : at + size] if size == len(EOF_MARKER) else b""
            at += size
        if parts:
            yield b"".join(parts)
        rest = buffer[at:]
        offset += at
        piece = source.read()
    if rest:
        raise _truncated(source, offset, f"{len(rest)} bytes of an unfinished block")
    if last_block != EOF_MARKER:
        raise _truncated(source, offset, "no end-of-file marker")


def _gzip(source: SourceFile, piece: bytes) -> Iterator[bytes]:
    """Any number of gzip members, by ISA-L, which checks each one's checksum and size."""
    from isal import isal_zlib

    inflater = isal_zlib.decompressobj(wbits=31)
    offset, begun = 0, True
    while piece:
        while piece:
            if not begun:
                piece = piece.lstrip(b"\0") if piece[:1] == b"\0" else piece
                if not piece:
                    break
                if not _GZIP.startswith(piece[:2]):
                    raise _corrupt(source, offset, "another gzip member or the end", "other bytes")
                inflater, begun = isal_zlib.decompressobj(wbits=31), True
            try:
                text = inflater.decompress(piece, _READ)
            except isal_zlib.error as error:  # type: ignore[misc]  # the stub calls it a value
                raise _corrupt(source, offset, "deflated bytes with their checksum", str(error)) from error
            if text:
                yield text
            piece = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if inflater.eof:
                begun = False
        offset = source.done_bytes
        piece = source.read()
    if begun:
        raise _truncated(source, offset, "an unfinished gzip member")


def _truncated(source: SourceFile, offset: int, got: str) -> Truncated:
    return Truncated(
        where=f"{source.path} byte {offset}",
        expected="a whole compressed file",
        got=got,
        repair="Copy it again from its source.",
        byte_offset=offset,
    )


def _corrupt(source: SourceFile, offset: int, expected: str, got: str) -> Corrupt:
    return Corrupt(
        where=f"{source.path} byte {offset}",
        expected=expected,
        got=got,
        repair="Copy it again from its source.",
        byte_offset=offset,
    )
