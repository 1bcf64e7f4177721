"""How a worker records what happens to its job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from seedbed_sdk.errors import NotFound, SeedbedError
from seedbed_server.errors import LeaseLost
from seedbed_server.jobs.values import (
    BestChanged,
    EarlierJob,
    EpochFinished,
    Finding,
    Job,
    JobState,
    Model,
    Progress,
    Replay,
    Score,
    StopReason,
    Trial,
    TrialFinished,
    TrialStarted,
    TrialState,
    Winner,
)
from seedbed_server.store import Dataset, Store
from seedbed_server.store.outages import retried
from seedbed_server.telemetry import at_work

__all__ = ["JobSession", "LeaseLost"]

_ALL_DONE = Progress(fraction=1.0, seconds_left=0.0)


@retried("_store")
class JobSession:
    """Writes a job's rows and events for one attempt.

    Each method is one transaction that also checks the attempt: once the job has ended or another
    attempt holds it, every write raises LeaseLost and changes nothing. `notify` is called after
    each write. While the database cannot be reached, they wait. Not for several threads at once.
    """

    def __init__(
        self, store: Store, job_id: str, attempt: int, notify: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._attempt = attempt
        self._notify = notify

    def job(self) -> Job:
        """The job as it stands."""
        return self._store.jobs.get(self._job_id)

    def dataset(self) -> Dataset:
        """The job's dataset. Raises NotFound where it was deleted."""
        return self._store.datasets.get(self.job().dataset)

    def require_lease(self) -> None:
        """Raises LeaseLost as a write would: for what is written to files that attempts share."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt, durable=False):
            pass

    def trials(self) -> list[Trial]:
        """All trials by number, those of earlier attempts too."""
        return self._store.trials.list(self._job_id)

    def replayed_trials(self) -> list[Trial]:
        """All trials of the job whose model is trained again."""
        return self._store.trials.list(self.job().replay_of)

    def model(self) -> Model | None:
        """The model of a job that was extended; None where it was deleted, or where there was
        none."""
        model = self.job().model
        try:
            return self._store.models.get(model) if model else None
        except NotFound:
            return None

    def winners(self) -> list[Winner]:
        """What earlier searches of the same project and task found."""
        job = self.job()
        return self._store.winners.of(job.project, job.task)

    def set_earlier_jobs(self, earlier: Sequence[EarlierJob]) -> None:
        """Says whose best settings are tried; for good, so that the search is the same when it is
        gone on with."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.change(earlier_jobs=tuple(earlier))
            if earlier:
                named = ", ".join(job.job for job in earlier)
                writer.log("INFO", f"the best settings of earlier jobs are tried too: {named}")
        self._notify()

    def set_state(self, state: JobState) -> None:
        """Moves to PREPARING, SEARCHING or FINISHING; the state it is in already is no event."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            if writer.job.state is not state:
                writer.set_state(state)
        self._notify()
        at_work.current().begin_phase(state)

    def set_progress(self, progress: Progress) -> None:
        """Says how far the job is."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt, durable=False) as writer:
            writer.change(progress=progress)
            writer.append(progress)
        self._notify()

    def set_findings(self, findings: Sequence[Finding]) -> None:
        """Replaces what was noticed about the data; each finding that is new is an event."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.append(*(f for f in findings if f not in writer.job.findings))
            writer.change(findings=tuple(findings))
        self._notify()

    def start_trial(self, trial: Trial) -> None:
        """Adds a trial, or begins it again. Its start time is set where it has none."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.put_trial(
                replace(trial, state=TrialState.RUNNING, start_time=trial.start_time or writer.time)
            )
            writer.append(TrialStarted(trial.number, trial.architecture, trial.parameters))
        self._notify()
        at_work.current().begin_trial(trial)

    def report_epochs(self, epochs: Sequence[EpochFinished]) -> None:
        """Records epochs of running trials, oldest first, in one transaction.

        The trials' `epochs`, `samples` and `epoch_scores` follow, and so do the job's samples.
        """
        if not epochs:
            return
        with self._store.jobs.writing(self._job_id, attempt=self._attempt, durable=False) as writer:
            writer.append(*epochs)
            for number in sorted({epoch.trial for epoch in epochs}):
                trial = writer.trial(number)
                if trial is None:
                    continue
                mine = [epoch for epoch in epochs if epoch.trial == number]
                scores = trial.epoch_scores + tuple(epoch.validation_score for epoch in mine)
                last = mine[-1]
                writer.put_trial(
                    replace(trial, epochs=last.epoch, samples=last.samples, epoch_scores=scores)
                )
                used = writer.job.consumption.samples + last.samples - trial.samples
                writer.count_trials(0, samples=used)
        self._notify()

    def finish_trial(self, trial: Trial, *, samples_total: int, again: bool = False) -> None:
        """Records how a trial ended; its end time is set where it has none.

        `samples_total` is the job's sample passes so far, this trial's included; `again` says that
        the trial had ended before and was gone on with, so that it is counted already.
        """
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            before = writer.trial(trial.number)
            start = trial.start_time or (before.start_time if before else None) or writer.time
            writer.put_trial(
                replace(trial, start_time=start, end_time=trial.end_time or writer.time)
            )
            newly = not again and (before is None or before.state is TrialState.RUNNING)
            writer.count_trials(int(newly), samples=samples_total)
            writer.change(deaths=0)
            writer.append(
                TrialFinished(trial.number, trial.state, trial.validation_score, trial.reason)
            )
        self._notify()
        at_work.current().end_trial(trial)

    def set_best(self, best: BestChanged, score: Score) -> None:
        """Says that a trial is the best so far; `score` is the job's validation score now. What the
        job has used until then is added."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            used = writer.job.used(writer.time)
            writer.change(validation_score=score)
            writer.append(
                replace(best, seconds=used.seconds, trials=used.trials, samples=used.samples)
            )
        self._notify()

    def log(self, severity: str, message: str) -> None:
        """Tells those who watch; `severity` is INFO or WARNING."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt, durable=False) as writer:
            writer.log(severity, message)
        self._notify()

    def succeed(
        self,
        model: Model,
        stop_reason: StopReason,
        validation: Score,
        test: Score | None,
        winner: Winner | None = None,
    ) -> None:
        """Publishes the model, whose folder is in place, and ends the job. `winner` is for later
        jobs on similar data."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            self._store.models.add(writer, model)
            if winner is not None:
                self._store.winners.put(writer, winner)
            writer.set_state(
                JobState.SUCCEEDED,
                stop_reason=stop_reason,
                model=model.id,
                validation_score=validation,
                test_score=test,
                progress=_ALL_DONE,
            )
        self._ended(JobState.SUCCEEDED)

    def succeed_with_earlier_model(self, stop_reason: StopReason, model: Model) -> None:
        """Ends an extended job that has found nothing better than its model."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.set_state(
                JobState.SUCCEEDED,
                stop_reason=stop_reason,
                # Not that of the best trial, as it was while the search ran.
                validation_score=model.validation_score,
                progress=_ALL_DONE,
            )
        self._ended(JobState.SUCCEEDED)

    def succeed_with_replay(self, replay: Replay) -> None:
        """Ends a job that has trained a model again."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.set_state(JobState.SUCCEEDED, replay=replay, progress=_ALL_DONE)
        self._ended(JobState.SUCCEEDED)

    def fail(self, error: SeedbedError) -> None:
        """Ends the job with an error that says what would do."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.set_state(JobState.FAILED, error=error.to_dict())
        self._ended(JobState.FAILED, error.reason)

    def cancel(self) -> None:
        """Ends a job that was stopped before anything had finished."""
        with self._store.jobs.writing(self._job_id, attempt=self._attempt) as writer:
            writer.set_state(JobState.CANCELLED)
        self._ended(JobState.CANCELLED)

    def _ended(self, state: JobState, reason: str = "") -> None:
        self._notify()
        at_work.current().end(str(state), reason)
