"""Jobs: created, leased to workers, ended, recovered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from seedbed_sdk.errors import AlreadyExists, FailedPrecondition, NotFound, SeedbedError
from seedbed_server.jobs.extending import extended
from seedbed_server.jobs.values import (
    WORKER_DIED,
    Budget,
    Job,
    JobState,
    Progress,
    StateChanged,
)
from seedbed_server.store import leases, notices, tables
from seedbed_server.store.database import Database
from seedbed_server.store.job_rows import event_to_row, job_from_row, job_to_row
from seedbed_server.store.job_writer import JobWriter, not_found, require_ended
from seedbed_server.store.leases import Holder, Leases
from seedbed_server.store.listing import newest_first
from seedbed_server.store.outages import retried
from seedbed_server.store.pages import Page, PageRequest
from seedbed_server.store.requests import answered, remember
from seedbed_server.store.values import JobFilter, RequestKey

MAX_DEATHS = 3
# The search leaves an architecture alone that ends its workers; this is for when it cannot.
MAX_DEATHS_IN_TRIALS = 20

_table = tables.jobs


@dataclass(frozen=True, slots=True)
class Census:
    """How many jobs are in each state that has some, and since when the job that has waited longest
    is in the queue."""

    by_state: Mapping[JobState, int]
    oldest_queued: datetime | None


@retried("_database")
class Jobs:
    """The rows of jobs. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = Leases(database)
        self._holder = leases.new_holder()

    def create(self, job: Job, request: RequestKey | None = None) -> Job:
        """Adds a QUEUED job with its first event.

        Answers the earlier job where the request was answered before. Raises AlreadyExists for a
        taken id, or a request id that was used for something else; NotFound where the dataset has
        gone meanwhile.
        """
        with self._database.writing() as connection:
            earlier = answered(connection, request)
            if earlier is not None:
                return _get(connection, earlier)
            if connection.execute(sa.select(_table.c.id).where(_table.c.id == job.id)).first():
                raise AlreadyExists(f"there is a job {job.id!r} already; choose another job_id")
            datasets = tables.datasets
            if not connection.execute(
                sa.select(datasets.c.id).where(datasets.c.id == job.dataset)
            ).first():
                raise NotFound(f"dataset {job.dataset!r} was deleted meanwhile")
            job = replace(job, last_sequence=1)
            row = {field: getattr(job, field) for field in job.__dataclass_fields__}
            connection.execute(sa.insert(_table).values(job_to_row(row)))
            first = event_to_row(StateChanged(JobState.QUEUED, seconds=0.0))
            connection.execute(
                sa.insert(tables.events).values(
                    job=job.id, sequence=1, time=job.create_time, **first
                )
            )
            remember(connection, request, job.id)
            notices.announce(connection, notices.QUEUE)
        return job

    def answered(self, request: RequestKey | None) -> Job | None:
        """The job that an earlier call with this request created. Raises as `create` does."""
        with self._database.reading() as connection:
            earlier = answered(connection, request)
            return None if earlier is None else _get(connection, earlier)

    def get(self, job_id: str, project: str | None = None) -> Job:
        """Raises NotFound, also for a job of another project than is given."""
        with self._database.reading() as connection:
            job = _get(connection, job_id)
        if project not in (None, job.project):
            raise not_found(job_id)
        return job

    def list(self, project: str, which: JobFilter, page: PageRequest) -> Page[Job]:
        """The newest first."""
        wanted = {k: v for k, v in asdict(which).items() if v}
        conditions = [_table.c.project == project, *(_table.c[k] == v for k, v in wanted.items())]
        query = ("jobs", project, sorted(wanted.items()))
        return newest_first(self._database, _table, conditions, query, page, job_from_row)

    def delete(self, job_id: str) -> None:
        """Deletes an ended job with its trials and events. Raises NotFound, FailedPrecondition."""
        with self._database.writing() as connection:
            require_ended(JobWriter(connection, job_id).job, "deleted")
            connection.execute(sa.delete(_table).where(_table.c.id == job_id))

    @contextmanager
    def writing(
        self, job_id: str, *, attempt: int | None = None, durable: bool = True
    ) -> Iterator[JobWriter]:
        """A transaction on one job, written at its end.

        With `attempt` it raises LeaseLost unless that attempt holds the job. Raises NotFound.
        """
        with self._database.writing(durable=durable, exclusive=False) as connection:
            writer = JobWriter(connection, job_id)
            if attempt is not None:
                writer.check_attempt(attempt)
            yield writer
            writer.flush()

    def lease(self, holder: Holder | None = None) -> Job | None:
        """Gives the oldest queued job to a new attempt, in state PREPARING, with a lease for the
        holder, or for one of this process's own; None without a job, or where others are just
        taking them."""
        with self._database.writing(exclusive=False) as connection:
            job_id = connection.execute(
                sa.select(_table.c.id)
                .where(_table.c.state == JobState.QUEUED.value)
                .order_by(_table.c.create_time, _table.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).scalar()
            if job_id is None:
                return None
            writer = JobWriter(connection, job_id)
            writer.change(
                attempt=writer.job.attempt + 1, start_time=writer.job.start_time or writer.time
            )
            writer.set_state(JobState.PREPARING)
            leases.grant(connection, job_id, writer.job.attempt, holder or self._holder)
            writer.flush()
        return writer.job

    def request_stop(self, job_id: str) -> Job:
        """Asks the search to end. A job that never ran a trial is CANCELLED at once; an ended one
        stays as it is. Raises NotFound."""
        with self.writing(job_id) as writer:
            job = writer.job
            if not job.state.ended and not job.stop_requested:
                writer.change(stop_requested=True)
                if job.state is JobState.QUEUED and job.consumption.trials == 0:
                    writer.set_state(JobState.CANCELLED, attempt=job.attempt + 1)
        return writer.job

    def extend(self, job_id: str, more: Budget) -> Job:
        """Gives an ended job more budget and puts it back in the queue. Raises NotFound;
        FailedPrecondition for one that runs or that nothing can be added to."""
        with self.writing(job_id) as writer:
            budget = extended(writer.job, more)
            writer.change(
                budget=budget,
                error=None,
                stop_reason=None,
                stop_requested=False,
                progress=Progress(),
                end_time=None,
                deaths=0,
                attempt=writer.job.attempt + 1,
            )
            writer.set_state(JobState.QUEUED)
            writer.log("INFO", "the job was given more budget and goes on")
        return writer.job

    def cancel(self, job_id: str) -> Job:
        """Ends the job and fences its worker out. Raises NotFound; FailedPrecondition for one that
        has SUCCEEDED or FAILED."""
        with self.writing(job_id) as writer:
            job = writer.job
            if job.state in (JobState.SUCCEEDED, JobState.FAILED):
                raise FailedPrecondition(
                    f"job {job_id!r} has {job.state} already; there is nothing to cancel",
                    reason="JOB_ENDED",
                    metadata={"job": job_id, "state": str(job.state)},
                )
            if job.state is not JobState.CANCELLED:
                writer.end_running_trials("the job was cancelled during the trial")
                writer.set_state(JobState.CANCELLED, attempt=job.attempt + 1)
        return writer.job

    def worker_died(
        self, job_id: str, attempt: int, reason: str, trial_reason: str = ""
    ) -> Job | None:
        """Puts the job back in the queue, or fails it after three deaths in a row, or more of them
        in the midst of trials.

        `reason` says how the worker ended, `trial_reason` why the trial failed where that is more.
        None where the attempt does not hold the job any more.
        """
        try:
            with self.writing(job_id, attempt=attempt) as writer:
                deaths = writer.job.deaths + 1
                in_trial = writer.end_running_trials(trial_reason or f"{WORKER_DIED}{reason}")
                writer.log("WARNING", f"the worker process died: {reason}")
                writer.change(attempt=attempt + 1, deaths=deaths)
                if deaths < (MAX_DEATHS_IN_TRIALS if in_trial else MAX_DEATHS):
                    writer.set_state(JobState.QUEUED)
                else:
                    error = SeedbedError(
                        f"the worker process died {deaths} times in a row without a finished trial "
                        f"in between, the last time: {reason}; a smaller dataset, batch size or "
                        "architecture may need less memory",
                        reason="WORKER_DIED",
                    )
                    writer.change(error=error.to_dict())
                    writer.set_state(JobState.FAILED)
        except SeedbedError as error:
            if error.code in ("ABORTED", "NOT_FOUND"):
                return None
            raise
        return writer.job

    def requeue_active(self, reason: str) -> Sequence[str]:
        """Puts the jobs that no worker runs any more back in the queue; their running trials FAILED
        with `reason`. Returns their ids."""
        return self._leases.requeue_all(reason)

    def unfinished(self) -> set[str]:
        """The ids of the jobs that have not ended."""
        ended = [s.value for s in JobState if s.ended]
        select = sa.select(_table.c.id).where(_table.c.state.not_in(ended))
        with self._database.reading() as connection:
            return set(connection.execute(select).scalars())

    def census(self) -> Census:
        """Counts the jobs of all projects, from an index alone."""
        counts = sa.select(_table.c.state, sa.func.count().label("number")).group_by(_table.c.state)
        waiting = sa.func.min(sa.func.coalesce(_table.c.state_time, _table.c.create_time))
        queued = sa.select(waiting).where(_table.c.state == JobState.QUEUED.value)
        with self._database.reading() as connection:
            by_state = {JobState(row.state): row.number for row in connection.execute(counts)}
            oldest = connection.execute(queued).scalar()
        return Census(by_state, oldest)

    def newest_time(self) -> datetime | None:
        """When a job was last written; None without any."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.max(_table.c.update_time))).scalar()

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        with self._database.reading() as connection:
            return set(connection.execute(sa.select(_table.c.id)).scalars())

    def last_sequences(self, job_ids: Sequence[str]) -> dict[str, int]:
        """The number of the last event of each job that exists."""
        columns = sa.select(_table.c.id, _table.c.last_sequence)
        with self._database.reading() as connection:
            rows = connection.execute(columns.where(_table.c.id.in_(job_ids))).all()
        return {row.id: row.last_sequence for row in rows}


def _get(connection: sa.Connection, job_id: str) -> Job:
    row = connection.execute(sa.select(_table).where(_table.c.id == job_id)).first()
    if row is None:
        raise not_found(job_id)
    return job_from_row(row)
