"""Trials that are searched side by side, in a job with real rows: as if alone, each with its own
end, the same for a seed, and again to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seedbed_sdk.blocks import CategoryBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Batch, Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.space import Choices, FloatRange
from seedbed_sdk.testing import RecordingRun
from seedbed_sdk.trainer import Architecture, Blueprint, Data, EpochReport, Hardware, SplitArrays
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import (
    Budget,
    EpochFinished,
    StopReason,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from seedbed_server.search.budget import Spending
from seedbed_server.search.loop import Search
from seedbed_server.search.recipes import company_of
from seedbed_server.search.rerunning import Reruns, Stopped
from seedbed_server.search.space import narrow
from seedbed_server.search.together import MOST
from seedbed_server.store import Store
from tests.store.values import with_job

LOG_LOSS = METRICS["log_loss"]
EPOCHS = 12


class Net(nn.Module):
    """A chain of layers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        hidden = nn.Linear(4, 16), nn.ReLU(), nn.Dropout(dropout)
        self.layers = nn.Sequential(*hidden, nn.Linear(16, 3))

    def forward(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.layers(batch["x"])
        return logits


class Greedy(nn.Module):
    """Wants more memory than there is, when several are in the third step of training."""

    steps = 0

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.net = Net(dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        if self.training and torch._C._functorch.is_batchedtensor(batch["x"]):
            type(self).steps += 1
            if type(self).steps == 3:
                raise torch.OutOfMemoryError("no memory for so many")
        logits: torch.Tensor = self.net(batch) + 0.0
        return logits


class Control:
    """The user: `ask` is called whenever the search asks whether to stop, and answers."""

    def __init__(self, ask: Callable[[], bool] = lambda: False) -> None:
        self.stop_requested = ask


class Killed(BaseException):
    """Ends the search as the worker's death would."""


def network(kind: type[nn.Module] = Net, name: str = "net", **changes: Any) -> Architecture:
    def build(blueprint: Blueprint) -> Learner:
        torch.manual_seed(blueprint.seed)
        parameters = blueprint.parameters
        config = LearnerConfig(
            int(parameters["epochs"]),
            float(parameters["learning_rate"]),
            weight_decay=float(parameters["weight_decay"]),
            batch_size=32,
        )
        built = kind(float(parameters["dropout"]))  # type: ignore[call-arg]
        return Learner(built, blueprint.block, config, seed=blueprint.seed)

    settings = {"learning_rate": 3e-3, "weight_decay": 0.01, "dropout": 0.1, "epochs": EPOCHS}
    whole = Architecture(
        name,
        "A hidden layer.",
        ("x",),
        ("category",),
        build,
        {
            "learning_rate": FloatRange(1e-5, 1.0, log=True),
            "weight_decay": FloatRange(1e-4, 1.0, log=True),
            "dropout": FloatRange(0.0, 0.6),
            "epochs": Choices((EPOCHS, EPOCHS + 1)),
        },
        [settings],
    )
    return replace(whole, **changes)


def make_data(count: int = 400) -> Data:
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 3, count)
    x = generator.normal(size=(count, 4)).astype(np.float32)
    x[np.arange(count), classes] += 1.0
    part = count * 3 // 4
    return Data(
        SplitArrays({"x": x[:part]}, classes[:part]), SplitArrays({"x": x[part:]}, classes[part:])
    )


class Bench:
    """A leased job and the search that works on it."""

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        architectures: Sequence[Architecture],
        control: Control | None = None,
    ) -> None:
        self.store = Store(f"sqlite:///{folder}/s.db")
        self.store.migrate()
        with_job(self.store, budget=budget, seed=0)
        self.folder = folder / "scratch" / "job1"
        self.architectures = architectures
        self.data = make_data()
        self.search = self.leased(control)

    def leased(self, control: Control | None = None) -> Search:
        """A search by the next worker."""
        job = self.store.jobs.lease()
        assert job is not None
        return Search(
            job=job,
            block=DataBlock([], CategoryBlock("y", ("a", "b", "c"))),
            data=self.data,
            space=narrow(self.architectures, {}),
            metric=LOG_LOSS,
            hardware=Hardware(),
            spending=Spending(job.budget, time.monotonic()),
            session=JobSession(self.store, job.id, job.attempt),
            control=control or Control(),  # type: ignore[arg-type]
            folder=self.folder,
        )

    @property
    def trials(self) -> list[Trial]:
        """The rows, by number."""
        return self.store.trials.list("job1")

    def bodies(self) -> list[object]:
        return [event.body for event in self.store.events.after("job1", 0, 100_000)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the service trains such networks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(budget: Budget, *architectures: Architecture, **more: Any) -> Bench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Bench(folder, budget, architectures or [network()], **more))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def companies(trials: Sequence[Trial]) -> list[tuple[int, ...]]:
    """The companies that there were, once each."""
    found = [company_of(trial.recipe) for trial in trials]
    return sorted({company for company in found if company})


