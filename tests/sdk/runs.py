"""A trial's line to a search that only keeps what it hears."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.metrics import METRICS, Metric
from seedbed_sdk.trainer import Data, EpochReport, Verdict


@dataclass
class RecordingRun:
    """Scores each report on the validation split of `data` and keeps it.

    `metric` is a metric or its name; empty for the target's default. The trial is told to stop
    after `max_epochs` reports, and when `seconds` have passed since the run was made or `stop` was
    called.
    """

    metric: Metric | str
    block: DataBlock
    data: Data
    max_epochs: int | None = None
    seconds: float = math.inf
    samples: float = math.inf
    reports: list[EpochReport] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    best: float = math.nan
    stopped: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.metric, str):
            self.metric = METRICS[self.metric or self.block.target.default_metric]
        self.began = time.monotonic()

    def report(self, report: EpochReport) -> Verdict:
        assert isinstance(self.metric, Metric)
        score = self.metric.compute(self.data.valid.target, report.valid_outputs)
        self.reports.append(report)
        self.scores.append(score)
        best = len(self.scores) == 1 or self.metric.better(score, self.best)
        if best:
            self.best = score
        enough = self.max_epochs is not None and len(self.reports) >= self.max_epochs
        return Verdict(best=best, stop=enough or self.should_stop())

    def stop(self) -> None:
        """Asks the trial to end."""
        self.stopped = True

    def should_stop(self) -> bool:
        return self.stopped or self.seconds_left() <= 0 or self.samples_left() <= 0

    def seconds_left(self) -> float:
        return self.seconds - (time.monotonic() - self.began)

    def samples_left(self) -> float:
        return self.samples - (self.reports[-1].samples if self.reports else 0)

    def log(self, message: str) -> None:
        self.messages.append(message)
