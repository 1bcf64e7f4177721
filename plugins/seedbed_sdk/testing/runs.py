"""A trial's line to nowhere: for training outside a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.metrics import Metric
from seedbed_sdk.trainer import EpochReport, UnlimitedRun, Verdict


@dataclass
class RecordingRun(UnlimitedRun):
    """Implements `seedbed_sdk.trainer.Run`: scores and keeps every report.

    `stop_after` ends the run after so many reports; `seconds` and `samples` are what is left
    throughout.
    """

    metric: Metric
    target: Array
    stop_after: int | None = None
    seconds: float = math.inf
    samples: float = math.inf
    reports: list[EpochReport] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def best_score(self) -> float:
        """The best score reported; NaN where there is none."""
        best = math.nan
        for score in self.scores:
            best = score if self.metric.better(score, best) else best
        return best

    def report(self, report: EpochReport) -> Verdict:
        """Scores and keeps the report."""
        score = self.metric.compute(self.target, report.valid_outputs)
        best = self.metric.better(score, self.best_score)
        self.reports.append(report)
        self.scores.append(score)
        return Verdict(best, self.should_stop())

    def should_stop(self) -> bool:
        """Whether as many reports came as were wanted."""
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    def seconds_left(self) -> float:
        """What was given."""
        return self.seconds

    def samples_left(self) -> float:
        """What was given."""
        return self.samples

    def log(self, message: str) -> None:
        """Keeps the message."""
        self.messages.append(message)
