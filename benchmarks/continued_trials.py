"""How many sample passes a search takes whose trials go on where they paused, against the same
search whose trials begin again each time they are promoted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.measure import Case, compare

NAME = "continued_trials"
TRIALS = 30


def run(rounds: int) -> Iterator[Case]:
    """One case for each data set."""
    for name, sample, target, architecture in (
        ("breast_cancer", "breast_cancer", "target", "tabm"),
        ("wine", "wine", "target", "tabm"),
    ):
        done, scores = [], []
        for seed in range(rounds):
            ours, theirs = (
                _search(sample, target, architecture, seed, continues=continues)
                for continues in (True, False)
            )
            assert ours.score == theirs.score, "the searches decide alike"
            done.append((ours.samples, theirs.samples))
            scores.append(ours.score)
        yield compare(
            NAME,
            f"{name}, {TRIALS} trials of {architecture}: sample passes to the same validation "
            f"score ({', '.join(f'{score:.4f}' for score in scores)}); theirs: promoted trials "
            "begin again",
            done,
            unit="sample passes",
            limit="required: at most half, which is a ratio of 2",
        )


@dataclass(frozen=True)
class _Result:
    score: float
    samples: float


class _Nobody:
    """Takes the place of the job's rows and of the user, who says nothing."""

    def __getattr__(self, name: str) -> Any:
        def nothing(*_: Any, **__: Any) -> bool:
            return False

        return nothing


def _search(sample: str, target: str, architecture: str, seed: int, *, continues: bool) -> _Result:
    from seedbed_sdk.registry import load
    from seedbed_sdk.space import Choices
    from seedbed_sdk.trainer import Data, Hardware
    from seedbed_server.data.samples import load_sample
    from seedbed_server.jobs.values import Budget, Job, Trial
    from seedbed_server.search.budget import Spending
    from seedbed_server.search.check import make_plan
    from seedbed_server.search.loop import Search
    from seedbed_server.search.paused import PausedTrials
    from seedbed_server.search.study import Study

    class RestartingSearch(Search):
        """Counts what a promoted trial would pass that begins again: it would come to the same
        weights, so that it need not be done."""

        def _go_on(
            self, study: Study, paused: PausedTrials, trial: Trial, *, may_pause: bool
        ) -> None:
            before = self.spending.samples
            super()._go_on(study, paused, trial, may_pause=may_pause)
            if self.spending.samples > before:
                self.spending.samples += trial.samples

    registry = load()
    dataset = load_sample(sample, "dataset", registry.samples)
    plan = make_plan(
        registry,
        dataset,
        task_name="tabular",
        target=target,
        options={},
        metric_name="log_loss",
        search_space={"architecture": Choices((architecture,))},
        hardware=Hardware(),
    )
    prepared = plan.block.prepare(seed)
    now = datetime.now(UTC)
    job = Job("benchmark", "default", "tabular", sample, Budget(trials=TRIALS), now, now, seed=seed)
    nobody = _Nobody()
    with tempfile.TemporaryDirectory() as folder:
        search = (Search if continues else RestartingSearch)(
            job=job,
            block=plan.block,
            data=Data(prepared.train, prepared.valid),
            space=plan.space,
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
    return _Result(score, float(search.spending.samples))
