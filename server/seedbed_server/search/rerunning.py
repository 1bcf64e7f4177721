"""Trials run again by what was written down of them, alone or in the company they were in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seedbed_sdk.errors import FailedPrecondition, SeedbedError
from seedbed_sdk.trainer import (
    BatchableTrainer,
    Blueprint,
    Data,
    Diverged,
    EpochReport,
    Interrupted,
    Trainer,
)
from seedbed_server.jobs.values import Trial
from seedbed_server.search.loop import Search
from seedbed_server.search.recipes import ReplayRun, company_of, shared_decisions

if TYPE_CHECKING:
    from seedbed_sdk.learner import Learner

Tell = Callable[[EpochReport, float], None]
"""Takes a report and its score."""


class Stopped(Exception):
    """The user asked the job to end."""


def _nobody(report: EpochReport, score: float) -> None:
    """Takes no notice."""


@dataclass
class _Again:
    """A trial that is run again; `learner` and `data` are there where it has company."""

    trial: Trial
    trainer: Trainer
    run: ReplayRun
    tell: Tell
    learner: Learner | None = None
    data: Data | None = None
    outcome: Diverged | Interrupted | None = None


class Reruns:
    """Runs trials again; `trials` are all of the job that they belong to. Trials that were trained
    together are so again, once."""

    def __init__(self, search: Search, trials: Sequence[Trial]) -> None:
        self._search = search
        self._trials = {trial.number: trial for trial in trials}
        self._together: dict[int, _Again] = {}

    def run(self, trial: Trial, tell: Tell = _nobody) -> tuple[Trainer, ReplayRun]:
        """The model of a trial, trained again. Raises Stopped where the user asked for that, and
        SeedbedError where there is no model."""
        if company_of(trial.recipe):
            again = self._in_company(trial, tell)
        else:
            again = self._begun(trial, tell)
            try:
                again.trainer.fit(self._search.data, again.run)
            except (Diverged, Interrupted) as error:
                again.outcome = error
        if again.outcome is not None:
            raise SeedbedError(
                f"trial {trial.number} ({trial.architecture}) did not come to its end: "
                f"{again.outcome}",
                reason="REPLAY_FAILED",
            ) from again.outcome
        return again.trainer, again.run

    def _begun(self, trial: Trial, tell: Tell) -> _Again:
        search = self._search
        if trial.architecture not in search.space.architectures:
            raise FailedPrecondition(
                f"the model needs the architecture {trial.architecture!r}, which is not installed "
                "or does not fit this machine",
                reason="ARCHITECTURE_NOT_INSTALLED",
            )
        # What later trials decided is not for this one.
        before = [number for number in sorted(self._trials) if number <= trial.number]
        shared = shared_decisions(self._trials[number].recipe for number in reversed(before))

        def watch(report: EpochReport, score: float) -> None:
            if search.control.stop_requested():
                raise Stopped
            again.tell(report, score)

        run = ReplayRun(trial.recipe, shared, search.metric, search.data.valid.target, watch)
        seed = search.trial_seed(trial.number)
        blueprint = Blueprint(search.block, dict(trial.parameters), search.hardware, seed)
        trainer = search.space.architectures[trial.architecture].build(blueprint)
        again = _Again(trial, trainer, run, tell)
        return again

    def _in_company(self, trial: Trial, tell: Tell) -> _Again:
        if trial.number not in self._together:
            self._train_together(trial, tell)
        again = self._together[trial.number]
        again.tell = tell
        if again.outcome is None and again.run.goes_on:
            assert again.learner is not None and again.data is not None
            try:
                again.learner.fit(again.data, again.run)
            except (Diverged, Interrupted) as error:
                again.outcome = error
        return again

    def _train_together(self, trial: Trial, tell: Tell) -> None:
        """Trains a trial and its company, as they were."""
        from seedbed_sdk.batched import BatchedLearner

        numbers = company_of(trial.recipe)
        if missing := [number for number in numbers if number not in self._trials]:
            raise FailedPrecondition(
                f"trial {trial.number} was trained together with the trials {list(numbers)}, of "
                f"which {missing} are not there; it cannot be trained again",
                reason="NO_RECIPE",
            )
        members = [
            self._begun(self._trials[number], tell if number == trial.number else _nobody)
            for number in numbers
        ]
        learners, data = [], self._search.data
        for again in members:
            if not isinstance(again.trainer, BatchableTrainer):
                raise FailedPrecondition(
                    f"{again.trial.architecture} is installed in a version that does not train "
                    "several trials together, as it did for this model",
                    reason="NO_RECIPE",
                )
            again.learner, again.data = again.trainer.learner_for(self._search.data, again.run)
            learners.append(again.learner)
            data = again.data
        outcomes = BatchedLearner(learners).fit(data, [again.run for again in members])
        for again, outcome in zip(members, outcomes, strict=True):
            again.outcome = outcome
            self._together[again.trial.number] = again
