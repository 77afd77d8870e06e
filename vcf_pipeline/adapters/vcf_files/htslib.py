"""The second engine: htslib (by cyvcf2) in a child process, which may crash or hang without harm to this one.

    with open_htslib(path, block_bytes=…) as source:   # BCF, and VCF text
        source.header_text                              # a text file's own, else htslib's
        for block in source.blocks(): …                 # bytes of whole VCF lines

The lines are htslib's own text, but each real number stands in the shortest form that reads back as the same
float32 (htslib prints six digits), so that both engines fill equal tables from a valid file.
The parent reads frames from the child's pipe and a counter of records from a shared file; the child ends with
its parent, by the end of its input, and with a hang, by a timer that needs no Python.
Not here: which file gets this engine (reader.py), what the lines mean (domain/vcf).
"""

from __future__ import annotations

import faulthandler
import gzip
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from vcf_pipeline.domain.errors import EngineStopped, Truncated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HANG_SECONDS = 120.0
"""Without a new record or block the child counts as hanging."""
_POLL_SECONDS = 1.0
_FRAME = struct.Struct("<cQQ")  # kind, bytes of payload, bytes of the file that are read
_HEADER, _BLOCK, _REFUSED, _DONE = b"H", b"B", b"R", b"D"
_KEPT_STDERR_LINES = 50
_END_OF_BGZF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_HEADER_LIMIT = 256 << 20
_BLANK_LINE = "\t1\t.\t.\t.\t.\t.\t.\n"
"""What htslib makes of a blank line."""


class HtslibSource:
    """What open_htslib gives: the header, and the records as text. `blocks` is read once."""

    def __init__(self, path: str, child: subprocess.Popen[bytes], counter: mmap.mmap, hang_seconds: float) -> None:
        self.path = path
        self._child, self._counter, self._hang_seconds = child, counter, hang_seconds
        self._size, self._done = Path(path).stat().st_size, 0
        self._messages: deque[str] = deque(maxlen=_KEPT_STDERR_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.header_text = ""

    def read_header(self) -> None:
        """Fills header_text. Raises EngineStopped."""
        _, payload = self._frame(_HEADER)
        try:
            self.header_text = payload.decode()
        except UnicodeDecodeError:
            self.header_text = payload.decode("latin-1")

    def blocks(self) -> Iterator[bytes]:
        """Whole lines, about block_bytes at a time, in file order.

        Raises EngineStopped: htslib refused a record (`record_no`, 0-based, and its message), died or hung.
        """
        while True:
            kind, payload = self._frame(_BLOCK)
            if kind == _DONE:
                return
            yield payload

    def progress(self) -> tuple[int, int]:
        """(bytes of the file that htslib has read, its size)."""
        return self._done, self._size

    def _frame(self, expected: bytes) -> tuple[bytes, bytes]:
        head = self._read(_FRAME.size)
        kind, size, done = _FRAME.unpack(head)
        payload = self._read(size)
        self._done = min(int(done), self._size)
        if kind == _REFUSED:
            raise self._stopped(payload.decode("utf-8", "replace"))
        if kind not in (expected, _DONE):
            raise self._stopped("it sent what was not asked for")
        return kind, payload

    def _read(self, size: int) -> bytes:
        """Exactly so many bytes of the pipe. Time counts only while the child makes no progress."""
        parts, missing = [], size
        pipe = self._child.stdout
        assert pipe is not None  # noqa: S101 - Popen was asked for it
        last, since = self._records(), time.monotonic()
        while missing:
            ready, _, _ = select.select([pipe], [], [], min(_POLL_SECONDS, self._hang_seconds))
            if ready:
                part = os.read(pipe.fileno(), min(missing, 1 << 20))
                if not part:
                    raise self._died()
                parts.append(part)
                missing -= len(part)
            now = self._records()
            if ready or now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > self._hang_seconds:
                self._child.kill()
                raise self._stopped(f"no progress for {self._hang_seconds:.0f} seconds")
        return b"".join(parts)

    def _records(self) -> int:
        return int.from_bytes(self._counter[:8], "little")

    def _listen(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None  # noqa: S101 - Popen was asked for it
        for line in pipe:
            self._messages.append(line.decode("utf-8", "replace").rstrip())

    def _died(self) -> EngineStopped:
        code = self._child.wait()
        if code < 0:
            return self._stopped(f"it died of {signal.Signals(-code).name}")
        self._listener.join(timeout=1)
        timed_out = any(line.startswith("Timeout (") for line in self._messages)
        return self._stopped("no progress" if timed_out else f"it ended with exit code {code}")

    def _stopped(self, why: str) -> EngineStopped:
        self._listener.join(timeout=1)
        spoken = [line for line in self._messages if line.startswith("[E::")]
        record_no = self._records()
        told = f"{why}: {spoken[-1]}" if spoken else why
        return EngineStopped(
            where=f"{self.path} record {record_no + 1}" if self.header_text else self.path,
            expected="what htslib reads",
            got=told,
            repair="Mend the record, or read VCF text with the own engine, which sets bad records aside.",
            record_no=record_no,
            htslib=told,
        )


@contextmanager
def open_htslib(path: str, *, block_bytes: int, hang_seconds: float = HANG_SECONDS) -> Iterator[HtslibSource]:
    """htslib on a file, in a child process that ends with this block.

    block_bytes: of text in a block. Raises Truncated (a BGZF file without its end marker) and EngineStopped
    (htslib cannot open it). The caller has seen that the file exists and is a VCF or BCF.
    """
    _check_end(path)
    with tempfile.TemporaryFile() as shared:
        shared.write(bytes(8))
        shared.flush()
        command = [
            sys.executable,
            "-m",
            __name__,
            path,
            str(block_bytes),
            str(shared.fileno()),
            str(hang_seconds),
        ]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[shared.fileno()],
        )
        with mmap.mmap(shared.fileno(), 8) as counter:
            source = HtslibSource(path, child, counter, hang_seconds)
            try:
                source.read_header()
                yield source
            finally:
                child.kill()
                child.wait()
                source._listener.join()
                for pipe in (child.stdin, child.stdout, child.stderr):
                    if pipe:
                        pipe.close()


def _check_end(path: str) -> None:
    """htslib only warns of a missing end marker, and reads what is there."""
    with Path(path).open("rb") as file:
        head = file.read(16)
        if head[:4] != b"\x1f\x8b\x08\x04" or head[12:14] != b"BC":
            return
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(_END_OF_BGZF), 0))
        if file.read() != _END_OF_BGZF:
            raise Truncated(
                where=f"{path} byte {size}",
                expected="the end marker of a BGZF file",
                got="the end of the file",
                repair="Copy the file again from where it came.",
            )