def state_of(trainer: Any) -> dict[str, torch.Tensor]:
    assert isinstance(trainer, Learner)
    return dict(trainer.network.state_dict())


def test_after_the_first_trial_several_are_trained_together_as_if_each_were_alone(
    bench: Callable[..., Bench],
) -> None:
    made = bench(Budget(trials=11))
    began = time.monotonic()
    assert made.search.run([]) is StopReason.TRIAL_BUDGET
    wall = time.monotonic() - began
    trials = made.trials
    assert [trial.number for trial in trials] == list(range(11))
    assert companies(trials) == [tuple(range(1, 9))]
    assert [bool(company_of(trial.recipe)) for trial in trials] == [
        False,
        *[True] * 8,
        False,
        False,
    ]
    assert sum(trial.seconds for trial in trials) < wall
    assert all(trial.seconds > 0 for trial in trials)
    # One shape, and other real numbers.
    assert len({trial.parameters["epochs"] for trial in trials[1:9]}) == 1
    assert len({trial.parameters["learning_rate"] for trial in trials[1:9]}) == 8
    assert len({trial.epochs for trial in trials[1:9]}) > 1, "some paused, each at its own rung"
    for trial in trials[1:9]:
        alone = network().build(
            Blueprint(
                made.search.block, dict(trial.parameters), seed=made.search.trial_seed(trial.number)
            )
        )
        run = RecordingRun(LOG_LOSS, made.data.valid.target)
        alone.fit(made.data, run)
        reported = len(trial.epoch_scores)
        np.testing.assert_allclose(run.scores[:reported], trial.epoch_scores, rtol=1e-3)
    assert made.store.jobs.get("job1").consumption.trials == 11
    assert made.search.spending.samples == sum(trial.samples for trial in trials)


def test_events_of_each_trial_come_in_order(bench: Callable[..., Bench]) -> None:
    made = bench(Budget(trials=9))
    made.search.run([])
    bodies = made.bodies()
    started = [b.trial for b in bodies if isinstance(b, TrialStarted)]
    assert started[:9] == list(range(9))
    ended = [b.trial for b in bodies if isinstance(b, TrialFinished)]
    assert ended[:9] == list(range(9))
    for number in range(1, 9):
        mine = [b for b in bodies if getattr(b, "trial", None) == number]
        first_end = next(i for i, b in enumerate(mine) if isinstance(b, TrialFinished))
        epochs = [b.epoch for b in mine[:first_end] if isinstance(b, EpochFinished)]
        assert isinstance(mine[0], TrialStarted)
        assert epochs == list(range(1, len(epochs) + 1)) != []


