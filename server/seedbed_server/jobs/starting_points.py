"""The user's starting points against the architectures and the values they may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed_sdk.errors import FieldViolation
from seedbed_sdk.space import Choices, Domain, IntRange, Scalar
from seedbed_server.catalogue import TaskInfo
from seedbed_server.jobs.space_check import ARCHITECTURE, NOT_INSIDE, NotInside, as_own
from seedbed_server.jobs.validation import close_match, listed, shown

FIELD = "job.starting_points"
MOST = 100

Domains = Mapping[str, Mapping[str, Domain]]
"""Of each architecture the values that each hyperparameter may take."""


@dataclass
class CheckedPoints:
    """`points` name their architecture, and have the types of its domains."""

    points: list[Mapping[str, Any]] = field(default_factory=list)
    violations: list[FieldViolation] = field(default_factory=list)


def domains_of(task: TaskInfo, wanted: Mapping[str, Domain]) -> Domains:
    """The domains of a task's architectures, of those alone that a wanted search space names."""
    chosen = wanted.get(ARCHITECTURE)
    return {
        a.name: a.search_space
        for a in task.architectures
        if not isinstance(chosen, Choices) or a.name in chosen
    }


def check_points(
    points: Sequence[Mapping[str, Any]],
    domains: Domains,
    wanted: Mapping[str, Domain],
) -> CheckedPoints:
    """Checks every value against its architecture's domain and against the search space that the
    job wants; collects what is wrong under `job.starting_points[i].NAME`."""
    checked = CheckedPoints()
    if len(points) > MOST:
        text = f"at most {MOST} may be given, got {len(points)}"
        checked.violations.append(FieldViolation(FIELD, text))
        return checked
    for index, point in enumerate(points):
        fitted, problems = _check(point, domains, wanted)
        checked.points.append(fitted)
        checked.violations += [
            FieldViolation(f"{FIELD}[{index}]{key and '.'}{key}", text)
            for key, text in problems.items()
        ]
    return checked


def _check(
    point: Mapping[str, Any], domains: Domains, wanted: Mapping[str, Domain]
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The point with the types of the domains, and by name what is wrong with it."""
    if not point:
        return {}, {"": "is empty; give at least one hyperparameter, such as learning_rate"}
    name, problem = _architecture(point, list(domains))
    if problem:
        return {}, {ARCHITECTURE: problem}
    fitted: dict[str, Any] = {ARCHITECTURE: name}
    problems: dict[str, str] = {}
    for key, value in sorted(point.items()):
        if key == ARCHITECTURE:
            continue
        own = domains[name].get(key)
        if own is None:
            problems[key] = (
                f"{name} has no such hyperparameter; it has: "
                f"{listed(domains[name])}{close_match(key, domains[name])}"
            )
            continue
        inside, problem = _value(value, own, wanted.get(key))
        if problem:
            problems[key] = problem
        fitted[key] = inside
    return fitted, problems


def _architecture(point: Mapping[str, Any], names: Sequence[str]) -> tuple[str, str]:
    given = point.get(ARCHITECTURE)
    if given is None and len(names) == 1:
        return names[0], ""
    if given is None:
        text = f"is required, since there are several to choose from: {listed(names)}"
        return "", text
    if given not in names:
        return "", (
            f"{shown(given)} is none of those that this job may try: "
            f"{listed(names)}{close_match(str(given), names)}"
        )
    return str(given), ""


def _value(value: Any, own: Domain, wanted: Domain | None) -> tuple[Scalar, str]:
    inside = as_own(value, own) if isinstance(value, Scalar) else NOT_INSIDE
    if isinstance(inside, NotInside):
        return None, f"must be {_kind(own)} {own}, got {shown(value)}"
    if wanted is not None and isinstance(as_own(value, wanted), NotInside):
        return None, f"the job's search_space allows {wanted}, got {shown(value)}"
    return inside, ""


def _kind(domain: Domain) -> str:
    if isinstance(domain, Choices):
        return "one of"
    return "a whole number in" if isinstance(domain, IntRange) else "a number in"