# From here on: the child.


class _Rewriter:
    """A record → its line, with real numbers at full float32 precision."""

    def __init__(self, vcf: Any) -> None:
        import numpy as np

        self._np = np
        declared = [line.info() for line in vcf.header_iter() if line["HeaderType"] in ("INFO", "FORMAT")]
        reals = [line for line in declared if line.get("Type") == "Float"]
        self._info = frozenset(line["ID"] for line in reals if line["HeaderType"] == "INFO")
        self._formats = frozenset(line["ID"] for line in reals if line["HeaderType"] == "FORMAT")

    def line(self, variant: Any) -> str:
        text = str(variant)
        if text == _BLANK_LINE:
            return "\n"
        columns = text.split("\t", 8)
        columns[5] = self._exact(columns[5], variant.QUAL)
        if self._info:
            columns[7] = self._of_info(columns[7], variant)
        if self._formats and len(columns) > 8:
            columns[8] = self._of_samples(columns[8], variant)
        return "\t".join(columns)

    def _exact(self, printed: str, value: float | None) -> str:
        if value is None or printed == "." or self._np.isnan(value):
            return printed
        single = self._np.float32(value)
        return printed if self._np.float32(printed) == single else str(single)

    def _of_info(self, text: str, variant: Any) -> str:
        entries = text.split(";")
        for place, entry in enumerate(entries):
            key, equals, printed = entry.partition("=")
            if not equals or key not in self._info:
                continue
            values = variant.INFO.get(key)
            if not isinstance(values, tuple):
                values = (values,)
            tokens = printed.split(",")
            if len(tokens) == len(values):
                entries[place] = f"{key}=" + ",".join(map(self._exact, tokens, values))
        return ";".join(entries)

    def _of_samples(self, text: str, variant: Any) -> str:
        named, _, _ = text.partition("\t")
        keys = named.rstrip("\n").split(":")
        if self._formats.isdisjoint(keys):
            return text
        samples: list[str] = []
        for place, key in enumerate(keys):
            values = variant.format(key) if key in self._formats else None
            if values is None:
                continue
            lossy = ~self._survives(values)
            if not lossy.any():
                continue
            samples = samples or text.removesuffix("\n").split("\t")
            for sample in self._np.flatnonzero(lossy.any(axis=1)):
                cells = samples[sample + 1].split(":")
                if place < len(cells):
                    tokens = cells[place].split(",")
                    cells[place] = ",".join(map(self._exact, tokens, values[sample].tolist()))
                    samples[sample + 1] = ":".join(cells)
        return "\t".join(samples) + "\n" if samples else text

    def _survives(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Whether six digits read back as the same float32; true too for nan, a missing value."""
        np = self._np
        with np.errstate(all="ignore"):
            exact = values.astype(np.float64)
            scale = 10.0 ** (5 - np.floor(np.log10(np.abs(exact))))
            digits = np.rint(exact * scale)
            # near a tie the decimal printed may be the other one
            sure = np.abs(exact * scale - digits) < 0.3
            same = sure & ((digits / scale).astype(np.float32) == values)
        return same | (values == 0) | ~np.isfinite(values)  # type: ignore[no-any-return]


def _send(pipe: BinaryIO, kind: bytes, payload: bytes, done: int) -> None:
    pipe.write(_FRAME.pack(kind, len(payload), done))
    pipe.write(payload)
    pipe.flush()


def _own_header(path: str) -> bytes | None:
    """The header's text as the file has it; None for a BCF."""
    with Path(path).open("rb") as raw:
        start = raw.read(2)
        raw.seek(0)
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if start == b"\x1f\x8b" else raw
        lines, size = [], 0
        for line in file:
            lines.append(line)
            size += len(line)
            if line.startswith(b"#CHROM"):
                return b"".join(lines)
            if (len(lines) == 1 and not line.startswith((b"#", b"\xef\xbb\xbf#"))) or size > _HEADER_LIMIT:
                return None
    return None


def _end_with_parent() -> None:
    """The parent holds the other end of our input and never writes: its end is the parent's."""
    os.read(0, 1)
    os._exit(0)


def _read_all(path: str, block_bytes: int, counter: mmap.mmap, hang_seconds: float, pipe: BinaryIO) -> None:
    import cyvcf2

    descriptor = os.open(path, os.O_RDONLY)
    try:
        vcf = cyvcf2.VCF(descriptor)
    except Exception as error:
        # it names the descriptor, which says nothing to a person
        raise ValueError("htslib cannot open it as VCF or BCF") from error
    own = _own_header(path)
    _send(pipe, _HEADER, own if own is not None else vcf.raw_header.encode(), 0)
    rewriter = _Rewriter(vcf)
    lines: list[bytes] = []
    size = 0
    for n_records, variant in enumerate(vcf, start=1):
        line = rewriter.line(variant).encode()
        lines.append(line)
        size += len(line)
        counter[:8] = n_records.to_bytes(8, "little")
        if size >= block_bytes:
            # the pipe may be full for as long as the parent likes
            faulthandler.cancel_dump_traceback_later()
            _send(pipe, _BLOCK, b"".join(lines), os.lseek(descriptor, 0, os.SEEK_CUR))
            faulthandler.dump_traceback_later(hang_seconds, exit=True)
            lines, size = [], 0
    faulthandler.cancel_dump_traceback_later()
    if lines:
        _send(pipe, _BLOCK, b"".join(lines), os.lseek(descriptor, 0, os.SEEK_CUR))
    _send(pipe, _DONE, b"", Path(path).stat().st_size)


def _main(path: str, block_bytes: str, counter_descriptor: str, hang_seconds: str) -> None:
    """The child: frames on what was standard output, everything that anybody prints on standard error."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group; what it means is the parent's to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # a hang inside htslib may hold the interpreter; this timer needs none
    faulthandler.dump_traceback_later(float(hang_seconds), exit=True)
    with mmap.mmap(int(counter_descriptor), 8) as counter:
        try:
            _read_all(path, int(block_bytes), counter, float(hang_seconds), pipe)
        except BrokenPipeError:
            os._exit(0)
        except Exception as error:
            faulthandler.cancel_dump_traceback_later()
            _send(pipe, _REFUSED, str(error).encode(), 0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
