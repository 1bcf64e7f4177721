"""What as many trials again would bring: right on average, never better than can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_server.search.extrapolation import Extrapolation, twice_the_trials

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]
UNBOUNDED = replace(ACCURACY, best=None)
Sampler = Callable[[np.random.Generator, int], np.ndarray]


def accuracy_of_90(rng: np.random.Generator, count: int) -> np.ndarray:
    """As a validation split of 90 items gives it: the same value often."""
    return np.asarray(rng.binomial(90, 0.9 + 0.05 * rng.uniform(size=count)) / 90)


@pytest.mark.parametrize(
    ("sample", "chance"),
    [
        (lambda rng, count: rng.normal(0.7, 0.05, count), (0.4, 0.6)),
        (lambda rng, count: rng.uniform(0.5, 0.9, count), (0.4, 0.65)),
        (lambda rng, count: 0.9 - rng.lognormal(-3, 1, count), (0.4, 0.65)),
        (accuracy_of_90, (0.3, 0.55)),
    ],
    ids=["normal", "uniform", "skewed", "counted"],
)
@pytest.mark.parametrize("count", [10, 30])
def test_the_interval_holds_what_comes(
    sample: Sampler, chance: tuple[float, float], count: int
) -> None:
    """Of trials that come from one distribution: at least 8 of 10 intervals hold the best of twice
    as many, and the probability of something better is about the half that it is where no two
    scores are the same."""
    held, said, better = [], [], []
    for seed in range(120):
        scores = sample(np.random.default_rng(seed), 2 * count)
        found = twice_the_trials(scores[:count], UNBOUNDED, count, seed)
        assert found.lower is not None and found.upper is not None
        assert found.improvement is not None
        best = float(max(scores))
        held.append(found.lower - 1e-9 <= best <= found.upper + 1e-9)
        said.append(found.improvement)
        better.append(best > max(scores[:count]))
    assert np.mean(held) >= 0.8
    assert chance[0] <= np.mean(said) <= chance[1]
    assert abs(np.mean(said) - np.mean(better)) < 0.15


def test_it_is_never_worse_than_the_best_nor_better_than_the_metric_allows() -> None:
    scores = list(np.random.default_rng(0).uniform(0.5, 0.99, 12))
    free, bounded = (twice_the_trials(scores, m, 12, 0) for m in (UNBOUNDED, ACCURACY))
    assert free.upper is not None and bounded.upper is not None
    assert free.upper > 1.0 >= bounded.upper
    for found in (free, bounded):
        assert found.lower is not None and found.expected is not None
        assert found.lower >= max(scores) == found.best
        assert found.lower <= found.expected <= (found.upper or 0.0)


def test_a_lower_score_can_be_the_better_one() -> None:
    scores = np.random.default_rng(1).lognormal(0, 0.3, 20)
    down = twice_the_trials(scores, replace(RMSE, best=None), 20, 0)
    up = twice_the_trials(-scores, UNBOUNDED, 20, 0)
    assert down.best == min(scores)
    assert up.expected is not None and up.lower is not None and up.upper is not None
    assert (down.expected, down.lower, down.upper) == (-up.expected, -up.upper, -up.lower)
    assert down.improvement == up.improvement


def test_a_best_that_stands_out_promises_more_than_one_that_was_reached_again() -> None:
    """The gain is measured by how the best scores are spread."""
    base = list(np.linspace(0.5, 0.6, 15))

    def gain(*top: float) -> float:
        found = twice_the_trials([*base, *top], UNBOUNDED, 15 + len(top))
        assert found.expected is not None and found.best is not None
        return found.expected - found.best

    converged = gain(0.7001, 0.7002, 0.7003, 0.7004, 0.7005, 0.7006, 0.7007)
    spread = gain(0.61, 0.63, 0.64, 0.66, 0.67, 0.69, 0.70)
    assert 0 < converged < 0.001 < 0.02 < spread


def test_what_was_reached_often_is_hard_to_beat() -> None:
    few = twice_the_trials([0.9] * 2 + [0.89] * 3 + [0.87] * 15, ACCURACY, 20)
    often = twice_the_trials([0.9] * 15 + [0.89] * 3 + [0.87] * 2, ACCURACY, 20)
    assert few.improvement is not None and often.improvement is not None
    assert often.expected is not None and few.expected is not None
    # A measure that counts items has steps, here of 0.01.
    assert often.expected - 0.9 < 0.01
    assert often.upper is not None and often.upper == pytest.approx(0.91)


def test_more_trials_bring_more_and_the_same_seed_the_same() -> None:
    scores = list(np.random.default_rng(2).normal(0.7, 0.05, 20))
    one, ten = (twice_the_trials(scores, UNBOUNDED, more).improvement for more in (1, 200))
    assert one is not None and ten is not None
    assert one < 0.2 < 0.8 < ten
    assert twice_the_trials(scores, ACCURACY, 20, 5) == twice_the_trials(scores, ACCURACY, 20, 5)


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([], "0 trials have a score; at least 8 are needed"),
        ([0.5] * 7, "7 trials have a score; at least 8 are needed"),
        ([0.5] * 9, "all 9 trials have the same score"),
        ([*np.linspace(0.5, 0.9, 9), 1.0], "accuracy cannot be better than it is, 1"),
        ([1.0], "accuracy cannot be better than it is, 1"),
    ],
)
def test_where_nothing_honest_can_be_said_it_says_why(scores: list[float], says: str) -> None:
    found = twice_the_trials(scores, ACCURACY, len(scores))
    assert says in found.reason
    best = max(scores, default=None)
    assert found == Extrapolation(len(scores), len(scores), best, reason=found.reason)


def test_losses_end_at_zero() -> None:
    found = twice_the_trials([0.0, *np.linspace(0.1, 0.9, 9)], RMSE, 10)
    assert found.reason == "rmse cannot be better than it is, 0"
    near = twice_the_trials([1e-3, *np.linspace(0.1, 0.9, 9)], RMSE, 10)
    assert near.lower is not None and near.lower >= 0.0
