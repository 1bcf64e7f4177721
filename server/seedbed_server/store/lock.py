"""The data directory taken by one server, or by several that share a database."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

_STARTING_SECONDS = 60.0


@dataclass
class ServerLock:
    """A data directory that is taken. `alone` says that no other server has it."""

    descriptor: int
    alone: bool

    def share(self) -> None:
        """Lets others have it too, if they share it."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        self.alone = False

    def close(self) -> None:
        os.close(self.descriptor)


def take(path: Path, *, shared: bool) -> ServerLock | None:
    """Locks a file, alone where nobody else has it; else together with others where it is
    `shared`. None where it cannot be had."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _try(descriptor, fcntl.LOCK_EX):
        return ServerLock(descriptor, alone=True)
    # A server that shares the directory has it alone for a moment when it starts.
    deadline = time.monotonic() + _STARTING_SECONDS
    while shared and time.monotonic() < deadline:
        if _try(descriptor, fcntl.LOCK_SH):
            return ServerLock(descriptor, alone=False)
        time.sleep(0.1)
    os.close(descriptor)
    return None


def _try(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
