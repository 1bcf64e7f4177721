"""A write transaction on one job: its fields, its trials and its events change together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from seedbed_sdk.errors import FailedPrecondition, NotFound
from seedbed_server.errors import LeaseLost
from seedbed_server.jobs.values import (
    EventBody,
    Job,
    JobState,
    Log,
    StateChanged,
    Trial,
    TrialFinished,
    TrialState,
)
from seedbed_server.store import notices, tables
from seedbed_server.store.job_rows import (
    event_to_row,
    job_from_row,
    job_to_row,
    trial_from_row,
    trial_to_row,
)
from seedbed_server.store.values import now

ENDED_REASON = "the job ended during the trial"


def not_found(job_id: str) -> NotFound:
    return NotFound(f"there is no job {job_id!r}", metadata={"job": job_id})


class JobWriter:
    """Collects what happens to a job and writes it with `flush`.

    `job` is the job as it will be. Made by `Jobs.writing`, inside whose transaction it lives.
    """

    def __init__(self, connection: sa.Connection, job_id: str) -> None:
        # The lock, on PostgreSQL, is what makes the events' numbers gap-free and attempts certain.
        select = sa.select(tables.jobs).where(tables.jobs.c.id == job_id).with_for_update()
        row = connection.execute(select).first()
        if row is None:
            raise not_found(job_id)
        self.job: Job = job_from_row(row)
        self.time = now()
        self._connection = connection
        self._changes: dict[str, Any] = {}
        self._events: list[EventBody] = []

    def check_attempt(self, attempt: int) -> None:
        """Raises LeaseLost where another attempt holds the job or the job has ended."""
        if self.job.state.ended:
            raise LeaseLost(self.job.id, attempt, f"the job is {self.job.state}")
        if self.job.attempt != attempt:
            raise LeaseLost(self.job.id, attempt, f"attempt {self.job.attempt} does")

    def change(self, **fields: Any) -> None:
        """Sets fields of the job."""
        self.job = replace(self.job, **fields)
        self._changes.update(fields)

    def append(self, *bodies: EventBody) -> None:
        """Adds events after those there are."""
        self._events.extend(bodies)

    def log(self, severity: str, message: str) -> None:
        """Adds a log event; `severity` is INFO or WARNING."""
        self.append(Log(severity, message))

    def set_state(self, state: JobState, *, until: datetime | None = None, **fields: Any) -> None:
        """Changes the state and says so in an event; the terminal states also set the end time.

        The time since the last change counts as used in the state before, up to `until` where the
        job has not been worked on since then.
        """
        used = self.job.used(until or self.time)
        self.change(consumption=used)
        fields["state_time"] = self.time
        if state.ended:
            fields.setdefault("end_time", self.time)
            self.end_running_trials(ENDED_REASON)
        if state.ended or state is JobState.QUEUED:
            leases = tables.leases
            self._connection.execute(sa.delete(leases).where(leases.c.job == self.job.id))
        if state is JobState.QUEUED:
            notices.announce(self._connection, notices.QUEUE)
        self.change(state=state, **fields)
        job = self.job
        self.append(StateChanged(state, job.error, job.stop_reason, job.model, used.seconds))

    def trial(self, number: int) -> Trial | None:
        """A trial as it is in the database."""
        table = tables.trials
        row = self._connection.execute(
            sa.select(table).where(table.c.job == self.job.id, table.c.number == number)
        ).first()
        return None if row is None else trial_from_row(row)

    def put_trial(self, trial: Trial) -> None:
        """Inserts or replaces a trial."""
        table = tables.trials
        row = trial_to_row(trial)
        updated = self._connection.execute(
            sa.update(table)
            .where(table.c.job == self.job.id, table.c.number == trial.number)
            .values(row)
        )
        if updated.rowcount == 0:
            self._connection.execute(sa.insert(table).values(job=self.job.id, **row))

    def end_running_trials(self, reason: str) -> int:
        """Marks the trials that are still RUNNING as FAILED, with an event each; returns how many
        there were."""
        table = tables.trials
        rows = self._connection.execute(
            sa.select(table)
            .where(table.c.job == self.job.id, table.c.state == TrialState.RUNNING.value)
            .order_by(table.c.number)
        ).all()
        for trial in map(trial_from_row, rows):
            self.put_trial(
                replace(trial, state=TrialState.FAILED, reason=reason, end_time=self.time)
            )
            self.append(TrialFinished(trial.number, TrialState.FAILED, reason=reason))
        self.count_trials(len(rows))
        return len(rows)

    def count_trials(self, ended: int, samples: int | None = None) -> None:
        """Adds to the number of ended trials; `samples` sets the sample passes of the job."""
        used = self.job.consumption
        if ended or samples is not None:
            self.change(
                consumption=replace(
                    used,
                    trials=used.trials + ended,
                    samples=used.samples if samples is None else samples,
                )
            )

    def execute(self, statement: sa.Executable) -> None:
        """Runs another statement in the same transaction; for the rooms of `store` only."""
        self._connection.execute(statement)

    def flush(self) -> None:
        """Writes what was collected."""
        if self._events:
            first = self.job.last_sequence + 1
            self._connection.execute(sa.insert(tables.events), self._event_rows(first))
            self.change(last_sequence=self.job.last_sequence + len(self._events))
            notices.announce(self._connection, notices.EVENTS, self.job.id)
        if self._changes:
            self.change(update_time=self.time)
            self._connection.execute(
                sa.update(tables.jobs)
                .where(tables.jobs.c.id == self.job.id)
                .values(job_to_row(self._changes))
            )
        self._events, self._changes = [], {}

    def _event_rows(self, first: int) -> Sequence[dict[str, Any]]:
        return [
            {
                "job": self.job.id,
                "sequence": first + offset,
                "time": self.time,
                **event_to_row(body),
            }
            for offset, body in enumerate(self._events)
        ]


def require_ended(job: Job, action: str) -> None:
    """Raises FailedPrecondition for a job that has not ended."""
    if not job.state.ended:
        raise FailedPrecondition(
            f"job {job.id!r} is {job.state} and cannot be {action}; cancel it or wait for its end",
            reason="JOB_UNFINISHED",
            metadata={"job": job.id, "state": str(job.state)},
        )
