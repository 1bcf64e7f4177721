"""Scores and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_server.search.scoring import score


def test_accuracy_has_wilsons_interval() -> None:
    target = np.zeros(100, dtype=np.int64)
    outputs = np.tile([0.9, 0.1], (100, 1))
    outputs[:10] = [0.1, 0.9]
    result = score(METRICS["accuracy"], target, outputs, seed=0)
    assert result.value == 0.9
    # Wilson (1927) for 90 of 100, as in textbooks.
    assert (result.lower, result.upper) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert (result.confidence, result.item_count) == (0.95, 100)


def test_bootstrap_covers_the_true_value_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        target = generator.normal(size=80)
        outputs = (target + generator.normal(scale=0.5, size=80))[:, None]
        result = score(METRICS["mae"], target, outputs, seed=seed)
        assert result.lower is not None and result.upper is not None
        true = 0.5 * np.sqrt(2 / np.pi)
        covered += result.lower <= true <= result.upper
    assert 50 <= covered <= 60


def test_no_interval_where_the_metric_is_mostly_undefined() -> None:
    target = np.array([0, 0, 0, 1])
    outputs = np.tile([0.5, 0.5], (4, 1))
    result = score(METRICS["roc_auc"], target[:3], outputs[:3], seed=0)
    assert result.lower is None and result.upper is None
