"""How many sample passes a search takes whose trials go on where they paused, against the same
search whose trials begin again each time they are promoted."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.measure import Case, compare
from benchmarks.nobody import Nobody

NAME = "continued_trials"
TRIALS = 40
EPOCHS = 40


def run(rounds: int) -> Iterator[Case]:
    """One case for each data set."""
    for sample in ("digits", "breast_cancer"):
        done, scores = [], []
        for seed in range(rounds):
            found = _search(sample, seed)
            done.append((found.samples, found.begun_again))
            scores.append(f"{found.score:.4f} ({found.most / found.samples:.2f} times ours)")
        by_seed = ", ".join(scores)
        yield compare(
            NAME,
            f"{sample}, {TRIALS} trials of {EPOCHS} epochs of a network 64-64: sample passes to "
            "the same validation log loss; theirs: a trial begins again at each rung that it goes "
            f"on from; log loss by seed, and what all trials to their end pass: {by_seed}",
            done,
            unit="sample passes",
            limit="required: at most half, which is a ratio of 2",
        )


@dataclass(frozen=True)
class _Result:
    """`begun_again` is what the same search passes without checkpoints. It is counted, not done: a
    trial that begins again comes to the same weights, as a test of the Learner holds."""

    score: float
    samples: float
    begun_again: float
    most: float


def _search(sample: str, seed: int) -> _Result:
    from seedbed_sdk.registry import load
    from seedbed_sdk.trainer import Data, Hardware
    from seedbed_server.data.samples import load_sample
    from seedbed_server.jobs.values import Budget, Job, Trial
    from seedbed_server.search.budget import Spending
    from seedbed_server.search.check import make_plan
    from seedbed_server.search.loop import Search
    from seedbed_server.search.rungs import SHARES
    from seedbed_server.search.space import narrow

    class Counting(Search):
        """Keeps the trials as they ended."""

        ended: dict[int, Trial]

        def _note(self, trial: Trial, before: Trial | None = None) -> None:
            super()._note(trial, before)
            self.__dict__.setdefault("ended", {})[trial.number] = trial

        def begun_again(self, trial: Trial) -> float:
            """What the trial passes where each rung that it went on from is a run of its own."""
            rungs = (math.ceil(share * EPOCHS - 1e-9) for share in SHARES)
            epochs = sum(rung for rung in rungs if rung < trial.epochs) + trial.epochs
            return trial.samples * epochs / max(trial.epochs, 1.0)

    registry = load()
    plan = make_plan(
        registry,
        load_sample(sample, "dataset", registry.samples),
        task_name="tabular",
        target="target",
        options={},
        metric_name="log_loss",
        search_space={},
        hardware=Hardware(),
    )
    prepared = plan.block.prepare(seed)
    now = datetime.now(UTC)
    job = Job("benchmark", "default", "tabular", sample, Budget(trials=TRIALS), now, now, seed=seed)
    nobody = Nobody()
    with tempfile.TemporaryDirectory() as folder:
        search = Counting(
            job=job,
            block=plan.block,
            data=Data(prepared.train, prepared.valid),
            space=narrow([_network(plan.block)], {}),
            metric=plan.metric,
            hardware=Hardware(),
            spending=Spending(job.budget, time.monotonic()),
            session=cast(Any, nobody),
            control=cast(Any, nobody),
            folder=Path(folder),
        )
        search.run([])
    assert search.best is not None
    score = search.best.trial.validation_score
    assert score is not None
    most = float(TRIALS * EPOCHS * len(prepared.train))
    begun_again = sum(map(search.begun_again, search.ended.values()))
    return _Result(score, float(search.spending.samples), begun_again, most)


def _network(block: Any) -> Any:
    import numpy as np
    import torch
    from torch import nn

    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.space import Choices, FloatRange
    from seedbed_sdk.trainer import Architecture, Blueprint

    means = torch.tensor([f.mean for f in block.inputs[0].numeric], dtype=torch.float32)
    stds = torch.tensor(np.array([f.std for f in block.inputs[0].numeric]), dtype=torch.float32)

    class Network(nn.Module):
        def __init__(self, dropout: float) -> None:
            super().__init__()
            first = nn.Linear(len(means), 64), nn.ReLU(), nn.Dropout(dropout)
            second = nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropout)
            self.layers = nn.Sequential(*first, *second, nn.Linear(64, block.target.output_size))

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            logits: torch.Tensor = self.layers((batch["numeric"] - means) / stds)
            return logits

    def build(blueprint: Blueprint) -> Learner:
        torch.manual_seed(blueprint.seed)
        config = LearnerConfig(
            EPOCHS,
            blueprint.parameters["learning_rate"],
            weight_decay=blueprint.parameters["weight_decay"],
            batch_size=64,
        )
        network = Network(blueprint.parameters["dropout"])
        return Learner(network, blueprint.block, config, seed=blueprint.seed)

    return Architecture(
        "network",
        "Two hidden layers.",
        ("tabular",),
        ("category",),
        build,
        {
            "learning_rate": FloatRange(1e-5, 1.0, log=True),
            "weight_decay": FloatRange(1e-4, 1.0, log=True),
            "dropout": FloatRange(0.0, 0.6),
            "epochs": Choices((EPOCHS,)),
        },
        [{"learning_rate": 3e-3, "weight_decay": 0.01, "dropout": 0.1, "epochs": EPOCHS}],
    )
