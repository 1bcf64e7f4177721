"""A trial's line to the search: takes its reports, tells it when to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.metrics import Metric
from seedbed_sdk.outputs import check_outputs
from seedbed_sdk.range_test import RangeTest
from seedbed_sdk.trainer import EpochReport, Verdict
from seedbed_server.jobs.values import EpochFinished, Trial, TrialState
from seedbed_server.search.budget import Spending, reaches
from seedbed_server.search.recipes import FOUND_RATE, Recorder
from seedbed_server.search.rungs import rung_of
from seedbed_server.search.study import Proposal, Study

if TYPE_CHECKING:
    from seedbed_server.executors import Control
    from seedbed_server.jobs.session import JobSession

FLUSH_SECONDS = 0.2
SIGN_OF_LIFE_SECONDS = 5.0
# What a trial that may overrun the budget is told it has.
HURRIED_SECONDS = 3.0
# Of the budget, for a learning rate range test.
RATE_SHARE = 0.02


class Outbox:
    """The epochs of running trials that are not written yet; they are written five times a
    second."""

    def __init__(self, session: JobSession, *, at_once: bool = False) -> None:
        self._session = session
        self._unsent: list[EpochFinished] = []
        self._sent_at = 0.0 if at_once else time.monotonic()

    def put(self, epoch: EpochFinished) -> bool:
        """Takes an epoch, writes it with the others when it is time, and says whether it was."""
        self._unsent.append(epoch)
        return time.monotonic() - self._sent_at >= FLUSH_SECONDS and self.flush()

    def flush(self) -> bool:
        """Writes them, and says whether there were any."""
        if not self._unsent:
            return False
        self._session.report_epochs(self._unsent)
        self._unsent = []
        self._sent_at = time.monotonic()
        return True


class TrialRun:
    """Implements `seedbed_sdk.trainer.Run` for one trial of a search, which may go on where it had
    paused: `earlier` is the trial as it was then. With `to_its_end` it is told to hurry, and not to
    stop before its first report, however much of the budget is used. With `finds_rate` a learning
    rate range test comes first, where it takes at most 2 % of the budget. `company` are the runs of
    the trials that it is trained together with, itself among them; when one has the target score,
    all end."""

    def __init__(
        self,
        proposal: Proposal,
        *,
        study: Study,
        metric: Metric,
        block: DataBlock,
        target: Array,
        spending: Spending,
        session: JobSession,
        control: Control,
        prunable: bool,
        announce: Callable[[str], None],
        earlier: Trial | None = None,
        to_its_end: bool = False,
        finds_rate: bool = False,
    ) -> None:
        self.proposal = proposal
        self.study = study
        self.metric = metric
        self.block = block
        self.target = target
        self.spending = spending
        self.session = session
        self.control = control
        self.prunable = prunable
        self.announce = announce
        self.to_its_end = to_its_end
        self.finds_rate = finds_rate
        self._began = time.monotonic()
        self._told_at = self._began
        self._said = "at work"
        self.scores: list[float] = []
        self.best_score: float | None = None
        self.best_outputs: Array | None = None
        self.best_epoch = 0
        self.item_seconds = 0.0
        self.samples = 0
        self.epochs = 0.0
        self.samples_before = 0
        self.state = TrialState.COMPLETE
        self.outbox = Outbox(session, at_once=proposal.number == 0)
        self.company: Sequence[TrialRun] = ()
        self.rung = 0
        self.recorder = Recorder(samples_left=spending.samples_left())
        if earlier is not None:
            self.scores = list(earlier.epoch_scores)
            self.best_score = earlier.validation_score
            self.samples = self.samples_before = earlier.samples
            self.epochs = earlier.epochs
            self.recorder = Recorder.from_dict(earlier.recipe)
            self.recorder.go_on()

    def report(self, report: EpochReport) -> Verdict:
        """Scores the epoch, writes it down and decides whether the trial goes on.

        Raises Diverged and UnusableOutputs as `check_outputs` does.
        """
        check_outputs(self.block.target, report.valid_outputs, len(self.target))
        score = self.metric.compute(self.target, report.valid_outputs)
        self.scores.append(score)
        self.samples = report.samples
        self.epochs = report.epoch
        count = max(1, len(self.target))
        self.item_seconds = report.predict_seconds / count
        self.spending.trial_item_seconds = max(self.spending.trial_item_seconds, self.item_seconds)
        best = self.best_score is None or self.metric.better(score, self.best_score)
        if best:
            self.best_score = score
            self.best_outputs = report.valid_outputs
            self.best_epoch = report.epoch
        self._send(report, score)
        ends = self._ends(report)
        self.recorder.reported(stop=ends)
        return Verdict(best, stop=ends, pause=ends and self.state is TrialState.PRUNED)

    def should_stop(self) -> bool:
        """Whether the budget is used, or the user asked. Being asked is a sign of life, which is
        passed on where there was no other for long."""
        if time.monotonic() - self._told_at >= SIGN_OF_LIFE_SECONDS:
            self.announce(self._said)
            self._told_at = time.monotonic()
        return self.recorder.should_stop(self._is_over())

    def decide(self, name: str, at: int, unchanged: float, measure: Callable[[], float]) -> float:
        """What is measured, noted in the trial's recipe."""
        return self.recorder.decide(name, at, unchanged, measure)

    def _is_over(self) -> bool:
        if self.control.stop_requested():
            return True
        if self.to_its_end and not self.scores:
            return False
        if self.seconds_left() <= 0:
            return True
        return any(other.has_target_score() for other in self.company)

    def has_target_score(self) -> bool:
        """Whether its best score is as good as the one that was asked for."""
        return reaches(self.spending.budget.target_score, self.metric, self.best_score)

    def seconds_left(self) -> float:
        """Seconds the trial may still use."""
        if self.to_its_end:
            return self._began + HURRIED_SECONDS - time.monotonic()
        return self.spending.seconds_left()

    def samples_left(self) -> float:
        """Training items the trial may still pass."""
        return self.spending.samples_left() - (self.samples - self.samples_before)

    def find_rate(self, cost: int, test: Callable[[float], RangeTest]) -> None:
        """Notes what the range test suggests in the recipe, where it is wanted and cheap enough.
        What it passes counts for the job."""
        budget = self.spending.budget
        if not self.finds_rate or cost > RATE_SHARE * (budget.samples or math.inf):
            return
        found = test(RATE_SHARE * (budget.wall_clock_seconds or math.inf))
        self.spending.samples += found.samples
        if (rate := found.suggested) is not None:
            self.recorder.decide(FOUND_RATE, 0, math.nan, lambda: rate)

    def log(self, message: str) -> None:
        """Tells what is being done now."""
        self._said = message
        self.announce(message)

    def flush(self) -> None:
        """Writes the epochs that are not written yet."""
        if self.outbox.flush():
            self._told_at = time.monotonic()

    def _send(self, report: EpochReport, score: float) -> None:
        epoch = EpochFinished(
            trial=self.proposal.number,
            epoch=report.epoch,
            epochs=report.epochs,
            validation_score=score,
            samples=report.samples,
            train_loss=report.train_loss,
        )
        if self.outbox.put(epoch):
            self._told_at = time.monotonic()

    def _ends(self, report: EpochReport) -> bool:
        if self._is_over() or self.samples_left() <= 0:
            return True
        if self.has_target_score():
            return True
        rung = rung_of(report.epoch, report.epochs)
        if self.prunable and rung > self.rung and report.epoch < report.epochs:
            self.rung = rung
            assert self.best_score is not None
            if not self.study.rung_score(self.proposal, rung, self.best_score):
                self.state = TrialState.PRUNED
                return True
        return False
