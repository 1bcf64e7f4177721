"""Trials and events of a job, for readers. `JobWriter` writes them."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from seedbed_server.jobs.values import Event, EventBody, Trial, TrialState
from seedbed_server.store import tables
from seedbed_server.store.database import Database
from seedbed_server.store.job_rows import event_from_row, event_kind, trial_from_row
from seedbed_server.store.outages import retried
from seedbed_server.store.pages import Page, PageRequest, make_token, read_token

_trials = tables.trials
_events = tables.events


@retried("_database")
class Trials:
    """The rows of trials."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, job_id: str) -> builtins.list[Trial]:
        """All trials of a job by number."""
        select = sa.select(_trials).where(_trials.c.job == job_id).order_by(_trials.c.number)
        with self._database.reading() as connection:
            return [trial_from_row(row) for row in connection.execute(select)]

    def any_running(self, job_id: str) -> bool:
        """Whether a job is in the midst of a trial."""
        select = sa.select(_trials.c.number).where(
            _trials.c.job == job_id, _trials.c.state == TrialState.RUNNING.value
        )
        with self._database.reading() as connection:
            return connection.execute(select.limit(1)).first() is not None

    def page(
        self, job_id: str, order: str, higher_is_better: bool, page: PageRequest
    ) -> Page[Trial]:
        """One page. `order` is `number`, or `validation_score` for the best first: then failed
        trials and those without a score come last."""
        score = _trials.c.validation_score
        ranked = [
            _trials.c.state == TrialState.FAILED.value,
            score.is_(None),
            score.desc() if higher_is_better else score.asc(),
        ]
        query = ("trials", job_id, order)
        # A score may change between two pages, so the token counts places.
        (skip,) = read_token(query, page.token, (int,)) or (0,)
        limit = page.limit
        select = (
            sa.select(_trials)
            .where(_trials.c.job == job_id)
            .order_by(*([] if order == "number" else ranked), _trials.c.number)
            .offset(max(0, min(skip, 2**31)))
            .limit(limit + 1)
        )
        with self._database.reading() as connection:
            rows = connection.execute(select).all()
        token = make_token(query, (skip + limit,)) if len(rows) > limit else ""
        return Page(tuple(trial_from_row(row) for row in rows[:limit]), token)


@retried("_database")
class Events:
    """The rows of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, job_id: str, sequence: int, limit: int) -> Sequence[Event]:
        """At most `limit` events with a higher number, in order."""
        select = (
            sa.select(_events)
            .where(_events.c.job == job_id, _events.c.sequence > sequence)
            .order_by(_events.c.sequence)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [event_from_row(row) for row in connection.execute(select)]

    def of_kinds(self, job_id: str, kinds: Collection[type[EventBody]]) -> Sequence[Event]:
        """All events of a job whose bodies are of these kinds, in order."""
        select = (
            sa.select(_events)
            .where(_events.c.job == job_id, _events.c.kind.in_([event_kind(k) for k in kinds]))
            .order_by(_events.c.sequence)
        )
        with self._database.reading() as connection:
            return [event_from_row(row) for row in connection.execute(select)]
