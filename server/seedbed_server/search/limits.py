"""Which architectures of a plan meet the job's constraints, as far as that can be known before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seedbed_server.jobs.values import Constraints
from seedbed_server.search.costs import Cost
from seedbed_server.search.probing import TrialCost


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an architecture's models meet the constraints, None where that is not known; what the
    nearest one that was measured costs where it is used; and why it is so, empty where they do or
    where there are no constraints."""

    meets: bool | None = None
    served: Cost | None = None
    why: str = ""


def standing(constraints: Constraints, costs: Sequence[TrialCost], unmeasured: str) -> Standing:
    """How an architecture stands whose trials were measured as `costs`; `unmeasured` says why none
    was, if none was.

    A model that misses a limit after a moment of training misses it later as well. One that meets
    it then does so later too where it is a network, but trees grow.
    """
    if constraints == Constraints():
        return Standing()
    served = [(cost.served, cost) for cost in costs if cost.served is not None]
    if not served:
        why = unmeasured or "the bundle of its model could not be measured"
        return Standing(why=f"not known whether it meets the constraints: {why}")
    cost, trial = min(served, key=lambda pair: pair[0].share(constraints))
    share = cost.share(constraints)
    if cost.latency_seconds is None and constraints.max_latency_seconds is not None:
        return Standing(False, cost, "no latency can be measured for this data")
    if share > 1.0:
        tried = f", the nearest of {len(served)} settings" if len(served) > 1 else ""
        return Standing(
            False, cost, f"misses the constraints: its model takes {cost.text()}{tried}"
        )
    if not trial.grows:
        return Standing(True, cost)
    return Standing(
        None,
        cost,
        f"meets the constraints after {trial.trained_for:g} of {trial.epochs:g} epochs, with "
        f"{cost.text()}; not known of a model that is trained to its end",
    )


def is_settled(constraints: Constraints, costs: Sequence[TrialCost]) -> bool:
    """Whether another measurement would tell no more of an architecture: one of its models has met
    the constraints, or there are none."""
    if constraints == Constraints():
        return True
    return any(c.served is not None and c.served.share(constraints) <= 1.0 for c in costs)
