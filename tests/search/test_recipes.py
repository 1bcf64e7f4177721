"""A trial whose length the clock decided is run again to the same weights."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from seedbed_sdk.blocks import CategoryBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import SHARED, Data, EpochReport, SplitArrays, Verdict
from seedbed_server.search.recipes import Decisions, Recorder, ReplayRun, shared_decisions

ACCURACY = METRICS["accuracy"]


@dataclass
class TimedRun(RecordingRun):
    """Has so many seconds from its first report on, and writes down what it decides."""

    seconds: float = 0.0
    until: float = float("inf")
    recorder: Recorder = field(default_factory=Recorder)

    def report(self, report: EpochReport) -> Verdict:
        if not self.reports:
            self.until = time.monotonic() + self.seconds
        verdict = super().report(report)
        stop = self.seconds_left() <= 0 or verdict.stop
        self.recorder.reported(stop=stop)
        return Verdict(verdict.best, stop)

    def should_stop(self) -> bool:
        return self.recorder.should_stop(self.seconds_left() <= 0)

    def seconds_left(self) -> float:
        return self.until - time.monotonic()

    def decide(self, name: str, at: int, unchanged: float, measure: Callable[[], float]) -> float:
        return self.recorder.decide(name, at, unchanged, measure)


def make_data() -> Data:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(3_000, 8)).astype(np.float32)
    target = (inputs[:, 0] * inputs[:, 1] > 0).astype(np.int64)
    return Data(
        SplitArrays({"x": inputs[:2_400]}, target[:2_400]),
        SplitArrays({"x": inputs[2_400:]}, target[2_400:]),
    )


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        parts = torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1)
        self.layers = torch.nn.Sequential(*parts, torch.nn.Linear(64, 2))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.layers(batch["x"])
        return logits


def make_learner() -> Learner:
    torch.manual_seed(3)
    target = CategoryBlock("y")
    target.vocabulary = ("no", "yes")
    block = DataBlock(inputs=[], target=target)
    # More epochs than there is time for.
    return Learner(Net(), block, LearnerConfig(10_000, 0.01, batch_size=32), seed=3)


def again(run: TimedRun, data: Data, shared: Decisions | None = None) -> tuple[Learner, ReplayRun]:
    recipe = json.loads(json.dumps(run.recorder.to_dict()))
    replay = ReplayRun(recipe, shared or {}, ACCURACY, data.valid.target)
    learner = make_learner()
    learner.fit(data, replay)
    return learner, replay


def same(one: Learner, other: Learner) -> bool:
    states = zip(
        one.network.state_dict().values(), other.network.state_dict().values(), strict=True
    )
    return all(torch.equal(a, b) for a, b in states)


@pytest.mark.parametrize("seconds", [0.01, 0.4, 1.5])
def test_a_run_that_the_clock_shortened(seconds: float) -> None:
    data = make_data()
    run = TimedRun(ACCURACY, data.valid.target, seconds=seconds)
    learner = make_learner()
    learner.fit(data, run)
    assert run.recorder.decisions or run.recorder.stopped, "the clock decided something"
    replayed, replay = again(run, data)
    assert same(learner, replayed)
    assert replay.best_score == run.best_score
    assert (replayed.step, replayed.epoch) == (learner.step, learner.epoch)


def test_a_run_that_was_stopped_between_batches() -> None:
    """As the user does, or a clock that nobody planned for."""
    data = make_data()
    run = TimedRun(ACCURACY, data.valid.target, seconds=float("inf"))
    learner = make_learner()
    asked = 0

    def answer() -> bool:
        nonlocal asked
        asked += 1
        return run.recorder.should_stop(asked > 200)

    run.should_stop = answer  # type: ignore[method-assign]
    learner.fit(data, run)
    assert run.recorder.stopped is not None
    replayed, _ = again(run, data)
    assert same(learner, replayed)
    assert replayed.step == learner.step


def test_decisions_that_all_trials_share_are_the_first_ones() -> None:
    recipes = [
        {"decisions": [[f"{SHARED}rows", 0, 100], ["total_steps", 3, 7]]},
        {"decisions": [[f"{SHARED}rows", 0, 50]]},
        {},
    ]
    shared = shared_decisions(recipes)
    assert shared == {(f"{SHARED}rows", 0): 100}
    own = Recorder(decisions={(f"{SHARED}rows", 0): 50, ("total_steps", 3): 7}).to_dict()
    run = ReplayRun(own, shared, ACCURACY, np.zeros(1))
    assert run.decide(f"{SHARED}rows", 0, 1_000, lambda: 1.0) == 100
    assert run.decide("total_steps", 3, 9, lambda: 1.0) == 7
    assert run.decide("total_steps", 4, 9, lambda: 1.0) == 9
