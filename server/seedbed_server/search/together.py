"""Trials of a search that are trained side by side as one network, where that is faster."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.out_of_memory import is_out_of_memory
from seedbed_server.jobs.values import WORKER_DIED, Trial
from seedbed_server.search.attempts import Attempt
from seedbed_server.search.faults import after_out_of_memory
from seedbed_server.search.study import Proposal, Study

if TYPE_CHECKING:
    from seedbed_server.search.budget import Spending

log = structlog.get_logger()

MOST = 8
"""Trials at a time: with more the sampler would learn too seldom how they went."""
SHARE_OF_TIME = 0.25
"""Of the time left, that as many trials one by one may take."""
MOST_IN_VAIN = 0.5
"""Seconds of a job, after which it is not measured again whether an architecture gains."""


@dataclass
class Company:
    """Says how many trials are begun at a time, and trains them together.

    That depends on the clock only where the budget has one; else the same settings give the same
    trials. `tell` takes what a user may want to know; `most` is how many there may be.
    """

    spending: Spending
    tell: Callable[[str], None]
    most: int = MOST
    _failed: set[str] = field(default_factory=set)
    _in_vain: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def restore(self, earlier: Sequence[Trial]) -> None:
        """Takes note of the trials in which an earlier worker died: it may have been for want of
        memory, so that others like them are trained one by one."""
        self._failed |= {t.architecture for t in earlier if t.reason.startswith(WORKER_DIED)}

    def size(self, first: Attempt, study: Study, trial_seconds: float | None) -> int:
        """How many trials like this one, which is prepared, to train with it, itself included; 1 to
        train it alone. `trial_seconds` is what one of this architecture takes alone; None where
        there was none that had ended.

        All of the portfolio is tried first, and of another shape than that of the best trial one
        is enough: of many trials in few shapes the best is worse than of as many in many.
        """
        architecture = first.proposal.architecture
        if first.learner is None or first.again or trial_seconds is None:
            return 1
        if architecture in self._failed or not study.explores:
            return 1
        if not study.is_like_the_best(first.proposal):
            return 1
        if not self._affords(first, trial_seconds):
            return 1
        from seedbed_sdk.worth_batching import batch_limit

        timed = self.spending.budget.wall_clock_seconds is not None
        if timed and self._in_vain[architecture] > MOST_IN_VAIN:
            return 1
        began = time.monotonic()
        try:
            count = batch_limit(first.learner, first.data, self.most, timed=timed)
        except Exception as error:  # noqa: BLE001 - a plugin's network may raise anything
            self._give_up(architecture, error)
            return 1
        if count == 1:
            self._in_vain[architecture] += time.monotonic() - began
        return count

    def _affords(self, first: Attempt, trial_seconds: float) -> bool:
        """Whether the budget is enough for as many as there may be."""
        assert first.learner is not None
        budget, left = self.spending.budget, self.spending
        if budget.trials is not None and left.trials + self.most > budget.trials:
            return False
        if self.most * trial_seconds > SHARE_OF_TIME * left.seconds_left():
            return False
        if budget.samples is None:
            return True
        each = first.learner.config.epochs * len(first.data.train)
        return self.most * each <= left.samples_left()

    def gather(
        self, first: Attempt, count: int, study: Study, begin: Callable[[Proposal], Attempt]
    ) -> list[Attempt]:
        """`first` and up to `count` - 1 others of the same shape, prepared, by their numbers."""
        attempts = [first]
        while len(attempts) < count and (proposal := study.ask_like(first.proposal)) is not None:
            attempts.append(begin(proposal))
            attempts[-1].prepare()
        return attempts

    def train(self, attempts: Sequence[Attempt], count: int) -> None:
        """Trains those that suit the first one together with it where they are `count`, and the
        others alone. What each has failed with is in its `reason`."""
        together = [a for a in attempts if not a.reason and _suits(attempts[0], a)]
        if len(together) == count > 1 and self._train_together(together):
            return
        for attempt in attempts:
            if not attempt.reason:
                attempt.train()

    def _train_together(self, attempts: Sequence[Attempt]) -> bool:
        """Says whether that was possible; if not, they are as they were."""
        from seedbed_sdk.batched import BatchedLearner

        runs = [attempt.run for attempt in attempts]
        learners = [attempt.learner for attempt in attempts if attempt.learner is not None]
        numbers = tuple(attempt.proposal.number for attempt in attempts)
        for run in runs:
            run.recorder.company = numbers
            run.outbox = runs[0].outbox
            if self.spending.budget.target_score is not None:
                run.company = runs
        began = time.monotonic()
        try:
            outcomes = BatchedLearner(learners).fit(attempts[0].data, runs)
        except Exception as error:
            if isinstance(error, SeedbedError) and error.code == "ABORTED":
                raise
            _share_out(time.monotonic() - began, attempts)
            self._give_up(attempts[0].proposal.architecture, error)
            if is_out_of_memory(error):
                after_out_of_memory()
            for attempt in attempts:
                attempt.start_over()
            return False
        _share_out(time.monotonic() - began, attempts)
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            attempt.end(outcome)
        return True

    def _give_up(self, architecture: str, error: Exception) -> None:
        """Has all further trials of the architecture trained one by one."""
        self._failed.add(architecture)
        log.warning("not_trained_together", architecture=architecture, exc_info=error)
        self.tell(
            f"several trials of {architecture} cannot be trained together "
            f"({type(error).__name__}: {error}); they are trained one by one"
        )


def _suits(first: Attempt, other: Attempt) -> bool:
    """Whether it can be trained together with the first."""
    from seedbed_sdk.batched import hindrance, same_data

    if first.learner is None or other.learner is None:
        return False
    items = len(first.data.train)
    return (
        hindrance([first.learner, other.learner]) is None
        and same_data(first.data, other.data)
        and first.learner.batch_size_for(items) == other.learner.batch_size_for(items)
    )


def _share_out(seconds: float, attempts: Sequence[Attempt]) -> None:
    """Counts the time by the items that each has passed, by equal parts where nothing was."""
    passed = [attempt.run.samples for attempt in attempts]
    whole = sum(passed)
    for attempt, items in zip(attempts, passed, strict=True):
        attempt.seconds += seconds * (items / whole if whole else 1 / len(attempts))
