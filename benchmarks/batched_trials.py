"""Trials side by side as one network, against an Optuna loop that trains one after the other.

Both sides search learning rate and weight decay of the same network with TPE, train it with AdamW
for the same epochs in batches of 64, and score every epoch on the same held-out rows; ours asks for
K trials at once. Theirs is PyTorch as tutorials write it: tensors in memory, `AdamW(...)` with its
defaults; beside it stand the same loop with fused AdamW, and one that reads through a DataLoader.
Ours also schedules the learning rate and keeps the best epoch's weights.

All run on one thread, and the time is that of the processor, which other work on the machine
disturbs less than the clock's.

The grid asks `batch_limit` how many to train together for twelve shapes; theirs is the same number
of trials by `Learner.fit`, one after the other.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import optuna
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Case, compare
from seedbed_sdk.batched import BatchedLearner
from seedbed_sdk.blocks import CategoryBlock
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.metrics import METRICS
from seedbed_sdk.trainer import Data, EpochReport, SplitArrays, UnlimitedRun, Verdict
from seedbed_sdk.worth_batching import batch_limit

NAME = "batched_trials"
BATCH_SIZE = 64
EPOCHS = 20
TRIALS = 16
TOGETHER = 8
MOST = 32
GRID = [
    (inputs, *hidden, outputs)
    for inputs, outputs in ((8, 2), (64, 10), (512, 2))
    for hidden in ((16,), (64, 64), (256,), (512, 512))
]
GRID_ROWS = 1024
GRID_EPOCHS = 2
GRID_TRIALS = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """A table of numbers with classes, split, and the widths of the network for it."""

    name: str
    shape: tuple[int, ...]
    data: Data

    @property
    def about(self) -> str:
        """The case's name."""
        return f"{self.name}, MLP {'-'.join(map(str, self.shape))}, batch {BATCH_SIZE}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Trials a minute of one thread, and the mean and the best of the trials' best accuracies."""

    speed: float
    mean: float
    best: float


class Tracked(UnlimitedRun):
    """A run that notes the best accuracy, and has neither limit nor pruner."""

    def __init__(self, data: Data) -> None:
        self._target = data.valid.target
        self.best = -1.0

    def report(self, report: EpochReport) -> Verdict:
        """Whether the epoch is the best so far."""
        accuracy = METRICS["accuracy"].compute(self._target, report.valid_outputs)
        better = accuracy > self.best
        self.best = max(accuracy, self.best)
        return Verdict(better, stop=False)


