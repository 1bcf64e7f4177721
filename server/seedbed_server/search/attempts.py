"""A trial on its way from its settings to a trained model, or to the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from seedbed_sdk.trainer import (
    BatchableTrainer,
    ContinuingTrainer,
    Data,
    Diverged,
    Hardware,
    Interrupted,
    Trainer,
)
from seedbed_server.jobs.values import OUT_OF_MEMORY, Trial
from seedbed_server.search.faults import (
    CRASHED,
    NO_FAULT,
    Fault,
    after_out_of_memory,
    fault_of,
    is_for_the_job,
    spare_descriptors,
    too_many_files,
)
from seedbed_server.search.run import TrialRun
from seedbed_server.search.study import Proposal

if TYPE_CHECKING:
    from seedbed_sdk.learner import Learner

log = structlog.get_logger()


@dataclass
class Attempt:
    """One trial while it is trained.

    `trial` is as it was before, `again` says that it goes on from the `checkpoint`. After
    `prepare`, `learner` is what is left to train, on `data`, where the trainer leaves that to one.
    `seconds` is what was worked on it; `fault` why it has failed, if its reason is not empty.
    """

    proposal: Proposal
    trial: Trial
    make_run: Callable[[], TrialRun]
    build: Callable[[], Trainer]
    data: Data
    hardware: Hardware
    checkpoint: Path | None = None
    trainer: Trainer | None = None
    learner: Learner | None = None
    seconds: float = 0.0
    fault: Fault = NO_FAULT
    run: TrialRun = field(init=False)

    def __post_init__(self) -> None:
        self.run = self.make_run()
        self._whole = self.data

    @property
    def again(self) -> bool:
        """Whether it goes on."""
        return self.checkpoint is not None

    @property
    def reason(self) -> str:
        """Why it has failed; empty where it has not."""
        return self.fault.reason

    def prepare(self) -> None:
        """Does what comes before the training, such as computing features."""
        with self.working():
            self.trainer = self.build()
            if self.checkpoint is not None:
                assert isinstance(self.trainer, ContinuingTrainer)
                self.trainer.load_checkpoint(self.checkpoint)
            if isinstance(self.trainer, BatchableTrainer):
                self.learner, self.data = self.trainer.learner_for(self._whole, self.run)

    def train(self) -> None:
        """Trains it by itself."""
        with self.working():
            trainer = self.learner or self.trainer
            assert trainer is not None
            trainer.fit(self.data, self.run)
        self.end()

    def end(self, error: Diverged | Interrupted | None = None) -> None:
        """Notes how the training went."""
        if error is not None:
            self._fail(error)
        elif not self.reason and self.run.best_score is None:
            self.fault = Fault("the model reported no score")
        self.fault = replace(self.fault, spoils=self.fault.spoils or too_many_files())
        self.run.flush()

    def start_over(self) -> None:
        """Forgets what was trained."""
        self.run.flush()
        self.run = self.make_run()
        self.fault = NO_FAULT
        self.prepare()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts the time, and makes of what is raised the reason of a failure."""
        began = time.monotonic()
        try:
            with spare_descriptors(), bound_contextvars(trial=self.proposal.number):
                yield
        except BaseException as error:  # a plugin's model may raise anything, SystemExit too
            if is_for_the_job(error):
                raise
            self._fail(error)
        finally:
            self.seconds += time.monotonic() - began
        if self.reason.startswith(OUT_OF_MEMORY):
            after_out_of_memory()

    def _fail(self, error: BaseException) -> None:
        self.trainer = self.learner = None
        self.fault = fault_of(error, self.hardware)
        if self.reason.startswith(CRASHED):
            log.error("trial_failed", trial=self.proposal.number, exc_info=error)
