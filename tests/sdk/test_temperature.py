"""Probabilities are made as sure as they are right, and labels stay what they were."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed_sdk.blocks import MultiTargetBlock
from seedbed_sdk.blocks.base import Classification
from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.temperature import MIN_ITEMS, fitted_temperature, scaled

LOG_LOSS = METRICS["log_loss"]


def drawn(count: int, sharper: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers, and probabilities that are surer than they are right for `sharper` above 1."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = np.array([generator.choice(3, p=row) for row in true])
    return target, scaled(true, 1.0 / sharper)


@pytest.mark.parametrize("sharper", [0.5, 2.0, 3.0])
def test_a_model_that_is_too_sure_or_not_sure_enough_is_set_right(sharper: float) -> None:
    target, outputs = drawn(2000, sharper)
    assert fitted_temperature(target, outputs) == pytest.approx(sharper, rel=0.15)
    fresh, fresh_outputs = drawn(2000, sharper, seed=1)
    block = CategoryBlock("y", ("a", "b", "c"))
    block.calibrate(target, outputs)
    better = block.calibrated(fresh_outputs)
    assert LOG_LOSS.compute(fresh, better) < LOG_LOSS.compute(fresh, fresh_outputs) - 0.01
    assert np.array_equal(better.argmax(axis=1), fresh_outputs.argmax(axis=1))


def test_probabilities_that_are_right_stay() -> None:
    found = [fitted_temperature(*drawn(300, 1.0, seed)) for seed in range(10)]
    assert found.count(1.0) >= 8


def test_few_items_teach_nothing() -> None:
    target, outputs = drawn(MIN_ITEMS - 1, 4.0)
    assert fitted_temperature(target, outputs) == 1.0


def test_what_is_told_is_scaled_and_kept() -> None:
    target, outputs = drawn(2000, 3.0)
    block = CategoryBlock("y", ("a", "b", "c"))
    plain = block.decode(outputs[:50])
    block.calibrate(target, outputs)
    told = CategoryBlock.from_state(block.state()).decode(outputs[:50])
    for before, after in zip(plain, told, strict=True):
        assert isinstance(before, Classification) and isinstance(after, Classification)
        assert after.label == before.label
        assert [label for label, _ in after.probabilities] == [n for n, _ in before.probabilities]
        assert after.probabilities[0][1] < before.probabilities[0][1]
        assert sum(p for _, p in after.probabilities) == pytest.approx(1.0)
    block.calibrate(target, drawn(2000, 1.0)[1])
    assert block.temperature == pytest.approx(1.0, rel=0.1), "what was learned before is forgotten"


def test_states_of_earlier_versions_have_no_temperature() -> None:
    assert CategoryBlock.from_state({"column": "y", "classes": ["a", "b"]}).temperature == 1.0


def test_certain_probabilities_stay_finite() -> None:
    certain = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    for temperature in (0.2, 5.0):
        assert np.isfinite(scaled(certain, temperature)).all()
        assert scaled(certain, temperature).argmax(axis=1).tolist() == [0, 2]


def test_of_several_targets_each_is_set_right_by_itself() -> None:
    target, outputs = drawn(2000, 3.0)
    block = MultiTargetBlock([RegressionBlock("x"), CategoryBlock("y", ("a", "b", "c"))])
    numbers = np.random.default_rng(0).normal(size=2000)
    both = block.join([numbers[:, None], outputs])
    block.calibrate(np.stack([numbers, target], axis=1).astype(np.float32), both)
    of_numbers, of_classes = block.part_outputs(block.calibrated(both))
    np.testing.assert_array_equal(of_numbers[:, 0], numbers)
    assert LOG_LOSS.compute(target, of_classes) < LOG_LOSS.compute(target, outputs) - 0.01
