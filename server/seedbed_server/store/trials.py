"""Trials and events of a job, for readers. `JobWriter` writes them."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from seedbed_server.jobs.values import (
    Event,
    EventBody,
    JobState,
    StateChanged,
    Trial,
    TrialFinished,
    TrialState,
)
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

    def longest(self, job_id: str) -> float:
        """The seconds of the longest of a job's trials that ended and did not fail; 0 where there
        is none."""
        ended = _trials.c.state.in_([TrialState.COMPLETE.value, TrialState.PRUNED.value])
        select = sa.select(sa.func.max(_trials.c.seconds)).where(_trials.c.job == job_id, ended)
        with self._database.reading() as connection:
            return float(connection.execute(select).scalar() or 0.0)

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


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events there are of each kind; among them of each end of the job and of its trials.
    `last` is the number of the last one."""

    last: int
    kinds: Mapping[str, int]
    ended: Mapping[JobState, int]
    trials: Mapping[TrialState, int]


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

    def tally(self, job_id: str, after: int, since: datetime) -> Tally:
        """Counts the events with a higher number, and none from before a time."""
        state = _events.c.body["state"].as_string().label("state")
        select = (
            sa.select(
                _events.c.kind,
                state,
                sa.func.count().label("number"),
                sa.func.max(_events.c.sequence).label("last"),
            )
            .where(_events.c.job == job_id, _events.c.sequence > after, _events.c.time >= since)
            .group_by(_events.c.kind, state)
        )
        with self._database.reading() as connection:
            rows = connection.execute(select).all()
        kinds: Counter[str] = Counter()
        for row in rows:
            kinds[row.kind] += row.number
        changed, finished = event_kind(StateChanged), event_kind(TrialFinished)
        states = {JobState(r.state): r.number for r in rows if r.kind == changed}
        return Tally(
            last=max([after, *(row.last for row in rows)]),
            kinds=kinds,
            ended={state: number for state, number in states.items() if state.ended},
            trials={TrialState(r.state): r.number for r in rows if r.kind == finished},
        )