def test_a_budget_of_trials_gives_the_same_trials_for_a_seed(bench: Callable[..., Bench]) -> None:
    one, other = bench(Budget(trials=20)), bench(Budget(trials=20))
    for each in (one, other):
        each.search.run([])

    def told(trial: Trial) -> tuple[Any, ...]:
        return trial.parameters, trial.epoch_scores, trial.samples, trial.state, trial.recipe

    assert [told(trial) for trial in one.trials] == [told(trial) for trial in other.trials]
    assert len(companies(one.trials)) == 2


def test_trials_are_run_again_to_the_same_weights_in_their_company(
    bench: Callable[..., Bench],
) -> None:
    made = bench(Budget(trials=20))
    made.search.run([])
    trials = made.trials
    together = [trial for trial in trials if company_of(trial.recipe)]
    left = [
        t.recipe["left"] for t in together if t.recipe["left"] not in (None, t.recipe["reports"])
    ]
    assert left, "none that had left its company went on alone"
    reruns = Reruns(made.search, trials)
    weights = {}
    for trial in together:
        reports: list[int] = []
        trainer, run = reruns.run(trial, partial(note, reports))
        assert tuple(run.scores) == trial.epoch_scores
        assert run.best_score == trial.validation_score
        assert reports == list(range(1, len(run.scores) + 1))[-len(reports) or len(run.scores) :]
        weights[trial.number] = state_of(trainer)
    kept = [c for c in made.search.pool.all() if c.trial.number in weights]
    assert len(kept) > 3
    for candidate in kept:
        same = state_of(made.search.pool.load(candidate))
        again = weights[candidate.trial.number]
        assert all(torch.equal(same[name], tensor) for name, tensor in again.items())


def note(reports: list[int], report: EpochReport, score: float) -> None:
    reports.append(report.epoch)


def test_a_rerun_without_the_company_or_for_a_user_who_stops_it_says_so(
    bench: Callable[..., Bench],
) -> None:
    made = bench(Budget(trials=9))
    made.search.run([])
    trials = made.trials
    with pytest.raises(Exception, match=r"together with the trials \[1, 2, .* of which \[2\] are"):
        Reruns(made.search, [t for t in trials if t.number != 2]).run(trials[1])
    made.search.control = Control(lambda: True)  # type: ignore[assignment]
    with pytest.raises(Stopped):
        Reruns(made.search, trials).run(trials[1])


def test_one_that_diverges_does_not_end_the_others(bench: Callable[..., Bench]) -> None:
    space = {**network().space, "learning_rate": FloatRange(1e-3, 1e20, log=True)}
    made = bench(Budget(trials=9), network(space=space))
    made.search.run([])
    trials = made.trials[1:]
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    assert 0 < len(failed) < len(trials)
    assert all(trial.reason.startswith("diverged: the ") for trial in failed)
    assert companies(trials) == [tuple(range(1, 9))]
    ended = [trial for trial in trials if trial not in failed]
    assert all(trial.validation_score is not None for trial in ended)
    best = min(ended, key=lambda trial: trial.validation_score or math.inf)
    _, run = Reruns(made.search, made.trials).run(best)
    assert run.best_score == best.validation_score


def test_where_memory_is_short_they_are_trained_one_by_one(bench: Callable[..., Bench]) -> None:
    Greedy.steps = 0
    made = bench(Budget(trials=18), network(Greedy))
    made.search.run([])
    assert Greedy.steps == 3
    trials = made.trials
    assert len(trials) == 18
    assert companies(trials) == []
    assert not [trial for trial in trials if trial.state is TrialState.FAILED]
    said = [b.message for b in made.bodies() if hasattr(b, "severity")]
    assert said == [
        "several trials of net cannot be trained together (OutOfMemoryError: no memory for so "
        "many); they are trained one by one"
    ]


