"""The same question put to bcftools, answered once per session; a skip with the reason where it is not
installed.

Not here: how an answer is compared (columns.py).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_CACHED_BYTES = 32 << 20


class BcftoolsError(Exception):
    """bcftools ended with an error; the message is its own."""


class Bcftools:
    """bcftools on this machine."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._answers: dict[tuple[str, ...], bytes] = {}
        self.version = self._run("--version").split(b"\n", 1)[0].decode()

    def query(self, vcf: Path, columns: str) -> bytes:
        """`bcftools query -f columns`, a line per record."""
        return self._ask("query", "-f", columns + "\n", str(vcf))

    def view(self, vcf: Path, *options: str) -> bytes:
        """`bcftools view`, as VCF text unless the options say otherwise."""
        return self._ask("view", "--no-version", *options, str(vcf))

    def split_vep(self, vcf: Path, key: str, columns: str) -> bytes:
        """`bcftools +split-vep -d`, a line per consequence; BcftoolsError where the plugin is not installed."""
        return self._ask("+split-vep", "-a", key, "-d", "-f", columns + "\n", str(vcf))

    def _ask(self, *arguments: str) -> bytes:
        if arguments not in self._answers:
            answer = self._run(*arguments)
            if len(answer) > _CACHED_BYTES:
                return answer
            self._answers[arguments] = answer
        return self._answers[arguments]

    def _run(self, *arguments: str) -> bytes:
        done = subprocess.run([self._program, *arguments], capture_output=True, check=False, timeout=250)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")
            raise BcftoolsError(said[-1] if said[-1] else f"exit code {done.returncode}")
        return done.stdout


def find_bcftools() -> Bcftools | None:
    program = shutil.which("bcftools")
    return Bcftools(program) if program else None


@pytest.fixture(scope="session")
def bcftools() -> Bcftools:
    found = find_bcftools()
    if found is None:
        pytest.skip("bcftools is not installed (Debian: apt-get install bcftools)")
    return found
