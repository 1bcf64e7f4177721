"""What a plan says of architectures and constraints."""

from __future__ import annotations

from dataclasses import replace

from seedbed_server.jobs.values import Constraints
from seedbed_server.search.costs import Cost
from seedbed_server.search.limits import Standing, is_settled, standing
from seedbed_server.search.probing import TrialCost

LIMITS = Constraints(max_latency_seconds=0.005, max_size_bytes=1_000_000)
SMALL, LARGE = Cost(0.002, 20_000), Cost(0.002, 3_000_000)
NET = TrialCost(10.0, epochs=20.0, continues=True, trained_for=2.0)
TREES = replace(NET, continues=False)


def test_without_constraints_nothing_is_said() -> None:
    assert standing(Constraints(), [NET], "it was not measured") == Standing()
    assert is_settled(Constraints(), [])


def test_the_nearest_of_the_models_counts() -> None:
    costs = [replace(NET, served=LARGE), replace(NET, served=SMALL)]
    assert standing(LIMITS, costs, "") == Standing(True, SMALL)
    assert is_settled(LIMITS, costs) and not is_settled(LIMITS, costs[:1])
    missed = standing(LIMITS, [costs[0], replace(NET, served=Cost(0.002, 4_000_000))], "")
    assert missed == Standing(
        False,
        LARGE,
        "misses the constraints: its model takes 2 ms for one example and 3,000,000 bytes, the "
        "nearest of 2 settings",
    )


def test_trees_that_have_not_all_grown_may_miss_them_yet() -> None:
    found = standing(LIMITS, [replace(TREES, served=SMALL)], "")
    assert found == Standing(
        None,
        SMALL,
        "meets the constraints after 2 of 20 epochs, with 2 ms for one example and 20,000 bytes; "
        "not known of a model that is trained to its end",
    )
    assert standing(LIMITS, [replace(TREES, served=LARGE)], "").meets is False
    assert standing(LIMITS, [replace(TREES, served=SMALL, trained_for=20.0)], "").meets


def test_what_was_not_measured_is_not_known() -> None:
    assert standing(LIMITS, [], "nothing could be measured within 4 s").why == (
        "not known whether it meets the constraints: nothing could be measured within 4 s"
    )
    assert standing(LIMITS, [NET], "").why.endswith("its model could not be measured")
    unheard = standing(LIMITS, [replace(NET, served=Cost(None, 10))], "")
    assert (unheard.meets, unheard.why) == (False, "no latency can be measured for this data")
