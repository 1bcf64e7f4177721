"""How fast the service is ready, how small it is, and how soon a job's first epoch is there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import seedbed
from benchmarks.measure import Case, compare
from benchmarks.processes import Started, server, started

NAME = "service_start"
SAMPLE = "sample://breast_cancer"

# A server that keeps its models' libraries in its own process.
PLAIN_SERVER = """
import torch, optuna, pandas, sklearn, lightgbm
print("ready", flush=True)
input()
"""
# What a person would start for each training run.
PLAIN_SCRIPT = """
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
x, y = load_breast_cancer(return_X_y=True)
x, _, y, _ = train_test_split(x, y, test_size=0.36, stratify=y, random_state=0)
x = StandardScaler().fit_transform(x)
data = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
network = torch.nn.Sequential(
    torch.nn.Linear(30, 128), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(128, 2)
)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
for inputs, target in DataLoader(data, batch_size=32, shuffle=True):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(inputs), target).backward()
    optimizer.step()
print("first epoch", flush=True)
input()
"""


@dataclass(frozen=True, slots=True)
class _Round:
    ready: tuple[float, float]
    resident: tuple[float, float]
    mapped: tuple[float, float]
    first_epoch: tuple[float, float]
    first_network_epoch: tuple[float, float]


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    _round()  # Reads everything into the page cache and compiles what is not compiled.
    done = [_round() for _ in range(rounds)]
    yield compare(
        NAME,
        "from the spawn of `python -m seedbed_server` to its ready line; theirs: to the end of "
        "importing torch, optuna, pandas, sklearn and lightgbm",
        [r.ready for r in done],
        unit="s",
        limit="required: under 1.5 s",
    )
    yield compare(
        NAME,
        "resident memory of the process that answers, after a job",
        [r.resident for r in done],
        unit="MiB",
        limit="required: under 150 MiB",
    )
    yield compare(
        NAME,
        "torch's shared libraries in the process that answers (/proc/PID/maps)",
        [r.mapped for r in done],
        unit="libraries",
        limit="required: 0",
    )
    limit = "required: under 3 s"
    case = f"from CreateJob to the first epoch's event, {SAMPLE}, fork server loaded"
    yield compare(
        NAME,
        f"{case}; theirs: a script that trains a network for one epoch, from its spawn",
        [r.first_epoch for r in done],
        unit="s",
        limit=limit,
    )
    yield compare(
        NAME,
        f"{case}, network alone (architecture=tabm); theirs: the same script",
        [r.first_network_epoch for r in done],
        unit="s",
        limit=limit,
    )


def _round() -> _Round:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        with server(path) as ours:
            # Until then the fork server loads, and takes a core from whatever else is measured.
            ours.wait_for_log("slots")
            first_epoch = _first_epoch(ours, {})
            first_network_epoch = _first_epoch(ours, {"architecture": "tabm"})
            resident, mapped = ours.resident_mb(), ours.mapped_torch_libraries()
        with started(path / "plain.log", "-c", PLAIN_SERVER) as theirs:
            plain_resident, plain_mapped = theirs.resident_mb(), theirs.mapped_torch_libraries()
        with started(path / "script.log", "-c", PLAIN_SCRIPT) as script:
            pass
    return _Round(
        ready=(ours.seconds, theirs.seconds),
        resident=(resident, plain_resident),
        mapped=(mapped, plain_mapped),
        first_epoch=(first_epoch, script.seconds),
        first_network_epoch=(first_network_epoch, script.seconds),
    )


def _first_epoch(running: Started, space: dict[str, object]) -> float:
    """Seconds from CreateJob to the arrival of the first epoch's event. Cancels the job then."""
    with seedbed.connect(running.address) as client:
        dataset = client.create_dataset(SAMPLE)
        began = time.monotonic()
        job = client.train("tabular", dataset, budget="20s", search_space=space, detach=True)
        for event in job.watch():
            if isinstance(event.body, seedbed.EpochFinished):
                seconds = time.monotonic() - began
                job.cancel()
                return seconds
        raise RuntimeError(f"job {job.id} ended without an epoch: {job.refresh().info.error}")
