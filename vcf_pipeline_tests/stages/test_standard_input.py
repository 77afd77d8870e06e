"""Standard input is a private file for as long as it is published; what a kill leaves goes, what lives stays."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vcf_pipeline.domain.errors import NotFound, Truncated
from vcf_pipeline.stages.standard_input import sweep, taken_in

HOLDS = """
import io, sys
from pathlib import Path
from vcf_pipeline.stages.standard_input import taken_in
with taken_in(io.BytesIO(b"some bytes"), Path(sys.argv[1])) as path:
    print(path, flush=True)
    input()
"""


def test_its_bytes_are_a_private_file_that_goes_when_it_is_done(tmp_path: Path) -> None:
    with taken_in(io.BytesIO(b"some bytes"), tmp_path / "incoming") as path:
        assert Path(path).read_bytes() == b"some bytes"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        sweep(tmp_path / "incoming")
        assert Path(path).exists()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_error_names_standard_input_and_not_the_file_of_ours(tmp_path: Path) -> None:
    with pytest.raises(Truncated) as refused, taken_in(io.BytesIO(b""), tmp_path / "incoming") as path:
        raise Truncated(where=f"{path} line 7", expected="a whole line", got="half", repair=f"Write {path} again.")
    assert str(refused.value) == (
        "standard input line 7: expected a whole line, got half (TRUNCATED). Write standard input again."
    )
    assert refused.value.where == "standard input line 7"


def test_a_process_without_standard_input_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="standard input: expected a VCF or BCF, got none"), taken_in(None, tmp_path):
        pass


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    sweep(folder)
    command = [sys.executable, "-c", HOLDS, str(folder)]
    killed, living = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        left, held = (Path(child.stdout.readline().strip()) for child in (killed, living))
        killed.kill()
        killed.wait()
        assert left.exists()
        sweep(folder)
        assert (left.exists(), held.exists()) == (False, True)
    finally:
        for child in (killed, living):
            child.kill()
            child.communicate()
