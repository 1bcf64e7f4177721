"""Searches whose trials are trained side by side where that is faster, against the same searches
one trial after the other. In the process, on one thread; the time is the processor's, which other
work on the machine disturbs less than the clock's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.measure import Case, compare
from benchmarks.nobody import Nobody

NAME = "trials_together"
SMALL = {"members": 4, "width": 32, "depth": 1, "batch_size": 256, "epochs": 6}


@dataclass(frozen=True, slots=True)
class _Problem:
    sample: str
    task: str
    metric: str
    architecture: str
    trials: int
    fixed: Mapping[str, Any]
    limit: str

    @property
    def about(self) -> str:
        fixed = "".join(f", {name} {value}" for name, value in self.fixed.items())
        return f"{self.sample}, {self.trials} trials of {self.architecture}{fixed}"


PROBLEMS = (
    _Problem(
        "breast_cancer", "tabular", "log_loss", "tabm", 26, SMALL, "required: ratio at least 1"
    ),
    _Problem(
        "wine",
        "tabular",
        "log_loss",
        "tabm",
        40,
        {"epochs": 6},
        "required: ratio about 1, since shapes are seldom alike",
    ),
    _Problem(
        "digits",
        "image_classification",
        "log_loss",
        "frozen_backbone",
        18,
        {"resolution": 64, "flip": False, "epochs": 20},
        "required: ratio about 1, since the rule says that it gains nothing",
    ),
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    speed: float
    best: float
    together: int


def run(rounds: int) -> Iterator[Case]:
    """Two cases for each problem."""
    import torch

    torch.set_num_threads(1)
    for problem in PROBLEMS:
        _search(problem, 0, most=1, trials=2)
        done = []
        for seed in range(rounds):
            order = (8, 1) if seed % 2 else (1, 8)
            found = {most: _search(problem, seed, most=most) for most in order}
            done.append((found[8], found[1]))
        together = ", ".join(str(ours.together) for ours, _ in done)
        yield compare(
            NAME,
            f"{problem.about}; theirs: one after the other; trained together by seed: {together}",
            [(ours.speed, theirs.speed) for ours, theirs in done],
            unit="trials/min",
            limit=problem.limit,
            higher_is_better=True,
        )
        yield compare(
            NAME,
            f"{problem.about}; best {problem.metric}",
            [(ours.best, theirs.best) for ours, theirs in done],
            unit=problem.metric,
            limit="required: the same, ratio about 1",
        )


def _search(problem: _Problem, seed: int, *, most: int, trials: int = 0) -> _Outcome:
    """With up to `most` trials at a time; of so many `trials`, 0 for the problem's own."""
    from seedbed_sdk.registry import load
    from seedbed_sdk.space import Choices
    from seedbed_sdk.trainer import Data, Hardware
    from seedbed_server.data.samples import load_sample
    from seedbed_server.jobs.values import Budget, Job, Trial
    from seedbed_server.search.budget import Spending
    from seedbed_server.search.check import make_plan
    from seedbed_server.search.loop import Search
    from seedbed_server.search.recipes import company_of

    class Rows(Nobody):
        """Keeps the trials as they ended."""

        def __init__(self) -> None:
            self.ended: dict[int, Trial] = {}

        def finish_trial(self, trial: Trial, **_: Any) -> None:
            self.ended[trial.number] = trial

    registry = load()
    fixed = {name: Choices((value,)) for name, value in problem.fixed.items()}
    plan = make_plan(
        registry,
        load_sample(problem.sample, "dataset", registry.samples),
        task_name=problem.task,
        target="target" if problem.task == "tabular" else "",
        options={},
        metric_name=problem.metric,
        search_space={"architecture": Choices((problem.architecture,)), **fixed},
        hardware=Hardware(),
    )
    prepared = plan.block.prepare(seed)
    now, budget = datetime.now(UTC), Budget(trials=trials or problem.trials)
    job = Job("benchmark", "default", problem.task, problem.sample, budget, now, now, seed=seed)
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        search = Search(
            job=job,
            block=plan.block,
            data=Data(prepared.train, prepared.valid),
            space=plan.space,
            metric=plan.metric,
            hardware=Hardware(),
            spending=Spending(job.budget, time.monotonic()),
            session=cast(Any, rows),
            control=cast(Any, Nobody()),
            folder=Path(folder) / "jobs" / "benchmark",
        )
        search.company.most = most
        began = time.process_time()
        search.run([])
        seconds = time.process_time() - began
    assert search.best is not None
    together = [trial for trial in rows.ended.values() if company_of(trial.recipe)]
    return _Outcome(60 * len(rows.ended) / seconds, search.best.score, len(together))
