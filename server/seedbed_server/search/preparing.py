"""The data of a job, encoded: by this job, or by an earlier one on the same data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from urllib.parse import urlsplit

from seedbed_sdk.datablock import PreparedData
from seedbed_sdk.registry import Registry
from seedbed_server.data.sources import DataSource
from seedbed_server.executors.memory import give_back_freed_memory
from seedbed_server.jobs.values import Job
from seedbed_server.search.check import Plan
from seedbed_server.store import Dataset, PreparedFolders, PreparedStore

SPLITTING = ("valid_fraction", "test_fraction")
"""Options that say how many items a split gets, and change nothing about how they are encoded."""


def prepare(
    plan: Plan,
    job: Job,
    row: Dataset,
    sources: Sequence[DataSource],
    registry: Registry,
    store: PreparedStore,
    memory_limit: int,
) -> PreparedData:
    """The encoded splits. The plan's block is fitted, and lets go of its items."""
    folders = PreparedFolders(store, scope(plan, job, row, sources, registry), memory_limit)
    prepared = plan.block.prepare(job.seed, folders)
    plan.block.items = {}
    give_back_freed_memory()
    return prepared


def scope(
    plan: Plan, job: Job, row: Dataset, sources: Sequence[DataSource], registry: Registry
) -> str:
    """All that decides how the items are encoded: the data's content and how it is understood, the
    task and its options, the blocks, and the versions of the code."""
    package = registry.packages[plan.task.name]
    block = plan.block
    return json.dumps(
        {
            "seedbed": version("seedbed"),
            "package": [package.name, package.version],
            "task": plan.task.name,
            "target": job.target,
            "options": plan.options.model_dump(mode="json", exclude=set(SPLITTING)),
            "fingerprint": row.fingerprint,
            "layout": row.layout,
            "sources": [_without_place(source) for source in sources],
            "items": {split: [len(f), *map(str, f.columns)] for split, f in block.items.items()},
            "blocks": [[part.type, part.version] for part in (*block.inputs, block.target)],
        },
        sort_keys=True,
    )


def _without_place(source: DataSource) -> dict[str, str]:
    """What is said of a source beside where it lies, which does not matter."""
    parts = urlsplit(source.uri)
    return {**asdict(source), "uri": f"?{parts.query}#{parts.fragment}"}
