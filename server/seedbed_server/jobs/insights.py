"""What the rows of a job say about how it went: when the best changed, what the time went into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seedbed_server.jobs.values import (
    BestChanged,
    Event,
    EventBody,
    Job,
    JobState,
    StateChanged,
    TrialFinished,
    TrialStarted,
)

KINDS: tuple[type[EventBody], ...] = (StateChanged, TrialStarted, TrialFinished, BestChanged)
"""The events that the functions here look at."""


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """Seconds; all but `waiting` add up to what the job has used."""

    preparing: float
    training: float
    choosing: float
    finishing: float
    waiting: float


def learning_curve(events: Sequence[Event]) -> list[BestChanged]:
    """The trials that became the best so far, each with the job's clock; those of which it was not
    written down are left out."""
    bests = [event.body for event in events if isinstance(event.body, BestChanged)]
    return [best for best in bests if best.seconds is not None]


def time_spent(job: Job, events: Sequence[Event], now: datetime) -> TimeSpent:
    """What a job's time went into until `now`. `events` are those of `KINDS`, in order."""
    used = job.used(now)
    training, began = 0.0, None
    for event, seconds in zip([*events, None], [*_clock(events), used.seconds], strict=True):
        if event is None or isinstance(event.body, TrialFinished):
            training += 0.0 if began is None else seconds - began
            began = None
        elif isinstance(event.body, TrialStarted):
            began = seconds
    training = min(max(0.0, training), used.searching_seconds)
    return TimeSpent(
        preparing=used.preparing_seconds,
        training=training,
        choosing=used.searching_seconds - training,
        finishing=used.finishing_seconds,
        waiting=_waiting(events, now),
    )


def _clock(events: Sequence[Event]) -> list[float]:
    """The job's clock at each event. It goes on while the job is at work, and where a server was
    lost it had stopped with the last thing that was written down."""
    clock: list[float] = []
    base, since = 0.0, None
    for event in events:
        seconds = base
        if since is not None:
            seconds += max(0.0, (event.time - since).total_seconds())
        body = event.body
        if isinstance(body, StateChanged):
            seconds = seconds if body.seconds is None else body.seconds
            base = seconds
            at_work = body.state is not JobState.QUEUED and not body.state.ended
            since = event.time if at_work else None
        clock.append(seconds)
    for place in range(len(clock) - 1, 0, -1):
        clock[place - 1] = min(clock[place - 1], clock[place])
    return clock


def _waiting(events: Sequence[Event], now: datetime) -> float:
    """Seconds in the queue; those in which no server ran before it are not among them."""
    changes = [event for event in events if isinstance(event.body, StateChanged)]
    ends = [*(change.time for change in changes[1:]), now]
    return sum(
        max(0.0, (end - change.time).total_seconds())
        for change, end in zip(changes, ends, strict=False)
        if isinstance(change.body, StateChanged) and change.body.state is JobState.QUEUED
    )
