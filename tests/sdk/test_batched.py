"""Learners trained side by side: the same results as one by one, each with its own end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seedbed_sdk.batched import BatchedLearner, hindrance, same_data
from seedbed_sdk.blocks import CategoryBlock, RegressionBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Batch, Callback, Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.schedule import Schedule
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Data, Diverged, EpochReport, Interrupted, SplitArrays, Verdict
from seedbed_sdk.worth_batching import batch_limit

CLOSE = {"rtol": 1e-4, "atol": 2e-6}


class ChainNet(nn.Module):
    """Common layers one after the other."""

    def __init__(self, dropout: float = 0.2, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(dropout / 2),
            # A bias before a normalisation has no gradient but that of rounding.
            nn.Linear(4, 16, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(16, 8),
            nn.GELU(),
            nn.Linear(8, 8),
            nn.SiLU(),
            nn.Linear(8, outputs),
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        outputs: torch.Tensor = self.body(batch["x"])
        return outputs


class OwnNet(nn.Module):
    """Does things of its own, and draws at random in training."""

    def __init__(self, dropout: float = 0.2, outputs: int = 3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(4, 16)
        self.head = nn.Linear(16, outputs)

    def forward(self, batch: Batch) -> torch.Tensor:
        x = self.norm(batch["x"])
        if self.training:
            x = x * (1.0 + 0.1 * torch.randint(0, 3, (len(x), 1)))
        outputs: torch.Tensor = self.head(self.dropout(self.hidden(x).relu() + x.sum(1, True)))
        return outputs


class FirstReLU(nn.Module):
    """Begins with a layer that works in place elsewhere."""

    def __init__(self, dropout: float = 0.0, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Dropout(dropout), nn.ReLU(), nn.Linear(4, outputs))

    def forward(self, batch: Batch) -> torch.Tensor:
        outputs: torch.Tensor = self.body(batch["x"])
        return outputs


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As the service trains such networks."""
    torch.set_num_threads(1)


def make_data(count: int = 240, *, numbers: bool = False) -> Data:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 3, count)
    x = generator.normal(size=(count, 4)).astype(np.float32)
    x[np.arange(count), classes] += 1.5
    target = (5.0 + 3.0 * x.sum(axis=1)).astype(np.float32) if numbers else classes
    split = count * 3 // 4
    return Data(
        SplitArrays({"x": x[:split]}, target[:split]), SplitArrays({"x": x[split:]}, target[split:])
    )


def make_learner(
    network: Callable[..., nn.Module] = ChainNet,
    seed: int = 3,
    *,
    dropout: float = 0.2,
    numbers: bool = False,
    groups: Sequence[tuple[str, float]] = (),
    **config: object,
) -> Learner:
    torch.manual_seed(seed)
    settings = LearnerConfig(
        **{"epochs": 6, "learning_rate": 0.01, "batch_size": 30, **config}  # type: ignore[arg-type]
    )
    target = RegressionBlock("y") if numbers else CategoryBlock("y", ("a", "b", "c"))
    if isinstance(target, RegressionBlock):
        target.mean, target.scale = 5.0, 6.0
    built = network(dropout, target.output_size)
    return Learner(built, DataBlock([], target), settings, seed=seed, groups=groups)


def make_run(data: Data, metric: str = "accuracy", **limits: object) -> RecordingRun:
    return RecordingRun(METRICS[metric], data.valid.target, **limits)  # type: ignore[arg-type]


def state_of(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}


def assert_same_run(alone: RecordingRun, together: RecordingRun) -> None:
    assert len(alone.reports) == len(together.reports)
    for one, other in zip(alone.reports, together.reports, strict=True):
        assert (one.epoch, one.epochs, one.samples) == (other.epoch, other.epochs, other.samples)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        np.testing.assert_allclose(one.valid_outputs, other.valid_outputs, **CLOSE)


