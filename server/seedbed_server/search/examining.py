"""What the data doctor says in a job: of this job, or of an earlier one on the same data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from seedbed_sdk.dataset import Dataset
from seedbed_server.data.doctor import examine
from seedbed_server.jobs.values import Finding, Job
from seedbed_server.store import Dataset as DatasetRow
from seedbed_server.store import PreparedStore

# A job that is asked to stop meanwhile should be able to within seconds.
MAX_SECONDS = 4.0
SHARE_OF_TIME = 0.04
FINDINGS = "findings.json"


class _Unfinished(Exception):
    """The time was up before all was looked at, so that the findings are not for keeping."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = findings


def examine_once(
    dataset: Dataset, job: Job, row: DatasetRow, store: PreparedStore
) -> list[Finding]:
    """The findings about a job's data. Takes at most a small share of a wall-clock budget, and
    none of it where the same data was examined before."""
    limit = MAX_SECONDS
    if job.budget.wall_clock_seconds is not None:
        limit = min(limit, SHARE_OF_TIME * job.budget.wall_clock_seconds)

    def write(folder: Path) -> None:
        found = examine(dataset, job.target, options=job.options, seconds=limit)
        if any(finding.kind == "not_examined" for finding in found):
            raise _Unfinished(found)
        (folder / FINDINGS).write_text(json.dumps([asdict(finding) for finding in found]))

    try:
        folder = store.folder(_key(job, row), write)
    except _Unfinished as unfinished:
        return list(unfinished.findings)
    assert folder is not None
    return [Finding(**found) for found in json.loads((folder / FINDINGS).read_text())]


def _key(job: Job, row: DatasetRow) -> str:
    roles = [[source.split, source.role] for source in row.sources]
    said = [version("seedbed"), row.fingerprint, row.layout, roles, job.target, dict(job.options)]
    return json.dumps(["findings", *said], sort_keys=True)
