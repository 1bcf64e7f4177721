"""When a worker is ended because its trial does not end by itself.

A trial is asked to look every second whether to stop; one that does not, such as one that hangs in
foreign code, would hold up the job and its slot for ever.
"""

from __future__ import annotations

import math
from datetime import datetime

from seedbed_server.jobs.values import Job, JobState

# After the end of the budget, or after the user has stopped the search.
GRACE_SECONDS = 3.0
GRACE_SHARE = 0.05
# Before the end of the budget, without a sign of life.
SILENT_SECONDS = 60.0
SILENT_SHARE = 0.25
# After the end of the budget, where there is no model yet that could be kept.
NOTHING_YET_SECONDS = 120.0
# Without a budget of time: this many times what the longest trial took, as a whole.
SILENT_TRIALS = 3.0


def silence_limit(timeout: float, longest_trial: float) -> float:
    """Seconds of silence after which a trial of a job without a budget of time is taken to hang:
    at least `timeout`, and more where one of its trials took long, since others may as well."""
    return max(timeout, SILENT_TRIALS * longest_trial)


def why_overdue(
    job: Job, now: datetime, stopped_for: float | None, may_be_silent: float = math.inf
) -> str:
    """Why the trial that a job is at work on is to be ended with its worker; empty where it is not.

    `stopped_for` are the seconds since the user stopped the search, None where nobody has.
    `may_be_silent` is the `silence_limit`, which counts where there is no limit on the wall clock.
    """
    if job.state is not JobState.SEARCHING or job.state_time is None:
        return ""
    clock = job.budget.wall_clock_seconds
    silent = (now - job.update_time).total_seconds()
    grace = max(GRACE_SECONDS, GRACE_SHARE * (clock or 0.0))
    if stopped_for is not None and stopped_for > grace:
        return f"it had not stopped {stopped_for:.0f} s after it was asked to"
    if clock is None:
        enough = silent > may_be_silent
        return f"nothing was heard of it for {silent:.0f} s" if enough else ""
    over = job.consumption.seconds + (now - job.state_time).total_seconds() - clock
    if job.validation_score is None:
        enough = over > 0 and silent > max(NOTHING_YET_SECONDS, clock)
        return f"nothing was heard of it for {silent:.0f} s" if enough else ""
    if over > grace:
        return f"it had not stopped {over:.0f} s after the time was up"
    if silent > max(SILENT_SECONDS, SILENT_SHARE * clock):
        return f"nothing was heard of it for {silent:.0f} s"
    return ""