def assert_same_state(one: Learner, other: Learner) -> None:
    mine = state_of(other)
    for name, tensor in state_of(one).items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-3, atol=1e-5)


SETTINGS: list[dict[str, object]] = [
    {"learning_rate": 0.01},
    {"learning_rate": 0.002, "weight_decay": 0.3, "averaging": 0.9, "dropout": 0.0},
    {"epochs": 3, "label_smoothing": 0.1},
    {"clip_norm": 0.1, "schedule": Schedule(0.2, 0.8), "dropout": 0.5},
    {"patience": 1, "learning_rate": 0.03},
]


def learners(network: Callable[..., nn.Module], **more: object) -> list[Learner]:
    return [
        make_learner(network, seed, **{**settings, **more})  # type: ignore[arg-type]
        for seed, settings in enumerate(SETTINGS)
    ]


@pytest.mark.parametrize("network", [ChainNet, OwnNet, FirstReLU])
def test_each_is_as_if_alone_epoch_by_epoch(network: Callable[..., nn.Module]) -> None:
    data = make_data()
    alone, together = learners(network), learners(network)
    alone_runs = [make_run(data) for _ in alone]
    runs = [make_run(data) for _ in together]
    for learner, run in zip(alone, alone_runs, strict=True):
        learner.fit(data, run)
    assert BatchedLearner(together).fit(data, runs) == [None] * len(SETTINGS)
    for one, other in zip(alone_runs, runs, strict=True):
        assert_same_run(one, other)
    for one, other in zip(alone, together, strict=True):
        assert_same_state(one, other)
        assert (one.step, one.epoch, one.samples) == (other.step, other.epoch, other.samples)
    assert len({len(run.reports) for run in runs}) > 1


def test_numbers_as_target_and_parts_at_their_own_pace() -> None:
    data = make_data(numbers=True)
    options = {"numbers": True, "groups": [("hidden", 0.1), ("head.bias", 0.0)], "dropout": 0.1}
    alone = [make_learner(OwnNet, s, **options) for s in range(3)]  # type: ignore[arg-type]
    together = [make_learner(OwnNet, s, **options) for s in range(3)]  # type: ignore[arg-type]
    alone_runs = [make_run(data, "r2") for _ in alone]
    runs = [make_run(data, "r2") for _ in together]
    for learner, run in zip(alone, alone_runs, strict=True):
        learner.fit(data, run)
    BatchedLearner(together).fit(data, runs)
    for one, other in zip(alone_runs, runs, strict=True):
        assert_same_run(one, other)


