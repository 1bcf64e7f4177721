"""A trial on its way from its settings to a trained model, or to the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.trainer import (
    BatchableTrainer,
    ContinuingTrainer,
    Data,
    Diverged,
    Interrupted,
    Trainer,
)
from seedbed_server.jobs.values import Trial
from seedbed_server.search.run import TrialRun
from seedbed_server.search.study import Proposal

if TYPE_CHECKING:
    from seedbed_sdk.learner import Learner

log = structlog.get_logger()

CUT_SHORT = "interrupted: "
"""How the reason of a trial begins that had no time to finish anything."""


@dataclass
class Attempt:
    """One trial while it is trained.

    `trial` is as it was before, `again` says that it goes on from the `checkpoint`. After
    `prepare`, `learner` is what is left to train, on `data`, where the trainer leaves that to one.
    `seconds` is what was worked on it; `reason` why it has failed.
    """

    proposal: Proposal
    trial: Trial
    make_run: Callable[[], TrialRun]
    build: Callable[[], Trainer]
    data: Data
    device: str = "cpu"
    checkpoint: Path | None = None
    trainer: Trainer | None = None
    learner: Learner | None = None
    seconds: float = 0.0
    reason: str = ""
    run: TrialRun = field(init=False)

    def __post_init__(self) -> None:
        self.run = self.make_run()
        self._whole = self.data

    @property
    def again(self) -> bool:
        """Whether it goes on."""
        return self.checkpoint is not None

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
            self.reason = "the model reported no score"
        self.run.flush()

    def start_over(self) -> None:
        """Forgets what was trained."""
        self.run.flush()
        self.run = self.make_run()
        self.prepare()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts the time, and makes of what is raised the reason of a failure."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a plugin's model may raise anything
            self._fail(error)
        finally:
            self.seconds += time.monotonic() - began

    def _fail(self, error: Exception) -> None:
        self.trainer = self.learner = None
        if isinstance(error, Diverged):
            self.reason = f"diverged: {error}"
        elif isinstance(error, Interrupted):
            self.reason = f"{CUT_SHORT}{error}"
        elif is_out_of_memory(error):
            here = isinstance(error, MemoryError)
            self.reason = "out of memory" if here else f"out of memory on {self.device}"
        elif isinstance(error, SeedbedError) and error.code == "ABORTED":
            raise error
        else:
            log.error("trial_failed", trial=self.proposal.number, exc_info=error)
            self.reason = f"crashed: {type(error).__name__}: {error}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory is short."""
    import torch

    kinds = MemoryError, torch.OutOfMemoryError
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
