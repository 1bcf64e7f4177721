"""Checks a job against its task and its data, before it is queued. Runs in a call process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import Dataset
from seedbed_sdk.errors import FieldViolation, InvalidArgument
from seedbed_sdk.metrics import Metric
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.space import Domain, domain_from_dict
from seedbed_sdk.task import Task, TaskOptions
from seedbed_sdk.trainer import Hardware
from seedbed_server.data import reading, references
from seedbed_server.jobs.starting_points import check_points
from seedbed_server.search.space import SearchSpace, narrow


@dataclass(frozen=True)
class Plan:
    """What a job will do: the fields of the job that were left open are settled."""

    task: Task[Any]
    options: TaskOptions
    block: DataBlock
    metric: Metric
    space: SearchSpace


def make_plan(
    registry: Registry,
    dataset: Dataset,
    *,
    task_name: str,
    target: str,
    options: Mapping[str, Any],
    metric_name: str,
    search_space: Mapping[str, Domain],
    hardware: Hardware,
) -> Plan:
    """Settles target, metric and search space for a dataset.

    Raises InvalidArgument naming the field at fault: `job.task`, `job.dataset`, `job.target`,
    `job.options.…`, `job.metric` or `job.search_space[…]`.
    """
    task = registry.tasks.get(task_name)
    if task is None:
        names = ", ".join(registry.tasks) or "none"
        raise InvalidArgument("job.task", f"no task {task_name!r} is installed; there are: {names}")
    if dataset.layout not in task.layouts:
        raise InvalidArgument(
            "job.dataset",
            f"the data is of layout {dataset.layout!r}; task {task_name!r} reads "
            f"{', '.join(task.layouts)}",
            reason="UNSUITABLE_DATASET",
        )
    if dataset.content and task.contents and dataset.content not in task.contents:
        raise InvalidArgument(
            "job.dataset",
            f"the files are of kind {dataset.content!r}; task {task_name!r} reads "
            f"{', '.join(task.contents)}",
            reason="UNSUITABLE_DATASET",
        )
    chosen = task.for_metric(_options(task, options), metric_name)
    block = task.data_block(dataset, target, chosen)
    block.target.fit(block.items["train"])
    metric = _metric(registry, block, metric_name)
    fitting = task.architectures(block, hardware, registry.available(block))
    if not fitting:
        raise InvalidArgument(
            "job.task",
            f"no installed architecture fits {'+'.join(block.input_types)} → {block.target.type}",
            reason="NO_ARCHITECTURE",
        )
    return Plan(task, chosen, block, metric, narrow(fitting, search_space))


def check_job(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Settles what a job leaves open. Takes `task`, `target`, `options`, `metric`, `search_space`,
    `starting_points`, `sources` and `policy`; returns `metric` and `target`. Raises as `make_plan`
    does, and for starting points outside what fits the data."""
    registry = load()
    policy = references.Policy.from_dict(payload["policy"], registry.readers)
    sources = [references.DataSource(**source) for source in payload["sources"]]
    resolved = references.resolve(sources, policy)
    dataset = reading.read(resolved, policy, samples=registry.samples, layout=payload["layout"])
    plan = make_plan(
        registry,
        dataset,
        task_name=payload["task"],
        target=payload["target"],
        options=payload["options"],
        metric_name=payload["metric"],
        search_space={k: domain_from_dict(d) for k, d in payload["search_space"].items()},
        hardware=Hardware(),
    )
    # The architectures that fit the data are known only now.
    checked = check_points(payload["starting_points"], plan.space.domains, {})
    if checked.violations:
        raise InvalidArgument.of(checked.violations, reason="IMPOSSIBLE_STARTING_POINT")
    return {"metric": plan.metric.name, "target": plan.block.target.column}


def _options(task: Task[Any], options: Mapping[str, Any]) -> Any:
    try:
        return task.options.model_validate(dict(options))
    except ValidationError as error:
        raise InvalidArgument.of(
            [
                FieldViolation(
                    "job.options." + ".".join(map(str, e["loc"])), f"{e['msg']}, got {e['input']!r}"
                )
                for e in error.errors()
            ],
            reason="INVALID_OPTION",
        ) from error


def _metric(registry: Registry, block: DataBlock, name: str) -> Metric:
    possible = {metric.name: metric for metric in registry.metrics_of(block.target)}
    name = name or block.target.default_metric
    if name not in possible:
        raise InvalidArgument(
            "job.metric",
            f"{name!r} does not measure a target of type {block.target.type!r}; "
            f"possible are {', '.join(possible)}",
            reason="UNKNOWN_METRIC",
        )
    return possible[name]
