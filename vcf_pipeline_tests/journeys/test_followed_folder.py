"""`publish --follow` as a program that is killed: what it has announced it does not announce again, the rest it does.

Not here: which files are taken (cli/test_publish.py); a single publication that is killed (stages/test_publish.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from vcf_pipeline.domain.stream.cursor import Cursor
from vcf_pipeline.domain.stream.events import heard
from vcf_pipeline.domain.stream.topics import CALLSETS
from vcf_pipeline.settings import load_settings
from vcf_pipeline.wiring import Control
from vcf_pipeline_tests.programs import BIN, environment, wait_until
from vcf_pipeline_tests.stages.published import made_vcf

FILES = 6


def announced(home: Path) -> Counter[str]:
    """How many publications of each callset were announced; one that is announced again is the same."""
    with Control(load_settings({}, home=home)) as control:
        cursor, found = Cursor.from_json(None), set[tuple[str, str]]()
        while messages := heard(control.coordinator.wait([CALLSETS], cursor, 0.1)):
            cursor = cursor.after(message.place for message in messages)
            events = [message.event for message in messages if message.event is not None]
            found.update((str(event.key), event.publish_id) for event in events)
    return Counter(key for key, _ in found)


def test_a_follower_that_is_killed_goes_on_and_announces_each_file_once(tmp_path: Path) -> None:
    home, inbox = tmp_path / "home", tmp_path / "inbox"
    old = time.time() - 60
    for number in range(1, FILES + 1):
        folder = inbox / str(number)
        folder.mkdir(parents=True)
        os.utime(made_vcf(folder, records=400 * number), (old + number, old + number))
    words = [BIN / "vcf-pipeline", "publish", "--follow", inbox, "--json"]

    def following(log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as said:
            return subprocess.Popen(words, env=environment(home), cwd=tmp_path, stdout=said, stderr=subprocess.DEVNULL)

    first = following(tmp_path / "first")
    wait_until(lambda: (tmp_path / "first").read_bytes().count(b"\n") >= 2, "two files published")
    first.kill()
    first.wait(10)
    second = following(tmp_path / "second")
    try:
        wait_until(lambda: len(announced(home)) == FILES, "all files announced")
    finally:
        second.send_signal(signal.SIGINT)
        ended = second.wait(30)
    assert ended == 130
    assert set(announced(home).values()) == {1}
