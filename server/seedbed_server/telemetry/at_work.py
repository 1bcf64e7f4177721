"""What a worker is at work on, for its logs and its traces."""

from __future__ import annotations

from seedbed_server import logs
from seedbed_server.jobs.values import Job, JobState, Trial
from seedbed_server.telemetry.tracing import JobTrace, Tracing


class AtWork:
    """Told by the `JobSession` what it has written. This one takes no notice: outside of workers
    several jobs may be written by one process."""

    def begin_phase(self, state: JobState) -> None:
        """The job has gone into a phase."""

    def begin_trial(self, trial: Trial) -> None:
        """A trial has begun, or goes on."""

    def end_trial(self, trial: Trial) -> None:
        """A trial has ended, or paused."""

    def end(self, outcome: str, reason: str = "") -> None:
        """This process has ended the job, or leaves it."""


class OneJob(AtWork):
    """Adds the job, and the trials that are under way, to all log lines of this process, and makes
    spans of them."""

    def __init__(self, job: Job, trace: JobTrace) -> None:
        self._trace = trace
        self._trials: list[int] = []
        logs.bind_process(job=job.id, attempt=job.attempt, trace=trace.trace_id or None)

    def begin_phase(self, state: JobState) -> None:
        self._trace.begin_phase(f"job.{state.lower()}")

    def begin_trial(self, trial: Trial) -> None:
        self._trials.append(trial.number)
        self._say_trials()
        self._trace.begin_trial(trial)

    def end_trial(self, trial: Trial) -> None:
        if trial.number in self._trials:
            self._trials.remove(trial.number)
        self._say_trials()
        self._trace.end_trial(trial)

    def _say_trials(self) -> None:
        alone = self._trials[0] if len(self._trials) == 1 else None
        logs.bind_process(
            trial=alone, trials=tuple(self._trials) if len(self._trials) > 1 else None
        )

    def end(self, outcome: str, reason: str = "") -> None:
        self._trials.clear()
        self._say_trials()
        self._trace.end(outcome, reason)


_current = AtWork()


def current() -> AtWork:
    """Of this process."""
    return _current


def begin(job: Job, device: str, tracing: Tracing) -> AtWork:
    """Says that this process works on one job from now on."""
    global _current
    _current = OneJob(job, tracing.job(job, device))
    return _current
