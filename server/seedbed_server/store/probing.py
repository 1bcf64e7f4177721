"""How fast the disk of a data directory is."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

PROBES = 5
_BLOCK = bytes(4096)


def sync_seconds(folder: Path) -> float:
    """The median seconds until a block that is written there would survive a power cut. Raises
    OSError where nothing can be written."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(PROBES):
            began = time.perf_counter()
            os.write(file.fileno(), _BLOCK)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)
