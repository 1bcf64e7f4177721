"""The learning rate range test: what it suggests, and that nothing stays of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from seedbed_sdk.batches import Batch
from seedbed_sdk.blocks import CategoryBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.range_test import RangeTest, range_test
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Data, SplitArrays

BLOCK = DataBlock([], CategoryBlock("y", ("a", "b", "c")))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        found: torch.Tensor = self.layers(batch["x"])
        return found


def make_split(seed: int, count: int = 300) -> SplitArrays:
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 3, count)
    centres = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0]])
    inputs = centres[target] + generator.normal(size=(count, 4))
    return SplitArrays({"x": inputs.astype(np.float32)}, target)


def make_learner(averaging: float = 0.0) -> Learner:
    torch.manual_seed(0)
    config = LearnerConfig(8, 0.01, batch_size=32, averaging=averaging)
    return Learner(Net(), BLOCK, config, seed=5)


@pytest.fixture(scope="module")
def found() -> RangeTest:
    return range_test(make_learner(), make_split(0))


def test_the_rates_grow_and_the_loss_falls_into_a_valley(found: RangeTest) -> None:
    assert found.rates[0] == pytest.approx(1e-6)
    assert list(found.rates) == sorted(found.rates)
    assert len(found.rates) == len(found.losses) <= 100
    assert found.samples == 32 * len(found.rates)
    assert min(found.losses) < 0.7 * found.losses[0]


def test_the_suggested_rate_trains_nearly_as_well_as_the_best(found: RangeTest) -> None:
    assert found.suggested is not None

    def loss(rate: float) -> float:
        torch.manual_seed(0)
        learner = Learner(Net(), BLOCK, LearnerConfig(8, rate, batch_size=32), seed=5)
        data = Data(make_split(0), make_split(1))
        run = RecordingRun(METRICS["log_loss"], data.valid.target)
        learner.fit(data, run)
        return run.best_score

    best = min(loss(rate) for rate in (1e-4, 1e-3, 1e-2, 1e-1))
    assert loss(found.suggested) < 1.3 * best


def test_it_is_the_same_each_time(found: RangeTest) -> None:
    torch.manual_seed(77)
    assert range_test(make_learner(), make_split(0)) == found


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_learner_trains_afterwards_as_if_nothing_had_been(averaging: float) -> None:
    data = Data(make_split(0), make_split(1))
    weights = []
    for tested in (False, True):
        learner = make_learner(averaging)
        if tested:
            state = torch.get_rng_state()
            range_test(learner, data.train)
            assert torch.equal(torch.get_rng_state(), state)
            assert (learner.step, learner.samples, learner.epoch) == (0, 0, 0)
        learner.fit(data, RecordingRun(METRICS["accuracy"], data.valid.target))
        weights.append(learner.network.state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])


class CuriousRun(RecordingRun):
    """Wants to know the rate, within so many seconds."""

    within = math.inf
    told: tuple[int, RangeTest] | None = None

    def find_rate(self, cost: int, test: Callable[[float], RangeTest]) -> None:
        self.told = cost, test(self.within)


@pytest.mark.parametrize(("within", "suggests"), [(math.inf, True), (0.0, False)])
def test_a_run_that_wants_to_know_is_told_before_the_first_step(
    within: float, suggests: bool
) -> None:
    data = Data(make_split(0), make_split(1))
    weights = []
    for run_of in (CuriousRun, RecordingRun):
        run = run_of(METRICS["accuracy"], data.valid.target)
        learner = make_learner()
        if isinstance(run, CuriousRun):
            run.within = within
        learner.fit(data, run)
        weights.append(learner.network.state_dict())
        if isinstance(run, CuriousRun):
            assert run.told is not None
            cost, found = run.told
            assert cost == 3200
            assert (found.suggested is not None) == suggests
            assert found.samples <= (3200 if suggests else 7 * 32)
    assert torch.equal(weights[0]["layers.0.weight"], weights[1]["layers.0.weight"])


def test_where_nothing_is_to_be_learned_nothing_is_suggested() -> None:
    class Deaf(Net):
        def forward(self, batch: Batch) -> torch.Tensor:
            return super().forward(batch) * torch.nan

    torch.manual_seed(0)
    learner = Learner(Deaf(), BLOCK, LearnerConfig(8, 0.01, batch_size=32), seed=5)
    found = range_test(learner, make_split(0))
    assert (found.suggested, found.rates, found.samples) == (None, (), 32)
    assert torch.isfinite(learner.network.state_dict()["layers.0.weight"]).all()
