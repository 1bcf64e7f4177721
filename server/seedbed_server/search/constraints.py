"""What to tell a user whose constraints no trial meets."""

from __future__ import annotations

from seedbed_sdk.errors import SeedbedError
from seedbed_server.jobs.extending import CONSTRAINTS_NOT_MET
from seedbed_server.jobs.values import (
    Constraints,
)
from seedbed_server.search.costs import Cost, milliseconds
from seedbed_server.search.loop import Search


def not_met(search: Search) -> SeedbedError:
    """The error that says which limits there are, what came closest, and what would do."""
    closest = search.pool.closest
    if closest is None:
        # A model that is close to its limits was within them when it was first measured.
        said = "the best trials met them only just, and no longer when they were measured again"
        would = "allow a little more"
    else:
        said = (
            f"trial {closest.trial} ({closest.architecture}) came closest, with "
            f"{closest.cost.text()}"
        )
        would = f"allow {' and '.join(_needed(search.job.constraints, closest.cost))}"
    return SeedbedError(
        f"no trial meets the constraints, {_limits(search.job.constraints)}: {said}; {would}, give "
        "a larger budget, or narrow the search space to smaller architectures",
        reason=CONSTRAINTS_NOT_MET,
    )


def _limits(constraints: Constraints) -> str:
    found = []
    if constraints.max_latency_seconds is not None:
        found.append(f"at most {constraints.max_latency_seconds * 1e3:.3g} ms for one example")
    if constraints.max_size_bytes is not None:
        found.append(f"at most {constraints.max_size_bytes:,} bytes")
    return " and ".join(found)


def _needed(constraints: Constraints, cost: Cost) -> list[str]:
    """What would have to be allowed for this one."""
    found = []
    limit, size = constraints.max_latency_seconds, constraints.max_size_bytes
    if limit is not None and cost.latency_seconds is None:
        found.append("any latency, since none can be measured for this data")
    elif limit is not None and cost.latency_seconds is not None and cost.latency_seconds > limit:
        found.append(f"a latency of {milliseconds(cost)}")
    if size is not None and cost.size_bytes > size:
        found.append(f"a size of {cost.size_bytes:,} bytes")
    return found
