"""Limits: which one ends a search, and what is set aside for finishing."""

from __future__ import annotations

import math
import time

import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_server.jobs.values import Budget, StopReason
from seedbed_server.search.budget import Spending

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]


def spending(budget: Budget, used: float = 0.0, **more: int) -> Spending:
    return Spending(budget, time.monotonic() - used, **more)


def test_the_limit_that_is_reached_is_named() -> None:
    assert spending(Budget(trials=3), trials=2).reached(ACCURACY, 0.5) is None
    assert spending(Budget(trials=3), trials=3).reached(ACCURACY, 0.5) is StopReason.TRIAL_BUDGET
    assert spending(Budget(samples=10), samples=12).reached(ACCURACY, 0.5) is (
        StopReason.SAMPLE_BUDGET
    )
    assert spending(Budget(wall_clock_seconds=10), used=10).reached(ACCURACY, 0.5) is (
        StopReason.TIME_BUDGET
    )


def test_target_score_goes_the_way_the_metric_goes() -> None:
    budget = Budget(trials=9, target_score=0.9)
    assert spending(budget).reached(ACCURACY, 0.89) is None
    assert spending(budget).reached(ACCURACY, 0.9) is StopReason.TARGET_REACHED
    assert spending(budget).reached(RMSE, 0.95) is None
    assert spending(budget).reached(RMSE, 0.85) is StopReason.TARGET_REACHED


def test_time_for_scoring_is_set_aside() -> None:
    plain = spending(Budget(wall_clock_seconds=60))
    slow = spending(Budget(wall_clock_seconds=60), test_items=1000)
    slow.item_seconds = 0.005
    assert 58 < plain.seconds_left() < 59.5
    assert plain.seconds_left() - slow.seconds_left() == pytest.approx(6.0, abs=0.1)
    assert math.isinf(spending(Budget(trials=1)).seconds_left())


def test_a_slow_model_costs_time_only_while_it_runs_or_leads() -> None:
    found = spending(Budget(wall_clock_seconds=60), test_items=1000)
    found.item_seconds = 0.001
    leading = found.reserve()
    found.trial_item_seconds = 0.02
    assert found.reserve() - leading == pytest.approx(22.8)
    found.trial_item_seconds = 0.0
    assert found.reserve() == leading


def test_time_for_training_once_more_is_set_aside_where_it_is_little() -> None:
    found = spending(Budget(wall_clock_seconds=60))
    before = found.seconds_left()
    found.set_refit_aside(1.5)
    assert before - found.seconds_left() == pytest.approx(1.875, abs=0.1)
    found.set_refit_aside(10.0)
    assert found.refit_seconds == 0.0
    for used, has_time in ((55.0, True), (58.0, False)):
        late = spending(Budget(wall_clock_seconds=60), used=used)
        assert late.has_time_to_refit(1.5) is has_time
        late.set_refit_aside(1.5)
        assert late.has_time_to_refit(1.5) is has_time
    assert spending(Budget(trials=3)).has_time_to_refit(100.0)


def test_progress_is_by_the_nearest_limit() -> None:
    progress = spending(Budget(wall_clock_seconds=100, trials=4), used=10, trials=2).progress("x")
    assert progress.fraction == 0.5
    assert progress.seconds_left is not None and 89 < progress.seconds_left <= 90
