"""The training loop: learns, resumes bit for bit, stops when told, keeps to time and samples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seedbed_sdk.blocks import CategoryBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Batch, Callback, Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.schedule import Schedule
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Data, Diverged, EpochReport, Interrupted, SplitArrays, Verdict


class Net(nn.Module):
    """Two layers with dropout, so that the global random state matters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        outputs: torch.Tensor = self.body(batch["x"])
        return outputs


def make_data(count: int = 240) -> Data:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 3, count)
    x = generator.normal(size=(count, 4)).astype(np.float32)
    x[np.arange(count), target] += 2.5
    split = count * 3 // 4
    return Data(
        SplitArrays({"x": x[:split]}, target[:split]), SplitArrays({"x": x[split:]}, target[split:])
    )


def make_learner(seed: int = 3, **config: object) -> Learner:
    torch.manual_seed(seed)
    settings = LearnerConfig(
        **{"epochs": 6, "learning_rate": 0.02, "batch_size": 30, **config}  # type: ignore[arg-type]
    )
    block = DataBlock([], CategoryBlock("y", ("a", "b", "c")))
    return Learner(Net(), block, settings, seed=seed)


def make_run(data: Data, **limits: object) -> RecordingRun:
    return RecordingRun(METRICS["accuracy"], data.valid.target, **limits)  # type: ignore[arg-type]


def weights(learner: Learner) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in learner.network.state_dict().values()]


def test_learns_and_keeps_its_best_epoch() -> None:
    data = make_data()
    learner, run = make_learner(), make_run(data)
    learner.fit(data, run)
    assert len(run.reports) == 6
    assert run.best_score > 0.85
    outputs = learner.predict(data.valid.inputs)
    assert outputs.shape == (60, 3)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0, rtol=1e-5)
    assert METRICS["accuracy"].compute(data.valid.target, outputs) == run.best_score


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, averaging: float) -> None:
    data = make_data()
    straight, straight_run = make_learner(averaging=averaging), make_run(data)
    straight.fit(data, straight_run)

    first, first_run = make_learner(averaging=averaging), make_run(data, stop_after=2)

    class Checkpoint(Callback):
        def after_epoch(self, learner: Learner, report: EpochReport, verdict: Verdict) -> None:
            if report.epoch == 2:
                learner.save_checkpoint(tmp_path)

    first.callbacks.append(Checkpoint())
    first.fit(data, first_run)
    torch.rand(7)  # the process goes on with something else
    second, second_run = make_learner(averaging=averaging), make_run(data)
    second_run.scores = list(first_run.scores)
    second.load_checkpoint(tmp_path)
    second.fit(data, second_run)

    assert second_run.scores == straight_run.scores
    losses = [report.train_loss for report in first_run.reports + second_run.reports]
    assert losses == [report.train_loss for report in straight_run.reports]
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(second), strict=True))


class PausingRun(RecordingRun):
    """Tells the trainer to pause after the second report."""

    def report(self, report: EpochReport) -> Verdict:
        verdict = super().report(report)
        return Verdict(verdict.best, len(self.reports) == 2, pause=len(self.reports) == 2)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("by_checkpoint", [False, True])
def test_a_paused_run_goes_on_as_if_it_had_not(
    tmp_path: Path, averaging: float, by_checkpoint: bool
) -> None:
    data = make_data()
    straight, straight_run = make_learner(averaging=averaging), make_run(data)
    straight.fit(data, straight_run)

    learner = make_learner(averaging=averaging)
    first = PausingRun(METRICS["accuracy"], data.valid.target)
    learner.fit(data, first)
    best = max(first.reports, key=lambda report: first.scores[report.epoch - 1])
    assert np.array_equal(learner.predict(data.valid.inputs), best.valid_outputs)
    if by_checkpoint:
        learner.save_checkpoint(tmp_path)
        learner = make_learner(averaging=averaging)
        learner.load_checkpoint(tmp_path)
    torch.rand(7)
    second = make_run(data)
    second.scores = list(first.scores)
    learner.fit(data, second)

    assert second.scores == straight_run.scores
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(learner), strict=True))


