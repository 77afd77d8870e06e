"""The inbox: a folder whose new files become callsets. Which of them nobody has looked at in their present form.

Not here: what becomes of them (register.py, defs/schedules.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vcf_pipeline.adapters.objects import put_atomically

ENDINGS = (".vcf", ".vcf.gz", ".vcf.bgz", ".vcf.bgzf", ".bcf")
SETTLED_SECONDS = 30.0
"""A file is taken when it has not changed for so long: whoever copies it in may still be writing."""


@dataclass(frozen=True)
class InboxFile:
    """A file in one form; another size or time of change is another form."""

    path: Path
    size_bytes: int
    changed_ns: int


class Inbox:
    """What was looked at is remembered in a file, whether it was taken or refused: a refused file is refused once, the
    copy of a known one is read once, and a callset that was forgotten does not come back by itself.
    """

    def __init__(self, folder: Path, memory: Path, settled_s: float = SETTLED_SECONDS) -> None:
        self.folder, self._memory, self._settled_s = folder, memory, settled_s

    def waiting(self, now: float) -> list[InboxFile]:
        """Settled files with the name of a VCF or BCF that are not remembered as they are, oldest first.

        now: seconds since 1970. A name that starts with a dot is somebody's unfinished copy.
        """
        seen = self._seen()
        found = [
            file
            for file in self._files()
            if now - file.changed_ns / 1e9 >= self._settled_s
            and seen.get(str(file.path)) != [file.size_bytes, file.changed_ns]
        ]
        return sorted(found, key=lambda file: (file.changed_ns, file.path))

    def remember(self, file: InboxFile) -> None:
        """Call it when what follows from the file is durable. Files that are gone are forgotten."""
        seen = {path: form for path, form in self._seen().items() if Path(path).exists()}
        seen[str(file.path)] = [file.size_bytes, file.changed_ns]
        put_atomically(self._memory, json.dumps(seen, indent=0).encode())

    def _seen(self) -> dict[str, list[int]]:
        try:
            found = json.loads(self._memory.read_bytes())
        except (FileNotFoundError, ValueError):
            # Without the memory every file is looked at once more, which changes nothing.
            return {}
        return found if isinstance(found, dict) else {}

    def _files(self) -> Iterator[InboxFile]:
        for path in self.folder.rglob("*"):
            if path.name.startswith(".") or not path.name.lower().endswith(ENDINGS):
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # moved away meanwhile
            if path.is_file():
                yield InboxFile(path, status.st_size, status.st_mtime_ns)