def test_batches_are_transformed_with_each_ones_own_generator() -> None:
    data = make_data()

    def jitter(
        batch: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        noise = torch.randn(batch["x"].shape, generator=generator)
        return {"x": batch["x"] + 0.1 * noise}, nn.functional.one_hot(target, 3).float()

    alone, together, other = make_learner(), make_learner(), make_learner(seed=4)
    alone.transform = together.transform = other.transform = jitter
    run, batched_run = make_run(data), make_run(data)
    alone.fit(data, run)
    BatchedLearner([together, other]).fit(data, [batched_run, make_run(data)])
    assert_same_run(run, batched_run)


@pytest.mark.parametrize("network", [ChainNet, OwnNet])
def test_the_same_learners_give_the_same_weights(network: Callable[..., nn.Module]) -> None:
    data = make_data()
    first, second = learners(network), learners(network)
    for together in (first, second):
        BatchedLearner(together).fit(data, [make_run(data) for _ in together])
        torch.rand(7)  # the process goes on with something else
    for one, other in zip(first, second, strict=True):
        same = state_of(other)
        assert all(torch.equal(same[name], t) for name, t in state_of(one).items())


def test_one_that_diverges_leaves_and_the_others_go_on() -> None:
    data = make_data()
    wild = make_learner(seed=1, learning_rate=1e30, label_smoothing=0.1)
    together = [make_learner(seed=0), wild, make_learner(seed=2)]
    runs = [make_run(data) for _ in together]
    outcomes = BatchedLearner(together).fit(data, runs)
    assert isinstance(outcomes[1], Diverged)
    assert "epoch 1" in str(outcomes[1])
    assert outcomes[0] is None
    assert outcomes[2] is None
    alone, run = make_learner(seed=2), make_run(data)
    alone.fit(data, run)
    assert_same_run(run, runs[2])
    assert_same_state(alone, together[2])


class StopsInside(RecordingRun):
    """Asks to stop when it has been asked so many times whether to."""

    asked = 0
    after = 10

    def should_stop(self) -> bool:
        self.asked += 1
        return self.asked > self.after


def test_one_that_is_stopped_within_an_epoch_reports_what_it_has() -> None:
    data = make_data()
    alone, alone_run = make_learner(), StopsInside(METRICS["accuracy"], data.valid.target)
    alone.fit(data, alone_run)
    together = [make_learner(), make_learner(seed=4)]
    run, other_run = StopsInside(METRICS["accuracy"], data.valid.target), make_run(data)
    assert BatchedLearner(together).fit(data, [run, other_run]) == [None, None]
    assert_same_run(alone_run, run)
    assert_same_state(alone, together[0])
    assert len(other_run.reports) == 6


def test_one_that_is_stopped_before_it_began_is_interrupted() -> None:
    data = make_data()
    together = [make_learner(), make_learner(seed=4)]
    runs = [make_run(data, stop_after=0), make_run(data)]
    outcomes = BatchedLearner(together).fit(data, runs)
    assert isinstance(outcomes[0], Interrupted)
    assert outcomes[1] is None
    assert len(runs[1].reports) == 6


def test_limits_of_samples_and_seconds_hold_for_each() -> None:
    data = make_data()
    together = [make_learner(epochs=50), make_learner(epochs=5, seed=4)]
    runs = [make_run(data, samples=300), make_run(data)]
    BatchedLearner(together).fit(data, runs)
    assert together[0].samples == 300
    assert together[1].samples == 5 * 180
    long = [make_learner(epochs=1_000_000), make_learner(epochs=3, seed=4)]
    BatchedLearner(long).fit(data, [make_run(data, seconds=0.2), make_run(data)])
    assert 0 < long[0].step == long[0].total_steps < 6_000_000
    assert long[1].step == 18


class PausingRun(RecordingRun):
    """Tells the trainer to pause after the second report."""

    def report(self, report: EpochReport) -> Verdict:
        verdict = super().report(report)
        return Verdict(verdict.best, len(self.reports) == 2, pause=len(self.reports) == 2)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_paused_ones_go_on_from_their_checkpoints(tmp_path: Path, averaging: float) -> None:
    data = make_data()
    straight = [make_learner(seed=s, averaging=averaging) for s in (1, 2)]
    straight_runs = [make_run(data) for _ in straight]
    BatchedLearner(straight).fit(data, straight_runs)

    first = [make_learner(seed=s, averaging=averaging) for s in (1, 2)]
    pausing = [PausingRun(METRICS["accuracy"], data.valid.target) for _ in first]
    BatchedLearner(first).fit(data, pausing)
    second = []
    for place, learner in enumerate(first):
        best = max(pausing[place].reports, key=lambda r: pausing[place].scores[r.epoch - 1])
        outputs = learner.predict(data.valid.inputs)
        np.testing.assert_allclose(outputs, best.valid_outputs, **CLOSE)
        (tmp_path / str(place)).mkdir()
        learner.save_checkpoint(tmp_path / str(place))
        second.append(make_learner(seed=place + 1, averaging=averaging))
        second[-1].load_checkpoint(tmp_path / str(place))
    runs = [make_run(data) for _ in second]
    for run, paused in zip(runs, pausing, strict=True):
        run.scores = list(paused.scores)
    BatchedLearner(second).fit(data, runs)
    for place, learner in enumerate(second):
        assert runs[place].scores == straight_runs[place].scores
        same = state_of(straight[place])
        assert all(torch.equal(same[name], t) for name, t in state_of(learner).items())


def test_learners_predict_save_and_train_by_themselves_afterwards(tmp_path: Path) -> None:
    data = make_data()
    together = learners(ChainNet)
    runs = [make_run(data) for _ in together]
    BatchedLearner(together).fit(data, runs)
    learner, run = together[3], runs[3]
    outputs = learner.predict(data.valid.inputs)
    assert METRICS["accuracy"].compute(data.valid.target, outputs) == run.best_score
    learner.save(tmp_path)
    other = make_learner(seed=99)
    other.load(tmp_path)
    assert np.array_equal(outputs, other.predict(data.valid.inputs))
    storages = [p.untyped_storage().data_ptr() for each in together for p in each._trained]
    assert len(set(storages)) == len(storages)
    before = state_of(together[0])
    learner.total_steps = 0
    learner.step = 0
    learner.fit(data, make_run(data))
    assert all(torch.equal(before[name], t) for name, t in state_of(together[0]).items())


class Watching(Callback):
    """Does nothing, but might."""


def differing() -> dict[str, Learner]:
    class Wider(ChainNet):
        pass

    watched = make_learner()
    watched.callbacks.append(Watching())
    advanced = make_learner()
    advanced.step = 6
    other_eps = make_learner()
    other_eps.network.body[2].eps = 0.1  # type: ignore[index,union-attr]
    return {
        "callbacks": watched,
        "different steps": advanced,
        "networks differ": make_learner(Wider),
        "networks differ ": other_eps,
        "different parameters": make_learner(groups=[("body.1", 0.0)]),
    }


@pytest.mark.parametrize("reason", list(differing()))
def test_says_why_learners_cannot_be_trained_together(reason: str) -> None:
    other = differing()[reason]
    assert reason.strip() in (hindrance([make_learner(), other]) or "")
    with pytest.raises(ValueError, match=reason.strip()):
        BatchedLearner([make_learner(), other])


def test_refuses_batches_of_several_sizes_and_missing_runs() -> None:
    data = make_data()
    pair = BatchedLearner([make_learner(), make_learner(batch_size=20)])
    with pytest.raises(ValueError, match="as many runs"):
        pair.fit(data, [make_run(data)])
    with pytest.raises(ValueError, match="batches of one size"):
        pair.fit(data, [make_run(data), make_run(data)])


def test_what_predicts_in_a_way_of_its_own_is_not_trained_together() -> None:
    class Doubled(Learner):
        def predict(self, inputs: Arrays) -> Array:
            return super().predict(inputs) * 2.0

    block, config = make_learner().block, LearnerConfig(2, 0.01)
    own = [Doubled(ChainNet(), block, config, seed=seed) for seed in range(2)]
    assert hindrance(own) == "they train in a way of their own"


def test_the_last_ones_of_many_go_on_alone_and_pause_as_before() -> None:
    data = make_data()
    lengths = [2, 2, 6, 6]
    alone = [make_learner(OwnNet, s, epochs=e) for s, e in enumerate(lengths)]
    together = [make_learner(OwnNet, s, epochs=e) for s, e in enumerate(lengths)]
    alone_runs = [make_run(data) for _ in alone]
    runs = [make_run(data) for _ in together]
    steps: list[int] = []
    together[2]._step = _counting(together[2], steps)  # type: ignore[method-assign]
    for learner, run in zip(alone, alone_runs, strict=True):
        learner.fit(data, run)
    assert BatchedLearner(together).fit(data, runs) == [None] * 4
    assert steps == list(range(12, 36)), "from the third epoch on"
    for one, other in zip(alone_runs, runs, strict=True):
        assert_same_run(one, other)
    paused = [make_learner(OwnNet, s, epochs=e) for s, e in enumerate([1, 1, 6, 6])]
    pausing = [PausingRun(METRICS["accuracy"], data.valid.target) for _ in paused]
    BatchedLearner(paused).fit(data, pausing)
    assert [len(run.reports) for run in pausing] == [1, 1, 2, 2]
    rest = make_run(data)
    rest.scores = list(pausing[2].scores)
    paused[2].fit(data, rest)
    assert [report.epoch for report in rest.reports] == [3, 4, 5, 6]
    assert_same_state(alone[2], paused[2])


def _counting(learner: Learner, steps: list[int]) -> Callable[..., torch.Tensor]:
    step = learner._step

    def counted(batch: Batch, target: torch.Tensor) -> torch.Tensor:
        steps.append(learner.step)
        return step(batch, target)

    return counted


def test_inputs_without_columns_are_gathered_too() -> None:
    data = make_data()
    nothing = {
        name: SplitArrays(
            {**split.inputs, "none": np.zeros((len(split), 0), np.int32)}, split.target
        )
        for name, split in (("train", data.train), ("valid", data.valid))
    }
    with_nothing = Data(**nothing)
    runs, bare_runs = ([make_run(data) for _ in range(2)] for _ in range(2))
    BatchedLearner([make_learner(seed=s) for s in range(2)]).fit(with_nothing, runs)
    BatchedLearner([make_learner(seed=s) for s in range(2)]).fit(data, bare_runs)
    assert [run.scores for run in runs] == [run.scores for run in bare_runs]


def test_data_is_the_same_where_the_arrays_are() -> None:
    one = make_data()
    copied = SplitArrays(one.train.inputs, one.train.target.copy())
    assert same_data(one, Data(copied, one.valid))
    assert not same_data(one, make_data())
    assert not same_data(one, Data(SplitArrays(one.train.inputs, one.train.target * 2), one.valid))


class Undoable(OwnNet):
    """Decides by values, which cannot be done for several at once."""

    def forward(self, batch: Batch) -> torch.Tensor:
        return super().forward(batch) * (2.0 if float(batch["x"].sum()) > 0 else 1.0)


def test_the_rule_batches_what_gains_and_nothing_else() -> None:
    data = make_data()
    learner = make_learner()
    before, draws = state_of(learner), torch.get_rng_state()
    assert batch_limit(learner, data, 8) in (2, 4, 8)
    assert all(torch.equal(before[name], t) for name, t in state_of(learner).items())
    assert torch.equal(draws, torch.get_rng_state())
    assert batch_limit(learner, data, 1) == 1
    assert batch_limit(make_learner(Undoable), data, 8) == 1

    class Large(ChainNet):
        def __init__(self, dropout: float, outputs: int) -> None:
            super().__init__(dropout, outputs)
            self.body.append(nn.Linear(outputs, 1_000_000))

    assert batch_limit(make_learner(Large), data, 8) == 1


def test_the_rule_without_a_clock_goes_by_sizes_alone() -> None:
    data = make_data()
    chain, own = make_learner(), make_learner(OwnNet)
    draws = torch.get_rng_state()
    assert batch_limit(chain, data, 8, timed=False) == 8
    assert batch_limit(own, data, 8, timed=False) == 8
    assert torch.equal(draws, torch.get_rng_state())
    assert batch_limit(make_learner(Undoable), data, 8, timed=False) == 1

    class Wide(OwnNet):
        def __init__(self, dropout: float, outputs: int) -> None:
            super().__init__(dropout, outputs)
            self.hidden = nn.Linear(4, 4096)
            self.head = nn.Linear(4096, outputs)

    assert batch_limit(make_learner(Wide), data, 8, timed=False) == 1


def test_a_failure_leaves_learners_whole() -> None:
    data = make_data()
    together = [make_learner(Undoable, s) for s in range(2)]
    with pytest.raises(RuntimeError):
        BatchedLearner(together).fit(data, [make_run(data) for _ in together])
    storages = {p.untyped_storage().data_ptr() for each in together for p in each._trained}
    assert len(storages) == 8
