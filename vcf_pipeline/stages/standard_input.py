"""Standard input → a private file of this home, for as long as it is published; what killed ones left is swept.

It is taken in whole before the first chunk is sent: a callset's id is that of all its bytes, and by it a repeat is
recognised before anything is sent twice, and goes on where an earlier one stopped; a topic that was lost is sent anew
from it; and htslib opens files alone. Not here: sending (publish.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vcf_pipeline.adapters.objects import make_private_dir
from vcf_pipeline.domain.errors import NotFound, PipelineError

NAME = "standard input"
_PREFIX = "stdin-"


@contextmanager
def taken_in(stream: BinaryIO | None, folder: Path) -> Iterator[str]:
    """The path of a file with all of the stream's bytes. An error that names it names standard input instead.

    stream: None where the process was started without one. Raises NotFound.
    """
    if stream is None:
        raise NotFound(where=NAME, expected="a VCF or BCF", got="none", repair="Pipe one into this command.")
    make_private_dir(folder)
    with _alone_in(folder):
        file = tempfile.NamedTemporaryFile(dir=folder, prefix=_PREFIX)  # noqa: SIM115 - mode 0600, closed below
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        try:
            shutil.copyfileobj(stream, file, 1 << 20)
            file.flush()
            yield file.name
        except PipelineError as error:
            error.rename(file.name, NAME)
            raise


def sweep(folder: Path) -> None:
    """Remove what killed processes left. The lock of a living one is its own, and goes with it however it ends."""
    if not folder.is_dir():
        return
    with _alone_in(folder):
        for path in folder.glob(f"{_PREFIX}*"):
            try:
                with path.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            except (FileNotFoundError, BlockingIOError):
                continue  # done meanwhile, or still at work


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Between the making of a file and its lock nobody sweeps."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
