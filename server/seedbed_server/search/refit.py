"""The chosen model once more, on training and validation items together."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Refit:
    """A trained model and the hyperparameters it was trained with."""

    trainer: Trainer
    parameters: Parameters


class _WholeRun(UnlimitedRun):
    """Implements `seedbed_sdk.trainer.Run` for a run that goes to its end: the last epoch counts,
    since the validation items are trained on."""

    def report(self, report: EpochReport) -> Verdict:  # noqa: ARG002
        return Verdict(best=True, stop=False)


def refit(search: Search, best: Candidate) -> Refit | None:
    """Trains the best trial's settings for its best number of epochs on all items but the test
    split's. None where the architecture does not ask for it, where the data is so large that a few
    more items change nothing, or where the time left does not allow it."""
    architecture = search.space.architectures[best.trial.architecture]
    if not architecture.refits or not best.best_epoch:
        return None
    if len(search.data.train) > architecture.refit_items:
        return None
    if not search.spending.has_time_to_refit(best.trial.seconds):
        return None
    parameters = dict(best.trial.parameters)
    if "epochs" in parameters:
        parameters["epochs"] = best.best_epoch
    return Refit(train_on_all(search, best.trial, parameters), parameters)


def train_on_all(search: Search, trial: Trial, parameters: Parameters) -> Trainer:
    """A model with a trial's architecture and randomness and these hyperparameters, trained to its
    end on training and validation items together."""
    train, valid = search.data.train, search.data.valid
    blueprint = Blueprint(
        search.block, parameters, search.hardware, search.trial_seed(trial.number)
    )
    trainer = search.space.architectures[trial.architecture].build(blueprint)
    trainer.fit(Data(search.block.joined(train, valid), valid), _WholeRun())
    return trainer