class MLP(nn.Module):
    """Linear layers with ReLU between; takes a table or a batch that holds one as `x`."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(shape):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs: torch.Tensor = self.layers(batch["x"])
        return outputs


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    for problem, least in ((breast_cancer(), 10), (digits(), 2)):
        yield from _against_optuna(problem, least, rounds)
    for shape in GRID:
        yield _against_learner(shape, rounds)


def _against_optuna(problem: Problem, least: int, rounds: int) -> Iterator[Case]:
    sides: dict[str, Callable[[int], Outcome]] = {
        "ours": lambda seed: ours(problem, seed),
        "slices of tensors": lambda seed: theirs(problem, seed, loader=False, fused=None),
        "slices of tensors, fused AdamW": lambda seed: theirs(
            problem, seed, loader=False, fused=True
        ),
        "DataLoader over a TensorDataset": lambda seed: theirs(
            problem, seed, loader=True, fused=None
        ),
    }
    for name in ("ours", "slices of tensors"):
        sides[name](0)
    done = [{name: side(n + 1) for name, side in sides.items()} for n in range(rounds)]
    about = f"{problem.about}, {TRIALS} trials of {EPOCHS} epochs"
    limits = [f"required: ratio at least {least}", "none: tuned", "none: as examples have it"]
    for name, limit in zip(list(sides)[1:], limits, strict=True):
        yield compare(
            NAME,
            f"{about}, K={TOGETHER}; theirs: Optuna, {name}",
            [(each["ours"].speed, each[name].speed) for each in done],
            unit="trials/min",
            limit=limit,
            higher_is_better=True,
        )
    for what in ("mean", "best"):
        yield compare(
            NAME,
            f"{problem.about}, {what} of the trials' best validation accuracies; theirs: Optuna",
            [
                (getattr(each["ours"], what), getattr(each["slices of tensors"], what))
                for each in done
            ],
            unit="accuracy",
            limit="required: the same scores, ratio about 1",
            higher_is_better=True,
        )


def breast_cancer() -> Problem:
    """569 rows of 30 numbers, two classes."""
    return _problem("breast_cancer", load_breast_cancer, 64, 64)


def digits() -> Problem:
    """1,797 pictures of 64 pixels, ten classes."""
    return _problem("digits", load_digits, 128)


def _problem(name: str, load: Callable[..., tuple[Array, Array]], *hidden: int) -> Problem:
    x, y = load(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(
        x, y, test_size=0.25, stratify=y, random_state=0
    )
    centre, scale = train_x.mean(axis=0), train_x.std(axis=0) + 1e-9
    train, valid = (
        SplitArrays({"x": ((part - centre) / scale).astype(np.float32)}, target.astype(np.int64))
        for part, target in ((train_x, train_y), (valid_x, valid_y))
    )
    return Problem(name, (x.shape[1], *hidden, int(y.max()) + 1), Data(train, valid))


# --- ours ---------------------------------------------------------------------------------------


def ours(problem: Problem, seed: int) -> Outcome:
    """Asks for several trials, trains them as one network, tells how they went."""
    began = time.process_time()
    study = _study(seed)
    best = []
    for _ in range(0, TRIALS, TOGETHER):
        asked = [study.ask() for _ in range(TOGETHER)]
        learners = [
            make_learner(problem.shape, *suggested(trial), seed=seed * TRIALS + trial.number)
            for trial in asked
        ]
        runs = [Tracked(problem.data) for _ in learners]
        BatchedLearner(learners).fit(problem.data, runs)
        for trial, each in zip(asked, runs, strict=True):
            study.tell(trial, each.best)
            best.append(each.best)
    return Outcome(60 * TRIALS / (time.process_time() - began), mean(best), max(best))


def suggested(trial: optuna.Trial) -> tuple[float, float]:
    """Learning rate and weight decay."""
    return (
        trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
        trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
    )


def make_learner(
    shape: Sequence[int],
    learning_rate: float,
    weight_decay: float,
    *,
    seed: int,
    epochs: int = EPOCHS,
) -> Learner:
    """A learner with a network of that shape."""
    torch.manual_seed(seed)
    block = DataBlock([], CategoryBlock("y", tuple(str(n) for n in range(shape[-1]))))
    config = LearnerConfig(epochs, learning_rate, weight_decay, BATCH_SIZE)
    return Learner(MLP(shape), block, config, seed=seed)


def _study(seed: int) -> optuna.Study:
    return optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    )


# --- theirs: Optuna and a loop ------------------------------------------------------------------


def theirs(problem: Problem, seed: int, *, loader: bool, fused: bool | None) -> Outcome:
    """One trial after the other."""
    began = time.process_time()
    train, valid = (
        (torch.from_numpy(split.inputs["x"]), torch.from_numpy(split.target))
        for split in (problem.data.train, problem.data.valid)
    )
    batches = DataLoader(TensorDataset(*train), BATCH_SIZE, shuffle=True, drop_last=True)

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(seed * TRIALS + trial.number)
        learning_rate, weight_decay = suggested(trial)
        network = MLP(problem.shape).layers
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=fused
        )
        best = 0.0
        for _ in range(EPOCHS):
            network.train()
            for x, y in batches if loader else _slices(*train):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            network.eval()
            with torch.no_grad():
                right = network(valid[0]).argmax(dim=1) == valid[1]
            best = max(best, float(right.float().mean()))
        return best

    study = _study(seed)
    study.optimize(objective, n_trials=TRIALS)
    values = [trial.value for trial in study.trials if trial.value is not None]
    return Outcome(60 * TRIALS / (time.process_time() - began), mean(values), max(values))


def _slices(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = torch.randperm(len(y))
    for start in range(0, len(y) - BATCH_SIZE + 1, BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        yield x[rows], y[rows]


# --- the rule, over shapes ----------------------------------------------------------------------


def _against_learner(shape: tuple[int, ...], rounds: int) -> Case:
    """The time of some trials as the rule would have them trained, beside one by one."""
    data = _random_data(shape)
    chosen = batch_limit(_grid_learners(shape, 1)[0], data, most=MOST)
    count = max(GRID_TRIALS, chosen)
    done = []
    for number in range(rounds):
        # By turns who goes first, which finds the caches as the other side left them.
        if number % 2:
            alone = _seconds(shape, data, count, 1)
            done.append((_seconds(shape, data, count, chosen), alone))
        else:
            done.append((_seconds(shape, data, count, chosen), _seconds(shape, data, count, 1)))
    return compare(
        NAME,
        f"MLP {'-'.join(map(str, shape))}, batch {BATCH_SIZE}, {count} trials, {chosen} together "
        "by the rule; theirs: the same learners one by one",
        done,
        unit="s",
        limit="required: ratio at least 1 (the same code on both sides where the rule says 1)",
    )


def _random_data(shape: tuple[int, ...]) -> Data:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(GRID_ROWS, shape[0])).astype(np.float32)
    target = generator.integers(0, shape[-1], GRID_ROWS)
    train, valid = slice(0, GRID_ROWS * 3 // 4), slice(GRID_ROWS * 3 // 4, GRID_ROWS)
    return Data(
        SplitArrays({"x": x[train]}, target[train]), SplitArrays({"x": x[valid]}, target[valid])
    )


def _grid_learners(shape: tuple[int, ...], count: int) -> list[Learner]:
    return [
        make_learner(shape, 1e-3 * (k + 1), 0.01, seed=k, epochs=GRID_EPOCHS) for k in range(count)
    ]


def _seconds(shape: tuple[int, ...], data: Data, count: int, together: int) -> float:
    """That `count` trials take, so many at a time; 1 is `Learner.fit`."""
    learners = _grid_learners(shape, count)
    began = time.process_time()
    for start in range(0, count, together):
        part = learners[start : start + together]
        if together == 1:
            part[0].fit(data, Tracked(data))
        else:
            BatchedLearner(part).fit(data, [Tracked(data) for _ in part])
    return time.process_time() - began
