"""How long InspectDataset takes, and how much memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import seedbed
from benchmarks.large_table import peak_memory, write_table
from benchmarks.measure import Case, compare
from benchmarks.processes import server, started

NAME = "inspect"
DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
ADULT = DATA / "adult-train.csv"

# What a person would look at first: types, missing and distinct values, equal rows.
PLAIN_SCRIPT = """
import sys, time
began = time.monotonic()
import pandas
table = pandas.read_csv(sys.argv[1])
table.describe(include="all")
table.isna().sum(), table.nunique(), table.duplicated().sum()
print(time.monotonic() - began, flush=True)
input()
"""


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        large = Path(folder) / "table.csv"
        write_table(large)
        if ADULT.exists():
            yield _timed(ADULT, "income", rounds, "required: under 2 s")
        yield _timed(large, "label", rounds, "required: under 20 s")
        yield compare(
            NAME,
            "peak memory of all processes (proportional set size) while 1,000,000 rows are "
            "inspected; theirs: the plain script's peak",
            [(_ours(large, "label")[1], _theirs(large)[1]) for _ in range(rounds)],
            unit="MiB",
            limit="required: bounded",
        )


def _timed(table: Path, target: str, rounds: int, limit: str) -> Case:
    return compare(
        NAME,
        f"InspectDataset on {table.name} ({table.stat().st_size / 1e6:.1f} MB), from the call to "
        "the answer; theirs: a script that prints pandas' description of it, with its imports",
        [(_ours(table, target)[0], _theirs(table)[0]) for _ in range(rounds)],
        unit="s",
        limit=limit,
    )


def _ours(table: Path, target: str) -> tuple[float, float]:
    """Seconds of the call, and MiB at the most."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder), "--allow-root", str(table.parent)) as running,
        seedbed.connect(running.address) as client,
    ):
        running.wait_for_log("slots")
        dataset = client.create_dataset(str(table))
        with peak_memory(running.process.pid) as peak:
            began = time.monotonic()
            client.inspect(dataset, target)
            seconds = time.monotonic() - began
        return seconds, peak[0]


def _theirs(table: Path) -> tuple[float, float]:
    log = Path(tempfile.gettempdir()) / f"inspect-{os.getpid()}.log"
    with started(log, "-c", PLAIN_SCRIPT, str(table)) as running:
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        peak = [float(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line]
        return float(running.line), peak[0]
