"""Several models answer together where that is better, and not where it only seems so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seedbed_sdk.ensemble import weighted_mean
from seedbed_sdk.metrics import METRICS
from seedbed_server.search import ensembling
from seedbed_server.search.ensembling import LEAST_WEIGHT, Ensemble, select

RMSE = METRICS["rmse"]


def guesses(truth: np.ndarray, errors: list[float], seed: int = 0) -> list[np.ndarray]:
    """Outputs [N, 1] of models whose errors are independent, the first with the smallest."""
    generator = np.random.default_rng(seed)
    return [(truth + generator.normal(0, error, len(truth)))[:, None] for error in errors]


def selected(
    target: np.ndarray, outputs: list[np.ndarray], metric: str = "rmse", seconds: float = math.inf
) -> Ensemble | None:
    return select(METRICS[metric], target, outputs, seed=0, seconds=seconds)


def test_models_that_err_on_their_own_are_put_together() -> None:
    truth = np.random.default_rng(1).normal(size=400)
    outputs = guesses(truth, [1.0, 1.05, 1.1])
    found = selected(truth, outputs)
    assert found is not None
    assert sum(found.weights) == pytest.approx(1.0)
    assert min(found.weights) > 0.2
    alone = RMSE.compute(truth, outputs[0])
    assert RMSE.compute(truth, weighted_mean(outputs, found.weights)) < 0.7 * alone
    assert RMSE.compute(truth, found.outputs) < 0.7 * alone


def test_a_model_that_does_not_help_gets_no_weight() -> None:
    truth = np.random.default_rng(1).normal(size=400)
    found = selected(truth, guesses(truth, [1.0, 1.05, 30.0]))
    assert found is not None
    assert found.weights[2] == 0.0
    assert all(weight == 0.0 or weight >= LEAST_WEIGHT for weight in found.weights)


def test_models_that_say_the_same_stay_alone() -> None:
    truth = np.random.default_rng(1).normal(size=400)
    best = guesses(truth, [1.0])[0]
    assert selected(truth, [best, best + 0.01, best - 0.02]) is None


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
def test_noise_is_not_taken_for_a_gain(metric: str) -> None:
    """Of many models that know nothing some seem to help on the very items they are chosen by."""
    chosen = 0
    for seed in range(8):
        generator = np.random.default_rng(seed)
        target = generator.integers(0, 2, 60)
        right = np.where(generator.random(60) < 0.9, target, 1 - target)
        best = np.full((60, 2), 0.1)
        best[np.arange(60), right] = 0.9
        others = [generator.dirichlet([1.0, 1.0], 60) for _ in range(7)]
        chosen += (
            select(METRICS[metric], target, [best, *others], seed=seed, seconds=10) is not None
        )
    assert chosen <= 1


def unsure(apart: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two models that are right of all items but one each, and unsure of a hundred: of the same
    ones, or each of others."""
    target = np.random.default_rng(2).integers(0, 2, 200)
    outputs = []
    for first in (0, 100 if apart else 0):
        share = np.full(len(target), 0.98)
        share[first : first + 100] = 0.52
        share[first] = 0.45
        outputs.append(np.stack([np.where(target == k, share, 1 - share) for k in (0, 1)], axis=1))
    return target, outputs


def test_a_gain_within_chance_counts_where_the_log_loss_confirms_it() -> None:
    accuracy, log_loss = METRICS["accuracy"], METRICS["log_loss"]
    target, outputs = unsure(apart=True)
    assert select(accuracy, target, outputs, seed=0, seconds=math.inf) is None
    found = select(accuracy, target, outputs, seed=0, seconds=math.inf, finer=log_loss)
    assert found is not None
    assert min(found.weights) > 0.1
    target, outputs = unsure(apart=False)
    assert select(accuracy, target, outputs, seed=0, seconds=math.inf, finer=log_loss) is None


def test_few_items_or_little_time_keep_the_best_model() -> None:
    truth = np.random.default_rng(1).normal(size=400)
    outputs = guesses(truth, [1.0, 1.05, 1.1])
    few = ensembling.MIN_ITEMS - 1
    assert selected(truth[:few], [array[:few] for array in outputs]) is None
    assert selected(truth, outputs, seconds=0.0) is None
    assert selected(truth, outputs[:1]) is None


def test_probabilities_of_an_ensemble_add_up_to_one() -> None:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 3, 300)
    outputs = []
    for _ in range(3):
        scores = np.eye(3)[target] * 1.5 + generator.gumbel(size=(300, 3))
        outputs.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    found = selected(target, outputs, "log_loss")
    assert found is not None
    np.testing.assert_allclose(found.outputs.sum(axis=1), 1.0)
    again = selected(target, outputs, "log_loss")
    assert again is not None and again.weights == found.weights
