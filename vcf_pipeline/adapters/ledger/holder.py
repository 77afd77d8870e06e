"""Who holds something: a process, named so exactly that a later one with the same pid is not taken for it."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Holder:
    """started: seconds since 1970, by which a pid used twice is told apart. boot_id: which life of the machine."""

    host: str
    boot_id: str
    pid: int
    started: float

    @classmethod
    def of_this_process(cls) -> Holder:
        return cls(socket.gethostname(), _boot_id(), os.getpid(), round(psutil.Process().create_time(), 2))

    @classmethod
    def from_text(cls, text: str) -> Holder:
        return cls(**json.loads(text))

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {time.strftime('%H:%M:%S', time.localtime(self.started))}"

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def is_surely_gone(self) -> bool:
        """True when it ran on this host and has ended; False when nobody here can know."""
        if not self.is_here:
            return False
        if self.boot_id != _boot_id():
            return True
        try:
            process = psutil.Process(self.pid)
            is_another: bool = abs(process.create_time() - self.started) > 0.05
            return is_another or bool(process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


@cache
def _boot_id() -> str:
    kernel = Path("/proc/sys/kernel/random/boot_id")
    return kernel.read_text().strip() if kernel.is_file() else str(int(psutil.boot_time()))
