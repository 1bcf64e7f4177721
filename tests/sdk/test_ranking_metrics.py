"""Measures of rankings, against values worked out by hand and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from seedbed_sdk.metrics import METRICS
from seedbed_sdk.ranking_metrics import BY_NAME, ndcg, recall

# Two users: one held-out item at the second place; three, of which one is ranked fourth.
TARGETS = np.array([[5, -1, -1], [7, 8, 9]], dtype=np.int32)
OUTPUTS = np.array([[4, 5, 6, 1], [1, 2, 3, 8]], dtype=np.int32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recall_at_10", (1.0 + 1 / 3) / 2),
        ("precision_at_10", (0.1 + 0.1) / 2),
        ("map_at_10", (1 / 2 + 1 / 4 / 3) / 2),
        (
            "ndcg_at_10",
            (1 / np.log2(3) + 1 / np.log2(5) / (1 + 1 / np.log2(3) + 1 / np.log2(4))) / 2,
        ),
    ],
)
def test_values_worked_out_by_hand(name: str, expected: float) -> None:
    assert METRICS[name].compute(TARGETS, OUTPUTS) == pytest.approx(expected)


def test_recall_is_of_ten_where_more_were_held_out() -> None:
    targets = np.arange(1, 21)[None, :]
    assert recall(targets, targets) == pytest.approx([1.0])
    assert recall(targets, targets[:, 5:]) == pytest.approx([1.0])
    assert recall(targets, np.array([[1, 99, 98]])) == pytest.approx([0.1])


def test_padding_is_no_hit() -> None:
    targets = np.array([[3, -1]])
    outputs = np.array([[-1, -1, -1]])
    for per_user in BY_NAME.values():
        assert per_user(targets, outputs).tolist() == [0.0]


def test_ndcg_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    outputs = np.stack([generator.permutation(40)[:10] for _ in range(20)])
    targets = np.stack([generator.permutation(40)[:4] for _ in range(20)])
    for ranked, held, ours in zip(outputs, targets, ndcg(targets, outputs), strict=True):
        relevant = np.isin(np.arange(40), held).astype(float)[None, :]
        scores = np.zeros((1, 40))
        scores[0, ranked] = np.arange(10, 0, -1)
        scores[0, np.setdiff1d(np.arange(40), ranked)] = -1.0 - np.arange(30)
        assert ours == pytest.approx(ndcg_score(relevant, scores, k=10))


@pytest.mark.parametrize("name", BY_NAME)
def test_sums_over_users_give_the_measure(name: str) -> None:
    metric = METRICS[name]
    assert metric.statistics is not None and metric.finish is not None
    total = metric.statistics(TARGETS, OUTPUTS).sum(axis=0)
    assert metric.finish(total) == pytest.approx(metric.compute(TARGETS, OUTPUTS))


@pytest.mark.parametrize("name", BY_NAME)
def test_nobody_to_score_is_undefined(name: str) -> None:
    metric = METRICS[name]
    assert np.isnan(metric.compute(TARGETS[:0], OUTPUTS[:0]))
