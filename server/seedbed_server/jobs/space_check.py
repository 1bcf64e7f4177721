"""A wanted search space against the task's own: keys, and domains that lie inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from seedbed_sdk.errors import FieldViolation
from seedbed_sdk.space import Choices, Domain, FloatRange, IntRange, Scalar
from seedbed_server.catalogue import ArchitectureInfo, TaskInfo
from seedbed_server.jobs.validation import close_match, listed

ARCHITECTURE = "architecture"


@dataclass
class CheckedSpace:
    """`space` has the types of the task's own domains: whole numbers where these are."""

    space: dict[str, Domain] = field(default_factory=dict)
    violations: list[FieldViolation] = field(default_factory=list)


def check_space(wanted: Mapping[str, Domain], task: TaskInfo) -> CheckedSpace:
    """Checks every domain; collects what is wrong under `job.search_space["KEY"]`."""
    checked = CheckedSpace()
    names = [a.name for a in task.architectures]
    chosen = wanted.get(ARCHITECTURE)
    considered = [
        a for a in task.architectures if not isinstance(chosen, Choices) or a.name in chosen
    ]
    known = sorted({key for a in task.architectures for key in a.search_space} | {ARCHITECTURE})
    for key, domain in sorted(wanted.items()):
        problem = _emptiness(domain)
        if not problem and key == ARCHITECTURE:
            problem = _check_architectures(domain, names)
            fitted: Domain = domain
        elif not problem:
            own = _own_domains(key, considered or task.architectures)
            if not own and key not in known:
                problem = (
                    f"task {task.name!r} has no such hyperparameter; it has: "
                    f"{listed(known)}{close_match(key, known)}"
                )
            elif not own:
                users = listed(a.name for a in task.architectures if key in a.search_space)
                problem = f"the chosen architectures do not have it; these do: {users}"
            else:
                fitted, problem = _fit(domain, own)
        if problem:
            checked.violations.append(FieldViolation(f'job.search_space["{key}"]', problem))
        else:
            checked.space[key] = fitted
    return checked


def _emptiness(domain: Domain) -> str:
    if isinstance(domain, Choices):
        return "" if domain.values else "has no values; give at least one"
    if not domain.low <= domain.high:
        return f"is empty: low {domain.low:g} is above high {domain.high:g}"
    if domain.log and domain.low <= 0:
        return f"is sampled by its logarithm, so low must be above 0, got {domain.low:g}"
    return ""


def _check_architectures(domain: Domain, names: Sequence[str]) -> str:
    if not isinstance(domain, Choices):
        return f"must be choices among: {listed(names)}"
    for value in domain.values:
        if value not in names:
            return (
                f"there is no {value!r}; there are: {listed(names)}{close_match(str(value), names)}"
            )
    return ""


def _own_domains(key: str, architectures: Sequence[ArchitectureInfo]) -> list[Domain]:
    return [a.search_space[key] for a in architectures if key in a.search_space]


def _fit(domain: Domain, own: Sequence[Domain]) -> tuple[Domain, str]:
    """The domain with the type of the first of the task's domains that holds it."""
    for candidate in own:
        fitted = _inside(domain, candidate)
        if fitted is not None:
            return fitted, ""
    return domain, f"{domain} is not inside {' or '.join(dict.fromkeys(str(d) for d in own))}"


def _inside(domain: Domain, own: Domain) -> Domain | None:
    if isinstance(domain, Choices):
        values = [as_own(value, own) for value in domain.values]
        if any(value is NOT_INSIDE for value in values):
            return None
        return Choices(tuple(v for v in values if not isinstance(v, NotInside)))
    if isinstance(own, Choices) or domain.low not in own or domain.high not in own:
        return None
    if isinstance(own, IntRange):
        return IntRange(int(domain.low), int(domain.high), domain.log)
    return FloatRange(float(domain.low), float(domain.high), domain.log)


class NotInside:
    """What takes the place of a value that is none of a domain's."""


NOT_INSIDE = NotInside()


def as_own(value: Scalar, own: Domain) -> Scalar | NotInside:
    """The value with the type that the domain has, or NOT_INSIDE."""
    if isinstance(own, Choices):
        # True equals 1, so the types count, except that every number came as a double.
        for mine in own.values:
            if mine == value and isinstance(mine, bool) == isinstance(value, bool):
                return mine
        return NOT_INSIDE
    if value not in own or isinstance(value, bool | str) or value is None:
        return NOT_INSIDE
    return int(value) if isinstance(own, IntRange) else float(value)
