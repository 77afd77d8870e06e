"""How LanceDB is reached: a process of its own, since what is imported here stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from vcf_pipeline.adapters.stores.lance import connect

assert connect(Path(sys.argv[1])).table_names() == []
rest = "lance_namespace_urllib3_client"
made = [name for name in sys.modules if name.startswith(f"{rest}.api.")]
assert not made, made
assert not hasattr(sys.modules[rest], "__of_nobody__")
assert f"{rest}.api.table_api" not in sys.modules
from lance_namespace_urllib3_client import TableApi
from lance_namespace_urllib3_client.api.table_api import TableApi as same
assert TableApi is same
"""


def test_a_folder_is_opened_without_the_client_of_remote_catalogues_which_is_there_when_asked_for(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
