"""The search loop: ask, train, write down, tell; until a limit is reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.metrics import Metric
from seedbed_sdk.trainer import Blueprint, ContinuingTrainer, Data, Hardware, Trainer
from seedbed_server.errors import ProcessSpoiled
from seedbed_server.jobs.values import (
    INTERRUPTED,
    BestChanged,
    Job,
    Score,
    StopReason,
    Trial,
    TrialState,
)
from seedbed_server.search.attempts import Attempt
from seedbed_server.search.budget import REFIT_SLOWER, Spending
from seedbed_server.search.candidates import (
    SELECTING_SECONDS,
    Candidate,
    CandidatePool,
)
from seedbed_server.search.costs import Meter, seconds_for_an_item
from seedbed_server.search.ensembling import finer_metric, select
from seedbed_server.search.faults import fault_of
from seedbed_server.search.first_trials import first_trials_of
from seedbed_server.search.pacing import Pacing
from seedbed_server.search.paused import PausedTrials
from seedbed_server.search.run import TrialRun
from seedbed_server.search.space import SearchSpace
from seedbed_server.search.study import Proposal, Study
from seedbed_server.search.together import Company

if TYPE_CHECKING:
    from seedbed_server.executors import Control
    from seedbed_server.jobs.session import JobSession

log = structlog.get_logger()

MAX_FAILURES_IN_A_ROW = 10
# Seconds in which something can be tried.
WORTH_GOING_ON = 0.1
# Where the time was up before anything had been trained, so many trials may overrun it.
FALLBACKS = 2


@dataclass
class Search:
    """One job's search. `folder` holds the files of the trainers that are kept in `pool`, so that a
    new worker can go on. `meter` measures them where the job has constraints.
    """

    job: Job
    block: DataBlock
    data: Data
    space: SearchSpace
    metric: Metric
    hardware: Hardware
    spending: Spending
    session: JobSession
    control: Control
    folder: Path
    meter: Meter | None = None
    failures_in_a_row: int = 0
    fallbacks: int = 0
    last_failure: str = ""
    pool: CandidatePool = field(init=False)
    company: Company = field(init=False)
    pacing: Pacing = field(init=False)

    def __post_init__(self) -> None:
        self.pool = CandidatePool(
            folder=self.folder,
            block=self.block,
            metric=self.metric,
            target=self.data.valid.target,
            seed=self.job.seed,
            space=self.space,
            blueprint=self._blueprint,
            constraints=self.job.constraints,
            meter=self.meter,
            tell=lambda message: self.session.log("INFO", message),
        )
        self.pacing = Pacing(self.spending)
        self.company = Company(self.spending, lambda text: self.session.log("INFO", text))

    @property
    def best(self) -> Candidate | None:
        """The best trial so far."""
        return self.pool.best

    def run(self, earlier: list[Trial]) -> StopReason:
        """Runs trials until a limit is reached and returns which. `earlier` are the trials of a
        worker that this one replaces.

        Raises SeedbedError where one trial after the other fails, and ProcessSpoiled where the
        search has to go on in another process.
        """
        first = first_trials_of(self.space, self.job)
        study = Study(self.space, self.metric, self.job.seed, earlier, first)
        paused = PausedTrials(self.folder, study.rungs)
        paused.restore(earlier)
        self.company.restore(earlier)
        self._resume(earlier)
        while True:
            reason = self._ended()
            promoted = paused.promoted()
            if reason is StopReason.TRIAL_BUDGET and promoted is not None:
                reason = None  # To go on with a trial is not to begin one.
            if reason is StopReason.TIME_BUDGET and self._fall_back(study, paused):
                continue
            if reason is not None:
                return reason
            if promoted is not None:
                self._go_on(study, paused, promoted, may_pause=True)
                continue
            proposal = study.ask(affordable=self._has_time_for)
            if proposal is None and (last := paused.furthest_ahead()) is not None:
                self._go_on(study, paused, last, may_pause=False)
                continue
            proposal = proposal or study.ask(affordable=self.pacing.affordable)
            if proposal is None:
                if study.exhausted:
                    return StopReason.SPACE_EXHAUSTED
                if self._fall_back(study, paused) or self._gains_time():
                    continue
                return StopReason.TIME_BUDGET
            self._try(study, paused, self._begin(study, proposal))
            if self.best is None and self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise SeedbedError(
                    f"{self.failures_in_a_row} trials in a row failed and none succeeded; "
                    f"the last one: {self.last_failure}",
                    reason="ALL_TRIALS_FAILED",
                )

    def _ended(self) -> StopReason | None:
        if self.control.stop_requested():
            return StopReason.USER
        best = self.best.trial.validation_score if self.best else None
        reason = self.spending.reached(self.metric, best)
        if reason is StopReason.TIME_BUDGET and self._gains_time():
            reason = self.spending.reached(self.metric, best)
        return reason

    def _gains_time(self) -> bool:
        """Whether what is set aside for an ensemble can be less, by what the one would take that
        could be chosen now. Asked for when time is up, since it takes a moment, and what is found
        changes with every trial."""
        before = self.spending.reserve()
        if not self.spending.ensembling_seconds or self.best is None:
            return False
        seconds = self._seconds_of_the_ensemble()
        affordable = seconds <= self.spending.most_for_an_ensemble()
        self.spending.ensembling_seconds = seconds if affordable else 0.0
        return before - self.spending.reserve() > WORTH_GOING_ON

    def refits(self, trial: Trial) -> bool:
        """Whether a trial's settings are to be trained once more on all items."""
        architecture = self.space.architectures[trial.architecture]
        return architecture.refits and len(self.data.train) <= architecture.refit_items

    def refit_seconds(self, candidate: Candidate) -> float:
        """What training a trial's settings once more may take, as far as is known, for as many
        epochs as were best; 0 where they are not trained again."""
        trial = candidate.trial
        if not self.refits(trial):
            return 0.0
        seconds = self.pacing.seconds_alone(trial)
        if self.space.architectures[trial.architecture].refit_whole or not candidate.best_epoch:
            return seconds
        return seconds * min(1.0, candidate.best_epoch / max(trial.epochs, 1.0))

    def seconds_in_an_ensemble(self, candidate: Candidate) -> float:
        """What a candidate adds to the time that finishing takes: training it once more, opening it
        and predicting the test split."""
        again = REFIT_SLOWER * self.refit_seconds(candidate)
        return again + candidate.seconds_for(self.spending.test_items)

    def _seconds_of_the_ensemble(self) -> float:
        """What the ensemble of the candidates so far would take beyond the best of them, 0 where
        none is better than that."""
        candidates = self.pool.all()
        found = select(
            self.metric,
            self.data.valid.target,
            [candidate.outputs for candidate in candidates],
            seed=self.job.seed,
            seconds=SELECTING_SECONDS,
            finer=finer_metric(self.block.target),
        )
        if found is None:
            return 0.0
        beside = zip(candidates[1:], found.weights[1:], strict=False)
        return sum(self.seconds_in_an_ensemble(candidate) for candidate, weight in beside if weight)

    def _has_time_for(self, architecture: str) -> bool:
        leading = self.best.trial.architecture if self.best is not None else None
        return self.pacing.has_time_for(architecture, leading)

    def _fall_back(self, study: Study, paused: PausedTrials) -> bool:
        """Trains the simplest model where the time is up and there is none yet, however long it
        takes: a budget too small for it still brings a model. Returns whether it tried."""
        if self.best is not None or self.pool.closest is not None or self.fallbacks >= FALLBACKS:
            return False
        proposal = study.fallback()
        if proposal is None:
            return False
        self.fallbacks += 1
        self.session.log(
            "WARNING",
            f"the time is up and there is no model yet: {proposal.architecture} is trained all the "
            "same, beyond the budget",
        )
        self._try(study, paused, self._begin(study, proposal, to_its_end=True))
        return True

    def _go_on(self, study: Study, paused: PausedTrials, trial: Trial, *, may_pause: bool) -> None:
        """Continues a trial from its checkpoint."""
        proposal = Proposal(trial.number, trial.architecture, dict(trial.parameters))
        checkpoint = paused.checkpoint(trial)
        attempt = self._attempt(study, proposal, trial, may_pause=may_pause, checkpoint=checkpoint)
        self._try(study, paused, attempt)

    def _try(self, study: Study, paused: PausedTrials, first: Attempt) -> None:
        """Trains a trial, and others like it that it is faster together with. Raises ProcessSpoiled
        where the process cannot go on after that."""
        architecture = first.proposal.architecture
        self.spending.trial_item_seconds = self.pacing.item_seconds(architecture)
        first.prepare()
        count = self.company.size(first, study, self.pacing.trial_seconds.get(architecture))
        attempts = self.company.gather(first, count, study, lambda p: self._begin(study, p))
        self.company.train(attempts, count)
        self.spending.trial_item_seconds = 0.0
        for attempt in attempts:
            self._end(study, paused, attempt)
        for attempt in attempts:
            if spoils := attempt.fault.spoils:
                trial = attempt.trial
                raise ProcessSpoiled(f"{spoils} in trial {trial.number} ({trial.architecture})")

    def _begin(self, study: Study, proposal: Proposal, *, to_its_end: bool = False) -> Attempt:
        """A trial with settings that were not tried; with `to_its_end` however long it takes."""
        architecture = self.space.architectures[proposal.architecture]
        trial = Trial(
            number=proposal.number,
            architecture=proposal.architecture,
            parameters=proposal.parameters,
            baseline=architecture.baseline,
            start_time=datetime.now(UTC),
            origin=proposal.origin,
            origin_job=proposal.origin_job,
        )
        may_pause = not architecture.baseline and not to_its_end
        return self._attempt(study, proposal, trial, may_pause=may_pause, to_its_end=to_its_end)

    def _attempt(
        self,
        study: Study,
        proposal: Proposal,
        trial: Trial,
        *,
        may_pause: bool,
        checkpoint: Path | None = None,
        to_its_end: bool = False,
    ) -> Attempt:
        """A trial that begins, or goes on from its checkpoint."""
        self.session.start_trial(trial)
        build = self.space.architectures[proposal.architecture].build
        blueprint = Blueprint(
            self.block, proposal.parameters, self.hardware, self.trial_seed(proposal.number)
        )
        finds_rate = self.job.find_learning_rate and study.finds_rate(proposal.architecture)

        def make_run() -> TrialRun:
            return TrialRun(
                proposal,
                study=study,
                metric=self.metric,
                block=self.block,
                target=self.data.valid.target,
                spending=self.spending,
                session=self.session,
                control=self.control,
                prunable=may_pause,
                announce=lambda message: self._announce(trial, message),
                earlier=trial if checkpoint is not None else None,
                to_its_end=to_its_end,
                finds_rate=finds_rate and checkpoint is None,
            )

        return Attempt(
            proposal,
            trial,
            make_run,
            lambda: build(blueprint),
            self.data,
            self.hardware,
            checkpoint,
        )

    def _end(self, study: Study, paused: PausedTrials, attempt: Attempt) -> None:
        """Writes down how a trial went, and learns from it."""
        before, run = attempt.trial, attempt.run
        if attempt.trainer is not None and run.best_score is not None:
            with attempt.working():
                self._measure_predicting(before.architecture, attempt.trainer, run)
        trainer, again, reason = attempt.trainer, attempt.again, attempt.reason
        seconds = before.seconds + attempt.seconds
        trial = replace(
            before,
            state=TrialState.FAILED if reason else run.state,
            validation_score=None if reason else run.best_score,
            epoch_scores=tuple(run.scores),
            epochs=run.epochs,
            samples=run.samples,
            seconds=seconds,
            reason=reason or _why_pruned(run),
            recipe=run.recorder.to_dict(),
            end_time=datetime.now(UTC),
        )
        if again and (reason or trial.epochs == before.epochs):
            # What it had reached before it was gone on with stands.
            trial = replace(before, seconds=seconds, samples=run.samples, end_time=trial.end_time)
        if trainer is not None and run.best_outputs is not None:
            trial = self._keep(
                Candidate(trial, trainer, run.best_outputs, run.best_epoch, run.item_seconds)
            )
        self._note(trial, before if again else None)
        study.tell(attempt.proposal, trial)
        if again:
            paused.give_up(trial)
        pauses = run.state is TrialState.PRUNED and trial.state is not TrialState.FAILED
        if trainer and pauses and isinstance(trainer, ContinuingTrainer):
            paused.add(trial, run.rung, trainer)
        self.session.finish_trial(trial, samples_total=self.spending.samples, again=again)
        if self.best is not None and self.best.trial is trial:
            self._announce_best(trial)
        self.session.set_progress(self.spending.progress(f"trial {trial.number} done"))

    def trial_seed(self, number: int) -> int:
        """The starting point of a trial's randomness."""
        return trial_seed(self.job.seed, number)

    def _note(self, trial: Trial, before: Trial | None = None) -> None:
        """Counts a trial that has ended; `before` is what of it was counted already."""
        self.spending.trials += before is None
        self.spending.samples += trial.samples - (before.samples if before else 0)
        if trial.state is TrialState.FAILED:
            self.failures_in_a_row += 1
            self.last_failure = f"{trial.architecture}: {trial.reason}"
        else:
            self.failures_in_a_row = 0
        self.pacing.note(trial)

    def _keep(self, candidate: Candidate) -> Trial:
        """Offers a trial's model; the trial, which has failed where its model cannot be written."""
        try:
            self._offer(candidate)
        except SeedbedError:
            raise
        except Exception as error:  # a plugin's model may raise anything
            log.exception("model_not_kept", job=self.job.id, trial=candidate.trial.number)
            reason = f"its model cannot be saved: {fault_of(error, self.hardware).reason}"
            return replace(
                candidate.trial, state=TrialState.FAILED, validation_score=None, reason=reason
            )
        return candidate.trial

    def _offer(self, candidate: Candidate) -> None:
        if candidate.trial.validation_score is None:
            return
        self.pool.offer(candidate)
        others = self.pool.all()[1:]
        self.spending.ensembling_seconds = sum(map(self.seconds_in_an_ensemble, others))
        if others:
            self.spending.ensembling_seconds += SELECTING_SECONDS
        if (best := self.pool.best) is not None:
            self.spending.item_seconds = best.item_seconds
            architecture = self.space.architectures[best.trial.architecture]
            repeats = architecture.refit_repeats if self.block.target.averages else 1
            self.spending.set_refit_aside(self.refit_seconds(best), repeats)

    def _measure_predicting(self, architecture: str, trainer: Trainer, run: TrialRun) -> None:
        """Sees to it that the run knows how long an item takes from its encoded form on: it may
        have predicted from features that were computed once. Measured of an architecture's first
        trial and of those that may be the best."""
        assert run.best_score is not None
        known = self.pacing.item_seconds(architecture)
        leads = self.best is None or self.metric.better(run.best_score, self.best.score)
        timed = self.spending.budget.wall_clock_seconds is not None
        if timed and (leads or not known):
            known = seconds_for_an_item(trainer, self.data.valid.inputs)
            self.pacing.note_predicting(architecture, known)
        run.item_seconds = known or run.item_seconds

    def _blueprint(self, trial: Trial) -> Blueprint:
        seed = self.trial_seed(trial.number)
        return Blueprint(self.block, dict(trial.parameters), self.hardware, seed)

    def _resume(self, earlier: list[Trial]) -> None:
        """Counts the earlier trials and loads those whose files are there."""
        for trial in earlier:
            if trial.reason != INTERRUPTED:
                self._note(trial)
        self.failures_in_a_row = 0
        scored = [trial for trial in earlier if trial.validation_score is not None]
        self.pool.restore(scored, lambda trainer: trainer.predict(self.data.valid.inputs))
        if self.best is not None:
            self.spending.item_seconds = self.best.item_seconds

    def _announce(self, trial: Trial, message: str) -> None:
        text = f"trial {trial.number} ({trial.architecture}): {message}"
        self.session.set_progress(self.spending.progress(text))

    def _announce_best(self, trial: Trial) -> None:
        assert trial.validation_score is not None
        self.session.set_best(
            BestChanged(trial.number, trial.architecture, trial.validation_score),
            Score(self.metric.name, trial.validation_score, len(self.data.valid)),
        )


def trial_seed(seed: int, number: int) -> int:
    """The starting point of the randomness of a trial, by the job's."""
    return (seed * 7919 + number) % 2**31


def _why_pruned(run: TrialRun) -> str:
    if run.state is not TrialState.PRUNED:
        return ""
    return f"others were better after {run.epochs} epochs"
