"""The chosen model once more, on training and validation items together."""

from __future__ import annotations

import time
from dataclasses import dataclass

from seedbed_sdk.space import Parameters
from seedbed_sdk.trainer import (
    Blueprint,
    Data,
    EpochReport,
    Trainer,
    UnlimitedRun,
    Verdict,
)
from seedbed_server.jobs.values import Trial
from seedbed_server.search.candidates import Candidate
from seedbed_server.search.loop import Search

# Of a search by trials, one more model for each so many of them.
TRIALS_PER_REPEAT = 5
# Seconds of a trial, since whoever stops a job waits for it to end.
MOST_AFTER_A_STOP = 1.0
# Far from the numbers of trials, which seeds are made of.
SEED_STEP = 1_000_003


@dataclass(frozen=True)
class Refit:
    """Models that differ in their seeds alone, and the hyperparameters they were trained with."""

    trainers: tuple[Trainer, ...]
    parameters: Parameters


class _WholeRun(UnlimitedRun):
    """Implements `seedbed_sdk.trainer.Run` for a run that goes to its end: the last epoch counts,
    since the validation items are trained on."""

    def report(self, report: EpochReport) -> Verdict:  # noqa: ARG002
        return Verdict(best=True, stop=False)


def refit(search: Search, best: Candidate, *, repeats: int, in_time: bool = False) -> Refit | None:
    """Trains a trial's settings on all items but the test split's, up to so many times as time
    allows. None where the architecture does not ask for it, where the data is so large that a few
    more items change nothing, or where the time left does not allow it, unless it is known to,
    which `in_time` says."""
    architecture, trial = search.space.architectures[best.trial.architecture], best.trial
    epochs = round(trial.epochs) if architecture.refit_whole else best.best_epoch
    if not search.refits(trial) or not best.best_epoch:
        return None
    seconds = search.refit_seconds(best)
    if not in_time and not search.spending.has_time_to_refit(seconds):
        return None
    if is_too_long_after_a_stop(search, best):
        return None
    parameters = dict(trial.parameters)
    if "epochs" in parameters:
        parameters["epochs"] = epochs
    trainers: list[Trainer] = []
    began = time.monotonic()
    while len(trainers) < repeats:
        trainers.append(train_on_all(search, trial, parameters, repeat=len(trainers)))
        each = (time.monotonic() - began) / len(trainers)
        if not search.spending.refits_that_fit(each, len(trainers)):
            break
    return Refit(tuple(trainers), parameters)


def is_too_long_after_a_stop(search: Search, candidate: Candidate) -> bool:
    """Whether the user has asked to stop, and would have to wait for a trial's refit."""
    return search.control.stop_requested() and search.refit_seconds(candidate) > MOST_AFTER_A_STOP


def repeats_of(search: Search, best: Candidate) -> int:
    """How many models the trial's settings should be trained to."""
    most = search.space.architectures[best.trial.architecture].refit_repeats
    if not search.block.target.averages or search.control.stop_requested():
        return 1
    if search.spending.budget.wall_clock_seconds is None:
        # By what was done, since it has to be the same each time.
        return max(1, min(most, search.spending.trials // TRIALS_PER_REPEAT))
    # What was set aside is seldom used up.
    return most * 3 // 2


def seed_of(search: Search, trial: Trial, repeat: int) -> int:
    """The starting point of the randomness of a trial's `repeat`-th model, from 0."""
    return (search.trial_seed(trial.number) + repeat * SEED_STEP) % 2**31


def train_on_all(search: Search, trial: Trial, parameters: Parameters, *, repeat: int) -> Trainer:
    """A model with a trial's architecture and these hyperparameters, trained to its end on training
    and validation items together."""
    train, valid = search.data.train, search.data.valid
    blueprint = Blueprint(search.block, parameters, search.hardware, seed_of(search, trial, repeat))
    trainer = search.space.architectures[trial.architecture].build(blueprint)
    trainer.fit(Data(search.block.joined(train, valid), valid), _WholeRun())
    return trainer
