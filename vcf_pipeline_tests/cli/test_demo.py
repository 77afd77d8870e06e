"""What the demo says at its end can be pasted, whether or not this shell knows the command."""

from __future__ import annotations

import os
import subprocess

import pytest

from vcf_pipeline.cli.demo import activation
from vcf_pipeline_tests.programs import BIN


def test_in_a_shell_that_does_not_know_the_command_the_line_makes_it_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    line = activation()
    assert line is not None
    said = subprocess.run(["sh", "-c", f"{line} && vcf-pipeline --version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("vcf-pipeline ")


def test_where_the_command_is_known_there_is_nothing_to_type_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}/usr/bin")
    assert activation() is None
