"""Places for calls at one provider in this process: so many at a time, first come, first served.

Not here: the places of all processes together, which the books count.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """Used from one loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()

    def take(self) -> bool:
        """A place at once, or False."""
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    async def wait(self, seconds: float) -> bool:
        """True: a place was handed over. False: look again, since something changed or the time is over."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled() and future.result():
                self.give_back()  # it was handed over while we were being interrupted
            if isinstance(error, TimeoutError):
                return False
            raise

    def give_back(self) -> None:
        """To who has waited longest, else to whoever asks next."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(True)
                return
        self.taken -= 1

    def look_again(self) -> None:
        """The provider rests: who waits for a place here shall choose anew."""
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_result(False)
