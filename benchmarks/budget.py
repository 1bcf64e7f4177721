"""Whether a job takes the wall-clock time that it was given: jobs of mixed tasks, each from
CreateJob until its model is there, preparation and finishing included."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import seedbed
from benchmarks.measure import Case
from benchmarks.processes import server

NAME = "budget"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ALLOWED = 0.05

# Task, data (with its test data), target and what else is said, by name.
JOBS: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
    "breast_cancer": ("tabular", "sample://breast_cancer", "", "target", {}),
    "diabetes": ("tabular", "sample://diabetes", "", "target", {}),
    "digits as pictures": ("image_classification", "sample://digits", "", "", {}),
    "adult": ("tabular", "adult-train.csv", "adult-test.csv", "income", {}),
    "sms": ("text_classification", "sms-train.csv", "sms-test.csv", "label", {}),
    "movielens": (
        "collaborative_filtering",
        "movielens-train.csv",
        "movielens-test.csv",
        "rating",
        {},
    ),
    "cifar": ("image_classification", "cifar10-2k.zip", "", "", {}),
    "spoken digits": ("audio_classification", "spoken-digits.zip", "", "", {}),
    "camvid": ("segmentation", "camvid-240x180.zip", "", "", {"options": {"void": 11}}),
}
RUNS = (
    *((30, name) for name in JOBS),
    *((60, name) for name in JOBS if name != "camvid"),
    (180, "adult"),
    (180, "cifar"),
    (180, "camvid"),
)


def run(rounds: int) -> Iterator[Case]:  # noqa: ARG001
    """A case for each job, and one for how many kept to their budget."""
    kept = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for number, (seconds, name) in enumerate(RUNS):
            data_dir = Path(folder) / str(number)
            data_dir.mkdir()
            took = _took(data_dir, name, seconds)
            ratio = took / seconds
            kept += abs(ratio - 1) <= ALLOWED
            yield Case(
                NAME,
                f"{name}: wall-clock of a job of {seconds} s; theirs: the budget",
                round(took, 2),
                float(seconds),
                "s",
                round(ratio, 4),
                (round(ratio, 4), round(ratio, 4)),
                "required: within 5 % of the budget",
            )
    yield Case(
        NAME,
        "jobs that kept to their budget; theirs: all jobs",
        float(kept),
        float(len(RUNS)),
        "jobs",
        round(kept / len(RUNS), 4),
        None,
        f"required: {len(RUNS)} of {len(RUNS)}",
    )


def _took(data_dir: Path, name: str, seconds: int) -> float:
    task, data, test, target, more = JOBS[name]
    with (
        server(data_dir, "--allow-root", str(SHARED)) as running,
        seedbed.connect(running.address) as client,
    ):
        running.wait_for_log("slots")
        sources: dict[str, Any] = {"test": str(SHARED / test)} if test else {}
        where = data if "://" in data else str(SHARED / data)
        began = time.monotonic()
        client.train(task, where, target=target, budget=f"{seconds}s", **sources, **more)
        return time.monotonic() - began