def test_same_seed_same_weights_and_other_seed_others() -> None:
    data = make_data()
    results = []
    for seed in (3, 3, 4):
        learner = make_learner(seed)
        learner.fit(data, make_run(data))
        results.append(weights(learner))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(results[0], results[2], strict=True))


def test_passes_no_more_samples_than_are_left() -> None:
    data = make_data()
    learner, run = make_learner(epochs=50), make_run(data, samples=300)
    learner.fit(data, run)
    assert learner.samples == 300
    assert run.reports[-1].samples == 300


class Clock(Callback):
    """A clock that only training and validation move: a step takes `step_seconds`, those of the
    first 60 `busy` times that, and a validation pass `pass_seconds`."""

    def __init__(
        self, *, step_seconds: float, pass_seconds: float = 0.0, busy: float = 1.0
    ) -> None:
        self.step_seconds = step_seconds
        self.pass_seconds = pass_seconds
        self.busy = busy
        self.now = 0.0
        self.lengths: list[int] = []
        self.rates: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def after_step(self, learner: Learner) -> None:
        self.now += self.step_seconds * (self.busy if learner.step <= 60 else 1.0)
        self.lengths.append(learner.total_steps)
        self.rates.append(learner.optimizer.param_groups[0]["lr"])


class TimedLearner(Learner):
    """Has predictions take time on a clock."""

    clock: Clock

    def predict(self, inputs: Arrays) -> Array:
        self.clock.now += self.clock.pass_seconds
        return super().predict(inputs)


class TimedRun(RecordingRun):
    """Ends after `seconds` on a clock."""

    clock: Clock

    def seconds_left(self) -> float:
        return self.seconds - self.clock.now

    def should_stop(self) -> bool:
        return self.seconds_left() <= 0


def fit_in(
    seconds: float, clock: Clock, monkeypatch: pytest.MonkeyPatch, **config: object
) -> tuple[Learner, TimedRun]:
    """Trains for so many seconds of the clock, on six steps an epoch."""
    monkeypatch.setattr("seedbed_sdk.schedule.time", clock)
    monkeypatch.setattr("seedbed_sdk.learner.time", clock)
    data = make_data()
    learner = make_learner(epochs=1_000_000, **config)
    learner.__class__ = TimedLearner
    run = TimedRun(METRICS["accuracy"], data.valid.target, seconds=seconds)
    learner.clock = run.clock = clock  # type: ignore[attr-defined]
    learner.callbacks.append(clock)
    learner.fit(data, run)
    return learner, run


def test_is_as_long_as_fits_into_the_time_and_decays_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(step_seconds=0.5)
    learner, _ = fit_in(100.0, clock, monkeypatch)
    assert learner.step == learner.total_steps
    assert 99.0 <= clock.now <= 100.0
    assert clock.rates[-1] < 0.02 * max(clock.rates)


def test_the_passes_that_are_still_to_come_count_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(step_seconds=0.5, pass_seconds=2.0)
    learner, run = fit_in(100.0, clock, monkeypatch)
    # 20 epochs of six steps and a pass take 5 s each.
    assert learner.step == learner.total_steps == 120
    assert len(run.reports) == 20
    assert clock.now == 100.0
    planned = clock.lengths[10:]
    assert min(planned) == max(planned) == 120


def test_a_run_that_a_busy_machine_shortened_grows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(step_seconds=0.5, busy=4.0)
    learner, _ = fit_in(300.0, clock, monkeypatch)
    assert min(clock.lengths) <= 150
    # 60 steps of 2 s leave 180 s.
    assert 410 <= learner.step <= 420
    assert clock.now <= 300.0


def test_validates_as_seldom_as_it_is_told_and_at_both_ends() -> None:
    data = make_data()
    learner, run = make_learner(epochs=10, validate_every=4), make_run(data)
    learner.fit(data, run)
    assert [report.epoch for report in run.reports] == [1, 4, 8, 10]
    assert learner.samples == run.reports[-1].samples == 10 * 180


