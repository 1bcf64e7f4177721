"""What of a trial depended on the clock or on other trials, so that it can be run again to the same
weights on the same machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.metrics import Metric
from seedbed_sdk.trainer import SHARED, EpochReport, UnlimitedRun, Verdict

FOUND_RATE = "found learning rate"
"""The name under which a recipe notes what a range test has suggested."""

Decisions = dict[tuple[str, int], float]


@dataclass
class Recorder:
    """Notes it while a trial runs.

    `samples_left` are the training items that the budget left it at its beginning. `stopped` is the
    first question whether to stop that was answered with yes: after how many reports, and the
    how-manieth since then. `told_to_stop` says that the answer to the last report was to stop.
    `company` are the numbers of the trials that it was trained together with, its own among them,
    since the bits depend on all of them; `left` is after how many reports it paused and, later,
    went on alone.
    """

    samples_left: float = math.inf
    reports: int = 0
    asked: int = 0
    stopped: tuple[int, int] | None = None
    told_to_stop: bool = False
    decisions: Decisions = field(default_factory=dict)
    company: tuple[int, ...] = ()
    left: int | None = None

    def reported(self, *, stop: bool) -> None:
        """A report was answered."""
        self.reports += 1
        self.asked = 0
        self.told_to_stop = stop

    def should_stop(self, answer: bool) -> bool:
        """The answer, noted."""
        self.asked += 1
        if answer and self.stopped is None:
            self.stopped = self.reports, self.asked
        return answer

    def decide(self, name: str, at: int, unchanged: float, measure: Callable[[], float]) -> float:
        """As `seedbed_sdk.trainer.Run.decide`, while a trial runs for the first time."""
        value = measure()
        if value != unchanged:
            self.decisions[name, at] = value
        return value

    def go_on(self) -> None:
        """The trial goes on after a pause, as if it had not been told to stop."""
        self.stopped, self.told_to_stop = None, False
        if self.company and self.left is None:
            self.left = self.reports

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "samples_left": None if math.isinf(self.samples_left) else self.samples_left,
            "reports": self.reports,
            "stopped": list(self.stopped) if self.stopped else None,
            "told_to_stop": self.told_to_stop,
            "decisions": [[name, at, value] for (name, at), value in self.decisions.items()],
            "company": list(self.company),
            "left": self.left,
        }

    @classmethod
    def from_dict(cls, recipe: Mapping[str, Any]) -> Recorder:
        """The reverse of `to_dict`."""
        left, stopped = recipe["samples_left"], recipe["stopped"]
        return cls(
            samples_left=math.inf if left is None else left,
            reports=recipe["reports"],
            stopped=(stopped[0], stopped[1]) if stopped else None,
            told_to_stop=recipe["told_to_stop"],
            decisions={(name, at): value for name, at, value in recipe["decisions"]},
            company=company_of(recipe),
            left=recipe.get("left"),
        )


def company_of(recipe: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers of the trials that a trial was trained together with, its own among them; none
    where it was alone."""
    return tuple(recipe.get("company", ()))


def found_rate(recipe: Mapping[str, Any]) -> float | None:
    """The learning rate that a range test before the trial has suggested, if there was one."""
    rates = (v for name, _, v in recipe.get("decisions", ()) if name == FOUND_RATE)
    return next(rates, None)


def shared_decisions(recipes: Iterable[Mapping[str, Any]]) -> Decisions:
    """The decisions that hold for all trials of a job: of each the first, by the trials' recipes in
    their order."""
    found: Decisions = {}
    for recipe in recipes:
        for name, at, value in recipe.get("decisions", ()):
            if name.startswith(SHARED):
                found.setdefault((name, at), value)
    return found


class ReplayRun(UnlimitedRun):
    """Implements `seedbed_sdk.trainer.Run` for a trial that is run again by its recipe.

    `shared` are the decisions that hold for all trials of the job. Time is no limit here. Where the
    trial left the company of others, the run pauses; `goes_on` then says whether to call `fit` once
    more. `watch` is called with each report and its score; what it raises ends the run.
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        shared: Decisions,
        metric: Metric,
        target: Array,
        watch: Callable[[EpochReport, float], None] = lambda report, score: None,  # noqa: ARG005
    ) -> None:
        self.recipe = Recorder.from_dict(recipe)
        own = {k: v for k, v in self.recipe.decisions.items() if not k[0].startswith(SHARED)}
        self.decisions = {**shared, **own}
        self.metric = metric
        self.target = target
        self.watch = watch
        self.scores: list[float] = []
        self.best_score: float | None = None
        self.best_outputs: Array | None = None
        self.best_epoch = 0
        self._seen = Recorder()

    def report(self, report: EpochReport) -> Verdict:
        """Scores the epoch; says to stop where the trial was told to then."""
        score = self.metric.compute(self.target, report.valid_outputs)
        best = self.best_score is None or self.metric.better(score, self.best_score)
        if best:
            self.best_score = score
            self.best_outputs = report.valid_outputs
            self.best_epoch = report.epoch
        self.scores.append(score)
        self.watch(report, score)
        self._seen.reported(stop=False)
        if self._seen.reports == self.recipe.left:
            return Verdict(best, stop=True, pause=True)
        last = self._seen.reports >= self.recipe.reports
        return Verdict(best, stop=last and self.recipe.told_to_stop)

    @property
    def goes_on(self) -> bool:
        """Whether the trial, which has left its company, went on alone."""
        return self._seen.reports == self.recipe.left and self._seen.reports < self.recipe.reports

    def should_stop(self) -> bool:
        """Whether the answer to this very question was yes."""
        self._seen.asked += 1
        stopped = self.recipe.stopped
        return stopped is not None and (self._seen.reports, self._seen.asked) >= stopped

    def samples_left(self) -> float:
        """What the budget had left, less what has been passed since."""
        return self.recipe.samples_left

    def decide(
        self,
        name: str,
        at: int,
        unchanged: float,
        measure: Callable[[], float],  # noqa: ARG002
    ) -> float:
        """What was decided then."""
        return self.decisions.get((name, at), unchanged)
