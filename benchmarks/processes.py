"""The processes that benchmarks start: a server, and Python scripts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

MEBIBYTE = 2**20
LOAD_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Started:
    """A process that has said it is ready. `seconds` is from its start to its first line."""

    process: subprocess.Popen[str]
    line: str
    seconds: float
    log: Path

    @property
    def address(self) -> str:
        """Where a server serves."""
        return self.line.partition(" serving on ")[2].partition(", data in ")[0]

    def resident_mb(self) -> float:
        """Memory of this process alone that is resident, in MiB."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / MEBIBYTE

    def mapped_torch_libraries(self) -> int:
        """How many of torch's shared libraries are mapped into it."""
        mapped = psutil.Process(self.process.pid).memory_maps(grouped=True)
        return sum(Path(entry.path).name.startswith("libtorch") for entry in mapped)

    def wait_for_log(self, text: str) -> None:
        """Returns once its log says `text`. Raises RuntimeError where it does not."""
        deadline = time.monotonic() + LOAD_SECONDS
        while text not in self.log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"no {text!r} in the log:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)


@contextmanager
def started(log: Path, *arguments: str, **environment: str) -> Iterator[Started]:
    """`python ARGUMENTS`, from its first line of output until the block ends; `environment` is
    added to the variables that it sees."""
    with log.open("w") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**_environment(), **environment},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        if not line:
            raise RuntimeError(f"{' '.join(arguments)} ended:\n{log.read_text()[-4000:]}")
        yield Started(process, line, seconds, log)
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def server(data_dir: Path, *arguments: str, **environment: str) -> Iterator[Started]:
    """A server on a free port."""
    command = "-m", "seedbed_server", "--address", "127.0.0.1:0", "--data-dir", str(data_dir)
    with started(data_dir / "server.log", *command, *arguments, **environment) as running:
        yield running


def _environment() -> dict[str, str]:
    """Ours without what would change a server; and with compiled modules kept, as where a package
    is installed."""
    dropped = "SEEDBED_", "PYTHONDONTWRITEBYTECODE"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    return {**kept, "OMP_WAIT_POLICY": "PASSIVE"}
