"""What can be said of a wanted job without reading its data: all that is wrong, at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from seedbed_sdk.errors import FieldViolation
from seedbed_server.catalogue import TaskInfo
from seedbed_server.jobs.values import Budget, Constraints

MIN_WALL_CLOCK_SECONDS = 5.0
MAX_SEED = 2**53


def close_match(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known word is close, else nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def listed(words: Iterable[str]) -> str:
    """Words for a sentence, `none` without any."""
    return ", ".join(words) or "none"


def unknown_task(task: str, tasks: Sequence[str]) -> str:
    """The text for a task that is not installed."""
    return f"there is no task {task!r}; there are: {listed(tasks)}{close_match(task, tasks)}"


def check_budget(budget: Budget, field: str = "job.budget") -> Iterator[FieldViolation]:
    """At least one limit, each above its minimum."""
    limits = (budget.wall_clock_seconds, budget.trials, budget.samples, budget.target_score)
    if all(limit is None for limit in limits):
        yield FieldViolation(
            field,
            "sets no limit; give at least one of wall_clock, trials, samples and target_score",
        )
    seconds = budget.wall_clock_seconds
    if seconds is not None and seconds < MIN_WALL_CLOCK_SECONDS:
        yield FieldViolation(
            f"{field}.wall_clock",
            f"must be at least {MIN_WALL_CLOCK_SECONDS:g} s, got {seconds:g} s",
        )
    for name, count in (("trials", budget.trials), ("samples", budget.samples)):
        if count is not None and count < 1:
            yield FieldViolation(f"{field}.{name}", f"must be at least 1, got {count}")
    if budget.target_score is not None and not math.isfinite(budget.target_score):
        yield FieldViolation(
            f"{field}.target_score", f"must be a finite number, got {budget.target_score}"
        )


def check_constraints(constraints: Constraints) -> Iterator[FieldViolation]:
    """Each limit that is set is above 0."""
    seconds, size = constraints.max_latency_seconds, constraints.max_size_bytes
    if seconds is not None and seconds <= 0:
        yield FieldViolation(
            "job.constraints.max_latency",
            f"must be above 0 s, got {seconds:g} s; leave it unset for no limit",
        )
    if size is not None and size < 1:
        yield FieldViolation(
            "job.constraints.max_size_bytes",
            f"must be at least 1, got {size}; leave it unset for no limit",
        )


def check_seed(seed: int) -> Iterator[FieldViolation]:
    if not 0 <= seed <= MAX_SEED:
        yield FieldViolation("job.seed", f"must be from 0 to 2^53, got {seed}")


def check_metric(metric: str, task: TaskInfo) -> Iterator[FieldViolation]:
    """Whether the task has the metric; whether it fits the target is seen with the data."""
    known = [m.name for m in task.metrics]
    if metric and metric not in known:
        yield FieldViolation(
            "job.metric",
            f"task {task.name!r} has no metric {metric!r}; it has: "
            f"{listed(known)}{close_match(metric, known)}",
        )


def check_options(options: Mapping[str, Any], task: TaskInfo) -> Iterator[FieldViolation]:
    """The options against the task's JSON Schema."""
    from jsonschema import Draft202012Validator

    schema = task.options_schema
    known = sorted(schema.get("properties", {}))
    for error in Draft202012Validator(dict(schema)).iter_errors(dict(options)):
        if error.validator == "additionalProperties" and not error.absolute_path:
            for key in sorted(set(options) - set(known)):
                yield FieldViolation(
                    f"job.options.{key}",
                    f"task {task.name!r} has no such option; it has: "
                    f"{listed(known)}{close_match(key, known)}",
                )
        elif error.validator == "required" and not error.absolute_path:
            missing = [k for k in error.validator_value if k not in options]
            for key in missing:
                yield FieldViolation(f"job.options.{key}", "is required by the task and missing")
        else:
            path = ".".join(str(part) for part in error.absolute_path)
            yield FieldViolation(
                f"job.options.{path}", f"got {shown(error.instance)}; {_what_would_do(error)}"
            )


def shown(value: object) -> str:
    """A value for a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_WANTED = {
    "type": "it must be of type {value}",
    "enum": "it must be one of {value}",
    "const": "it must be {value}",
    "minimum": "it must be at least {value}",
    "exclusiveMinimum": "it must be above {value}",
    "maximum": "it must be at most {value}",
    "exclusiveMaximum": "it must be below {value}",
    "minLength": "it needs at least {value} characters",
    "maxLength": "it may have at most {value} characters",
    "minItems": "it needs at least {value} items",
    "maxItems": "it may have at most {value} items",
    "pattern": "it must match {value}",
}


def _what_would_do(error: Any) -> str:
    if error.validator == "anyOf":
        return " or ".join(dict.fromkeys(_what_would_do(inner) for inner in error.context))
    value = error.validator_value
    if isinstance(value, list):
        value = listed(map(str, value))
    wanted = _WANTED.get(error.validator)
    text: str = wanted.format(value=value) if wanted else error.message
    description = error.schema.get("description", "") if isinstance(error.schema, Mapping) else ""
    return f"{text} ({description.rstrip('.')})" if description else text
