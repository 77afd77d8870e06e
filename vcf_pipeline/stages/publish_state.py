"""What a stopped publication leaves in the sender's own folder, so that a repeat goes on without doubling.

One file per tenant and content: a line with publish_id, settings and library version, then a line per
acknowledged stretch: the body hashes of its chunks and its segment. A torn last line is passed over: its
chunks are sent once more and the receiver drops the repeat. Not here: sending (publish.py).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from vcf_pipeline.domain.stream import envelope as frame
from vcf_pipeline.domain.stream.announcement import Segment
from vcf_pipeline.domain.vcf.reader_settings import ReaderSettings


class PublishState:
    """path: None where another process publishes the same bytes: then nothing is kept, and the claim
    decides.
    """

    def __init__(self, path: Path | None, settings: ReaderSettings, version: str) -> None:
        self.path = path
        self._made_by = {
            "settings": settings.fingerprint(),
            "block_bytes": settings.block_bytes,
            "engine": settings.engine,
            "version": version,
        }
        self._file: TextIO | None = None
        self._clear()

    def _clear(self) -> None:
        self.publish_id = self.correlation_id = ""
        self.segments: list[Segment] = []
        self._hashes: dict[int, bytes] = {}
        self._resumed: frozenset[int] = frozenset()

    @classmethod
    @contextmanager
    def opened(
        cls, folder: Path, tenant: str, sha256: str, settings: ReaderSettings, version: str
    ) -> Iterator[PublishState]:
        """The lock is held by this process for as long as the `with` lasts, and goes with it however it
        ends.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{tenant}-{sha256}.jsonl"
        with path.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                state = cls(path, settings, version)
            except BlockingIOError:
                state = cls(None, settings, version)
            try:
                yield state
            finally:
                state.close()
                if state.path is not None and not state.path.exists():
                    path.with_suffix(".lock").unlink(missing_ok=True)

    def begin(self, new_id: Callable[[], str]) -> None:
        """Take up what an earlier attempt with equal settings and version left, else a new publication."""
        self._clear()
        if self.path is not None and self.path.exists() and not self._read():
            self.forget()
        if not self.publish_id:
            self.publish_id, self.correlation_id = new_id(), new_id()
            self._write(
                {"publish_id": self.publish_id, "correlation_id": self.correlation_id, "made_by": self._made_by}
            )
        self._resumed = frozenset(self._hashes)

    def _read(self) -> bool:
        """False where the file is another settings' or version's, or is no state at all."""
        path = self.path
        if path is None:
            return False
        lines = path.read_text().split("\n")
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:
                break  # torn by a kill: what follows was not acknowledged as far as anybody knows
        try:
            head = records[0]
            if head["made_by"] != self._made_by:
                return False
            self.publish_id, self.correlation_id = str(head["publish_id"]), str(head["correlation_id"])
            for record in records[1:]:
                for step, text in enumerate(record["hashes"]):
                    self._hashes[record["first_seq"] + step] = bytes.fromhex(text)
                self.segments.append(Segment.from_dict(record["segment"]))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            self._clear()
            return False
        whole = "".join(json.dumps(record) + "\n" for record in records)
        if whole != "\n".join(lines):
            path.write_text(whole)
        return True

    @property
    def n_acknowledged(self) -> int:
        return len(self._hashes)

    def acknowledged_hash(self, seq: int) -> bytes | None:
        """What an earlier attempt sent under this number; None where it has to be sent."""
        return self._hashes.get(seq) if seq in self._resumed else None

    def acknowledge(self, first_seq: int, bodies: list[bytes], segment: Segment) -> None:
        """Note a durable stretch. Called from the sending thread."""
        hashes = [frame.decode(body).body_hash for body in bodies]
        for step, value in enumerate(hashes):
            self._hashes[first_seq + step] = value
        self.segments.append(segment)
        self._write(
            {
                "first_seq": first_seq,
                "hashes": [value.hex() for value in hashes],
                "segment": segment.to_dict(),
            }
        )

    def _write(self, record: dict[str, Any]) -> None:
        """Flushed, not synced: a line that a power cut takes costs a repeat, never a loss."""
        if self.path is None:
            return
        if self._file is None:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(handle, "a")
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def forget(self) -> None:
        """Nothing is left to resume."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self._clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