def test_what_was_trained_since_the_last_pass_is_validated_where_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The time is up with the sixth epoch, so that the seventh has no step.
    clock = Clock(step_seconds=0.5)
    clock.monotonic = lambda: 0.0  # type: ignore[method-assign]
    _, run = fit_in(18.0, clock, monkeypatch, validate_every=4)
    assert [report.epoch for report in run.reports] == [1, 4, 6]
    assert run.reports[-1].samples == 6 * 180
    assert math.isfinite(run.reports[-1].train_loss)


def test_stops_between_batches_and_reports_what_it_has() -> None:
    data = make_data()
    learner, run = make_learner(epochs=1000), make_run(data, stop_after=3)
    learner.fit(data, run)
    assert len(run.reports) == 3


def test_interrupted_before_anything_was_trained() -> None:
    data = make_data()
    with pytest.raises(Interrupted, match="before the first epoch"):
        make_learner().fit(data, make_run(data, stop_after=0))


def test_divergence_says_what_became_of_the_loss() -> None:
    data = make_data()
    broken = Data(
        SplitArrays({"x": np.full_like(data.train.inputs["x"], np.nan)}, data.train.target),
        data.valid,
    )
    with pytest.raises(Diverged, match="training loss became nan in epoch 1"):
        make_learner().fit(broken, make_run(data))


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    data = make_data()
    learner, run = make_learner(epochs=200, patience=3), make_run(data)
    learner.fit(data, run)
    assert len(run.reports) < 200
    best_epoch = run.scores.index(max(run.scores))
    assert len(run.scores) == best_epoch + 1 + 3


def test_saved_weights_predict_the_same(tmp_path: Path) -> None:
    data = make_data()
    learner = make_learner()
    learner.fit(data, make_run(data))
    learner.save(tmp_path)
    other = make_learner(seed=99)
    other.load(tmp_path)
    assert np.array_equal(learner.predict(data.valid.inputs), other.predict(data.valid.inputs))


def test_frozen_group_does_not_move() -> None:
    data = make_data()
    torch.manual_seed(0)
    block = DataBlock([], CategoryBlock("y", ("a", "b", "c")))
    learner = Learner(
        Net(), block, LearnerConfig(3, 0.02, batch_size=30), groups=[("body.0", 0.0)], seed=1
    )
    before = learner.network.body[0].weight.detach().clone()  # type: ignore[index,union-attr]
    learner.fit(data, make_run(data))
    assert torch.equal(before, learner.network.body[0].weight)  # type: ignore[index,union-attr]


@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_schedule_rises_holds_and_falls(total: int) -> None:
    schedule = Schedule(warmup_fraction=0.1, decay_fraction=0.4)
    rates = [schedule.multiplier(step, total) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1.0
    if total == 100:
        assert rates[0] == pytest.approx(0.1)
        assert rates[10:60] == [1.0] * 50
        assert rates[-1] == pytest.approx(1 / 40)
        assert rates[60:] == sorted(rates[60:], reverse=True)


def not_allocated() -> RuntimeError:
    """What torch raises on the CPU for more memory than there can be."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    return caught.value


class SmallMemory(Net):
    """Has no memory for more than seven items at once."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def forward(self, batch: Batch) -> torch.Tensor:
        if self.training and len(batch["x"]) > 7:
            raise self.error or not_allocated()
        return super().forward(batch)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), MemoryError(), None])
def test_a_batch_that_does_not_fit_is_halved_until_it_does(error: Exception | None) -> None:
    data = make_data()
    torch.manual_seed(0)
    block = DataBlock([], CategoryBlock("y", ("a", "b", "c")))
    learner = Learner(SmallMemory(error), block, LearnerConfig(4, 0.02, batch_size=30), seed=1)
    run = make_run(data)
    learner.fit(data, run)
    assert learner.micro_batch == 7
    assert learner.samples == 4 * 180
    assert run.best_score > 0.6
