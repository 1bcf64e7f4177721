"""The catalogue of tasks, for the API process, which loads no plugins. Runs in a call process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import structlog

from seedbed_sdk import registry
from seedbed_sdk.blocks.base import TargetBlock
from seedbed_sdk.registry import Registry
from seedbed_sdk.space import domain_to_dict
from seedbed_sdk.task import Task

log = structlog.get_logger()


def describe() -> dict[str, Any]:
    """The catalogue: tasks and problems as JSON-able data, for the process that has no plugins."""
    loaded = registry.load()
    for problem in loaded.problems:
        log.warning("plugin_failed", **asdict(problem))
    return {
        "tasks": [_describe_task(task, loaded) for task in loaded.tasks.values()],
        "problems": [asdict(problem) for problem in loaded.problems],
    }


def _describe_task(task: Task[Any], loaded: Registry) -> dict[str, Any]:
    package = loaded.packages[task.name]
    blocks = [loaded.blocks[t] for t in task.target_types if t in loaded.blocks]
    targets = [block for block in blocks if issubclass(block, TargetBlock)]
    metrics = list(dict.fromkeys(m for t in targets for m in loaded.metrics_of(t)))
    return {
        "name": task.name,
        "title": task.title,
        "description": task.description,
        "options_schema": task.options.model_json_schema(),
        "metrics": [
            {
                "name": m.name,
                "higher_is_better": m.higher_is_better,
                "target_types": list(m.target_types),
            }
            for m in metrics
        ],
        "architectures": [
            {
                "name": a.name,
                "description": a.description,
                "baseline": a.baseline,
                "search_space": {k: domain_to_dict(d) for k, d in a.space.items()},
            }
            for a in loaded.for_task(task)
        ],
        "prediction_kinds": list(dict.fromkeys(t.prediction_kind for t in targets)),
        "package": package.name,
        "package_version": package.version,
        "input_types": [t for t in task.input_types if t in loaded.blocks],
        "target_types": list(task.target_types),
        "layouts": list(task.layouts),
        "contents": list(task.contents),
    }
