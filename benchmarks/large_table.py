"""How much memory a job on a table of 1,000,000 rows takes, in all processes together."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.processes import MEBIBYTE, server, started

NAME = "large_table"
ROWS = 1_000_000
NUMBERS = 14
CATEGORIES = 5
ROWS_AT_ONCE = 50_000
SAMPLED_EVERY = 0.1
BUDGET = "60s"
LIMIT_MEBIBYTES = 64

# What a person would write; 100 rounds are what LightGBM does unless told otherwise.
PLAIN_SCRIPT = """
import sys
import lightgbm, pandas
from sklearn.model_selection import train_test_split

table = pandas.read_csv(sys.argv[1])
for name in table.columns[table.dtypes == "str"]:
    table[name] = table[name].astype("category")
train, valid = train_test_split(table, test_size=0.2, random_state=0)
model = lightgbm.LGBMClassifier(n_jobs=2, verbose=-1)
model.fit(
    train.drop(columns="label"), train["label"],
    eval_set=[(valid.drop(columns="label"), valid["label"])],
)
print("trained", flush=True)
input()
"""


def run(rounds: int) -> Iterator[Case]:
    """The case."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        table = Path(folder) / "table.csv"
        write_table(table)
        done = [(_ours(table), _theirs(table)) for _ in range(rounds)]
        limited = [(_ours(table, LIMIT_MEBIBYTES * 2**20), _ours(table)) for _ in range(rounds)]
    yield compare(
        NAME,
        f"peak memory of all processes (proportional set size), a job of {BUDGET} on {ROWS:,} rows "
        f"of {NUMBERS + CATEGORIES + 1} columns, from the reading on; theirs: a script that reads "
        "the file with pandas and trains LightGBM",
        done,
        unit="MiB",
        limit="required: under 3,000 MB (2,861 MiB)",
    )
    yield compare(
        NAME,
        f"the same job with a memory limit of {LIMIT_MEBIBYTES} MiB; theirs: with the default, "
        "which holds this table in memory",
        limited,
        unit="MiB",
        limit="the library's own code, one process for the server and one for forking, and the "
        "bins and gradients of LightGBM remain",
    )


def write_table(path: Path) -> None:
    """Numbers, categories and a class that some of them tell something about."""
    generator = np.random.default_rng(0)
    names = [*(f"n{i}" for i in range(NUMBERS)), *(f"c{i}" for i in range(CATEGORIES)), "label"]
    with path.open("w") as file:
        file.write(",".join(names) + "\n")
        for _ in range(ROWS // ROWS_AT_ONCE):
            numbers = generator.normal(size=(ROWS_AT_ONCE, NUMBERS))
            codes = generator.integers(0, 5 ** np.arange(1, CATEGORIES + 1), (ROWS_AT_ONCE, 5))
            signal = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + (codes[:, 0] - 2)
            labels = signal + generator.normal(size=ROWS_AT_ONCE) > 0
            for row, code, label in zip(numbers, codes, labels, strict=True):
                cells = [*(f"{x:.5f}" for x in row), *(f"value{x}" for x in code)]
                file.write(",".join(cells) + (",yes\n" if label else ",no\n"))


def _ours(table: Path, memory_limit: int | None = None) -> float:
    settings = {} if memory_limit is None else {"SEEDBED_MEMORY_LIMIT_BYTES": str(memory_limit)}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder), "--allow-root", str(table.parent), **settings) as running,
        seedbed.connect(running.address) as client,
    ):
        running.wait_for_log("slots")
        with peak_memory(running.process.pid) as peak:
            job = client.train("tabular", str(table), target="label", budget=BUDGET, detach=True)
            job.wait()
        return peak[0]


def _theirs(table: Path) -> float:
    log = table.with_suffix(".log")
    peak: list[float] = []
    with started(log, "-c", PLAIN_SCRIPT, str(table)) as running:
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        peak = [float(line.split()[1]) / 1024 for line in status.splitlines() if "VmHWM" in line]
    return peak[0]


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """The most memory that a process and its descendants took together while the block ran, in
    MiB. What they share counts once."""
    highest = [0.0]
    ended = threading.Event()

    def watch() -> None:
        root = psutil.Process(pid)
        while not ended.wait(SAMPLED_EVERY):
            total = sum(_share(process.pid) for process in [root, *root.children(recursive=True)])
            highest[0] = max(highest[0], total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield highest
    finally:
        ended.set()
        thread.join()


def _share(pid: int) -> float:
    """Proportional set size in MiB; 0 of a process that has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kibibytes = [float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
    return sum(kibibytes) * 1024 / MEBIBYTE
