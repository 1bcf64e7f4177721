"""What the scores of a job's trials say about its search. Runs in a call process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from seedbed_sdk.errors import InvalidArgument
from seedbed_sdk.metrics import Metric
from seedbed_sdk.registry import Registry, load
from seedbed_sdk.space import Domain, domain_from_dict
from seedbed_sdk.task import Task
from seedbed_server.executors.processes import limit_threads
from seedbed_server.jobs.values import StopReason, Trial
from seedbed_server.search.extrapolation import Extrapolation, twice_the_trials
from seedbed_server.search.importance import Importances, importances
from seedbed_server.search.space import narrow


def job_insights(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Takes `task`, `metric`, `search_space`, `seed`, `stop_reason` (empty while the job runs) and
    `trials`, those that have a score: `number`, `architecture`, `parameters`, `validation_score`.

    Returns `higher_is_better`, `importances` as a list and `extrapolation`, with the fields of
    `Importances` and `Extrapolation`. Where the task's plugin has gone, both say so.
    """
    limit_threads(1)
    registry = load()
    trials = [Trial(**fields) for fields in payload["trials"]]
    trials = [trial for trial in trials if math.isfinite(trial.validation_score or 0.0)]
    task, metric = registry.tasks.get(payload["task"]), registry.metrics.get(payload["metric"])
    if task is None or metric is None:
        missing = f"metric {payload['metric']!r}" if task else f"task {payload['task']!r}"
        reason = f"{missing} is not installed any more"
        extrapolation = Extrapolation(len(trials), len(trials), None, reason=reason)
        found = [Importances("", len(trials), reason=reason)]
    else:
        extrapolation = _extrapolation(trials, metric, payload)
        found = importances(trials, _spaces(registry, task, payload["search_space"]), metric)
    return {
        "higher_is_better": metric is None or metric.higher_is_better,
        "importances": [asdict(each) for each in found],
        "extrapolation": asdict(extrapolation),
    }


def _extrapolation(
    trials: Sequence[Trial], metric: Metric, payload: Mapping[str, Any]
) -> Extrapolation:
    scores = [trial.validation_score for trial in trials if trial.validation_score is not None]
    found = twice_the_trials(scores, metric, len(scores), payload["seed"])
    if payload["stop_reason"] == StopReason.SPACE_EXHAUSTED:
        reason = "all settings of the search space have been tried; a wider one would do"
        return Extrapolation(found.trials, 0, found.best, reason=reason)
    return found


def _spaces(
    registry: Registry, task: Task[Any], search_space: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Domain]]:
    """The hyperparameters of the task's architectures as the job narrowed them; none where a newer
    plugin does not allow that any more."""
    wanted = {key: domain_from_dict(domain) for key, domain in search_space.items()}
    try:
        return narrow(registry.for_task(task), wanted).domains
    except InvalidArgument:
        return {}
