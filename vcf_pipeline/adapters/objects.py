"""Files by address: put whole or not at all, read for their checksum, folders that only their owner may enter.

Not here: what is in a file (tables.py, vcf_files/). Addresses are local paths or file:// URIs.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from vcf_pipeline.domain.errors import NotFound, StoreUnavailable, UsageError

_READ_BYTES = 4 << 20


def local_path(uri: str) -> Path:
    """The path of a local address. Raises UsageError for a scheme that is not file://."""
    # a letter and a colon is a drive, and a colon may stand in a file's name: only `name://` is a scheme
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise UsageError(
            where=uri,
            expected="a local path or file:// URI",
            got=f"{parts.scheme}://",
            repair="Copy the file to a local folder first.",
            code="UNSUPPORTED_URI",
        )
    return Path(unquote(parts.path))


def readable_file(uri: str) -> Path:
    """The absolute path of a file that can be read. Raises NotFound when it is missing, a folder or closed to us."""
    path = local_path(uri).absolute()
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise _not_found(path, "one that may not be looked at", "Give this user the right to read it.") from None
    except (OSError, ValueError):
        raise _not_found(path, "nothing", "Check the name.") from None
    if stat.S_ISDIR(mode):
        raise _not_found(path, "a folder", "Name the VCF or BCF files in it.")
    if not stat.S_ISREG(mode):
        raise _not_found(path, "a pipe or device", "Write it to a file first: it is read more than once.")
    if not os.access(path, os.R_OK):
        raise _not_found(path, "one that may not be read", "Give this user the right to read it.")
    return path


def _not_found(path: Path, got: str, repair: str) -> NotFound:
    return NotFound(where=str(path), expected="a file", got=got, repair=repair)


def content_sha256(uri: str, progress: Callable[[int, int], None] | None = None) -> tuple[str, int]:
    """(sha256 in hex, size in bytes) of what was read. progress(bytes done, of how many). Raises NotFound."""
    path = readable_file(uri)
    whole, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            while block := file.read(_READ_BYTES):
                whole.update(block)
                done += len(block)
                if progress is not None:
                    progress(done, max(done, total))
    except OSError as error:
        raise NotFound(
            where=str(path),
            expected="a file that can be read to its end",
            got=error.strerror or str(error),
            repair="Check the disk or the network share it lies on.",
        ) from error
    return whole.hexdigest(), done


def make_private_dir(path: Path) -> Path:
    """The folder, made with its parents where it is missing, open to its owner alone. Raises StoreUnavailable."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise unavailable(path, error) from error
    return path


def put_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, and a crash at any moment, sees the old one whole or the new one whole."""
    beside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise unavailable(path, error) from error


def flush_file(path: Path) -> None:
    """What was written to the file is on the disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """The names in the folder are on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unavailable(path: Path, error: OSError) -> StoreUnavailable:
    """A disk's refusal in our words."""
    return StoreUnavailable(
        where=str(path),
        expected="a disk that takes what is written",
        got=error.strerror or str(error),
        repair="Make room, or give this user the right to write there; then do the same again.",
    )
