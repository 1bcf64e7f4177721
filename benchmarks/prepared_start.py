"""How soon a job trains on data that an earlier job has prepared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.pictures import write_pictures
from benchmarks.processes import server

NAME = "prepared_start"
PER_CLASS = 200
FROZEN = {"architecture": "frozen_backbone", "resolution": 64, "epochs": 5}


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pictures = Path(folder) / "pictures"
        count = write_pictures(pictures, PER_CLASS)
        for about, space in (
            ("any architecture, the baseline first", {}),
            (f"{FROZEN['architecture']}, whose features are kept", FROZEN),
        ):
            yield compare(
                NAME,
                f"from the worker's lease to the first epoch's event, {count:,} pictures, {about}; "
                "theirs: the first job on the same data",
                [_round(pictures, space) for _ in range(rounds)],
                unit="s",
                limit="required: under 2 s",
            )


def _round(pictures: Path, space: Mapping[str, object]) -> tuple[float, float]:
    """Seconds of the second job and of the first."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder), "--allow-root", str(pictures)) as running,
        seedbed.connect(running.address) as client,
    ):
        # Until then the fork server loads, and takes a core from whatever else is measured.
        running.wait_for_log("slots")
        dataset = client.create_dataset(str(pictures))
        first, second = (_first_epoch(client, dataset, space) for _ in range(2))
        return second, first


def _first_epoch(
    client: seedbed.Client, dataset: seedbed.Dataset, space: Mapping[str, object]
) -> float:
    job = client.train(
        "image_classification", dataset, budget="1trials", search_space=space, detach=True
    )
    epochs = [event.time for event in job.watch() if isinstance(event.body, seedbed.EpochFinished)]
    info = job.refresh().info
    if not epochs or info.start_time is None:
        raise RuntimeError(f"job {job.id} ended without an epoch: {info.error}")
    return (epochs[0] - info.start_time).total_seconds()