def test_when_the_user_stops_it_each_ends_with_what_it_has(bench: Callable[..., Bench]) -> None:
    asked = 0

    def ask() -> bool:
        nonlocal asked
        asked += 1
        return asked > 700

    made = bench(Budget(trials=20), control=Control(ask))
    assert made.search.run([]) is StopReason.USER
    trials = made.trials
    assert [trial.number for trial in trials] == list(range(9))
    assert companies(trials) == [tuple(range(1, 9))]
    cut = [t for t in trials[1:] if t.state is TrialState.COMPLETE and t.recipe["stopped"]]
    assert cut
    made.search.control = Control()  # type: ignore[assignment]
    reruns = Reruns(made.search, trials)
    for trial in trials[1:]:
        _, run = reruns.run(trial)
        assert tuple(run.scores) == trial.epoch_scores


def test_when_one_has_the_score_that_was_asked_for_all_end(bench: Callable[..., Bench]) -> None:
    plain = bench(Budget(trials=9))
    plain.search.run([])
    scores = [trial.epoch_scores for trial in plain.trials]
    target = min(min(own[:4]) for own in scores[1:])
    assert target < min(scores[0])
    made = bench(Budget(trials=20, target_score=target))
    assert made.search.run([]) is StopReason.TARGET_REACHED
    trials = made.trials
    assert min(trial.validation_score or math.inf for trial in trials) == target
    assert max(trial.epochs for trial in trials[1:]) <= 5


@pytest.mark.parametrize(
    "budget",
    [Budget(trials=8), Budget(samples=300 * EPOCHS * 8), Budget(trials=30, wall_clock_seconds=2.0)],
)
def test_where_the_budget_is_too_small_for_so_many_they_are_trained_alone(
    bench: Callable[..., Bench], budget: Budget
) -> None:
    made = bench(budget)
    if budget.wall_clock_seconds is not None:
        made.search.pacing.trial_seconds["net"] = budget.wall_clock_seconds / MOST
    made.search.run([])
    assert made.trials
    assert companies(made.trials) == []


def test_with_time_as_the_budget_it_is_measured_and_ends_in_time(
    bench: Callable[..., Bench],
) -> None:
    made = bench(Budget(wall_clock_seconds=4.0))
    made.search.run([])
    assert made.search.spending.elapsed() < 5.0
    trials = made.trials
    # A busy machine may measure that it does not gain.
    for company in companies(trials):
        assert len(company) in (2, 4, 8)
        for trial in (trials[number] for number in company):
            if trial.validation_score is not None:
                _, run = Reruns(made.search, trials).run(trial)
                assert tuple(run.scores) == trial.epoch_scores
                break


def test_an_architecture_that_is_behind_is_tried_one_at_a_time(bench: Callable[..., Bench]) -> None:
    space = {**network().space, "learning_rate": Choices((1e-7,))}
    portfolio = [{**network().portfolio[0], "learning_rate": 1e-7}]
    behind = network(name="behind", space=space, portfolio=portfolio)
    made = bench(Budget(trials=30), behind, network())
    made.search.run([])
    kinds = {company: made.trials[company[0]].architecture for company in companies(made.trials)}
    assert set(kinds.values()) == {"net"}


def test_after_a_worker_died_its_trials_have_failed_and_others_are_trained_alone(
    bench: Callable[..., Bench],
) -> None:
    asked = 0

    def ask() -> bool:
        nonlocal asked
        asked += 1
        if asked > 700:
            raise Killed
        return False

    made = bench(Budget(trials=20), control=Control(ask))
    with pytest.raises(Killed):
        made.search.run([])
    running = [trial.number for trial in made.trials if trial.state is TrialState.RUNNING]
    assert running == list(range(1, 9))
    made.store.jobs.worker_died("job1", 1, "killed by signal 9")
    failed = made.trials[1:]
    assert {t.reason for t in failed} == {"worker process died: killed by signal 9"}
    search = made.leased()
    assert search.run(made.trials) is StopReason.TRIAL_BUDGET
    trials = made.trials
    assert [trial.number for trial in trials] == list(range(20))
    assert companies(trials) == []
    settings = [tuple(sorted(trial.parameters.items())) for trial in trials]
    assert len(set(settings)) == 20
