"""Leases: who works on a job, and until when nobody else may take it."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from seedbed_server.jobs.values import JobState
from seedbed_server.store import tables
from seedbed_server.store.columns import UtcTime
from seedbed_server.store.database import Database
from seedbed_server.store.job_writer import JobWriter
from seedbed_server.store.outages import retried
from seedbed_server.store.values import new_id, now

ACTIVE = (JobState.PREPARING, JobState.SEARCHING, JobState.FINISHING)
DEFAULT_SECONDS = 30.0

_table = tables.leases
_jobs = tables.jobs


@dataclass(frozen=True, slots=True)
class Holder:
    """A server that takes jobs: an id that no other one ever has, its machine's name, and how many
    seconds its leases last without being renewed."""

    owner: str
    host: str
    seconds: float = DEFAULT_SECONDS


def new_holder(seconds: float = DEFAULT_SECONDS) -> Holder:
    return Holder(new_id(), socket.gethostname(), seconds)


def grant(connection: sa.Connection, job_id: str, attempt: int, holder: Holder) -> None:
    """Writes the lease in the transaction that begins the attempt."""
    connection.execute(
        sa.insert(_table).values(
            job=job_id,
            attempt=attempt,
            owner=holder.owner,
            host=holder.host,
            expiry=_clock(connection, holder.seconds),
        )
    )


def _clock(connection: sa.Connection, ahead: float = 0.0) -> sa.ColumnElement[object]:
    """The time in so many seconds, by the database's clock where it has one: those of the servers
    may differ."""
    if connection.dialect.name != "postgresql":
        return sa.literal(now() + timedelta(seconds=ahead), UtcTime)
    microseconds = sa.func.extract("epoch", sa.func.clock_timestamp()) * 1_000_000
    later = sa.cast(microseconds, sa.BigInteger) + sa.literal(int(ahead * 1e6), sa.BigInteger)
    return sa.type_coerce(later, UtcTime)


@retried("_database")
class Leases:
    """The rows of leases. A job has one while it is PREPARING, SEARCHING or FINISHING."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(
        self, holder: Holder, attempts: Mapping[str, int], *, paused: Collection[str] = ()
    ) -> set[str]:
        """Makes the leases of these jobs, whose attempts are given, last from now on, those of
        `paused` ones excepted; also one that has run out and that nobody has taken. Returns those
        that the holder still has, paused ones too."""
        if not attempts:
            return set()
        with self._database.writing(durable=False, exclusive=False) as connection:
            held = connection.execute(
                sa.select(_table.c.job, _table.c.attempt)
                .where(_table.c.owner == holder.owner, _table.c.job.in_(list(attempts)))
                .order_by(_table.c.job)
                .with_for_update()
            ).all()
            kept = [row.job for row in held if attempts[row.job] == row.attempt]
            connection.execute(
                sa.update(_table)
                .where(_table.c.job.in_([job for job in kept if job not in paused]))
                .values(expiry=_clock(connection, holder.seconds))
            )
        return set(kept)

    def any(self) -> bool:
        """Whether anybody is at work on a job."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(_table.c.job).limit(1)).first() is not None

    def requeue_expired(self, reason: str) -> Sequence[str]:
        """Puts the jobs whose leases have run out back in the queue; their running trials FAILED
        with `reason`. Returns their ids."""
        with self._database.reading() as connection:
            expired = connection.execute(
                sa.select(_table.c.job, _table.c.attempt)
                .where(_table.c.expiry < _clock(connection))
                .order_by(_table.c.job)
            ).all()
        return [row.job for row in expired if self._requeue_one(row.job, row.attempt, reason)]

    def requeue_all(self, reason: str, *, owner: str = "", host: str = "") -> Sequence[str]:
        """As `requeue_expired`, for jobs that no worker is at work on any more, whatever their
        leases say: all of them, or those of one holder or machine."""
        wanted = [_table.c.owner == owner] if owner else [_table.c.host == host] if host else []
        joined = sa.outerjoin(_jobs, _table, _table.c.job == _jobs.c.id)
        select = (
            sa.select(_jobs.c.id)
            .select_from(joined)
            .where(_jobs.c.state.in_(ACTIVE), *wanted)
            .order_by(_jobs.c.id)
        )
        with self._database.writing(exclusive=False) as connection:
            ids = [str(job_id) for job_id in connection.execute(select).scalars()]
            return [job_id for job_id in ids if _requeue(connection, job_id, reason)]

    def _requeue_one(self, job_id: str, attempt: int, reason: str) -> bool:
        with self._database.writing(exclusive=False) as connection:
            # A job that somebody else is just writing is looked at the next time.
            found = connection.execute(
                sa.select(_jobs.c.attempt)
                .where(_jobs.c.id == job_id)
                .with_for_update(skip_locked=True)
            ).scalar()
            if found is None:
                return False
            ended = connection.execute(
                sa.delete(_table).where(
                    _table.c.job == job_id,
                    _table.c.attempt == attempt,
                    _table.c.expiry < _clock(connection),
                )
            )
            if not ended.rowcount or found != attempt:
                return False
            said = "the server or the worker that was at work on the job was not heard of any more"
            return _requeue(connection, job_id, reason, said)


def _requeue(
    connection: sa.Connection,
    job_id: str,
    reason: str,
    said: str = "",
) -> bool:
    writer = JobWriter(connection, job_id)
    if writer.job.state not in ACTIVE:
        return False
    writer.end_running_trials(reason)
    if said:
        writer.log("WARNING", said)
    writer.change(attempt=writer.job.attempt + 1)
    writer.set_state(JobState.QUEUED, until=writer.job.update_time)
    writer.flush()
    return True
