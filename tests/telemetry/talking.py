"""A driver whose trials talk in all the ways in which a plugin may."""

from __future__ import annotations

import logging
import threading
import warnings
from dataclasses import replace

import structlog

from seedbed_server.executors import Assignment, Control
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import JobState, Trial, TrialState
from seedbed_server.store import Store

log = structlog.get_logger()
plugin_log = logging.getLogger("some_plugin.network")


def run_job(assignment: Assignment, control: Control) -> None:
    """One trial alone, then two side by side; cancels the job."""
    session = JobSession(
        Store(assignment.database_url), assignment.job_id, assignment.attempt, control.notify
    )
    plugin_log.info("before any trial")
    session.set_state(JobState.SEARCHING)
    trials = [Trial(number, "line", {}) for number in range(3)]
    session.start_trial(trials[0])
    _talk()
    _finish(session, trials[0])
    for trial in trials[1:]:
        session.start_trial(trial)
    plugin_log.warning("two at a time")
    for trial in trials[1:]:
        _finish(session, trial)
    plugin_log.info("after the trials")
    session.cancel()


def _talk() -> None:
    plugin_log.info("epoch %d of %d", 1, 2)
    log.info("ours", loss=0.5)
    warnings.warn("an odd value\nin two lines", UserWarning, stacklevel=1)
    for work in (lambda: plugin_log.error("from a thread"), _fail):
        thread = threading.Thread(target=work, name="loader")
        thread.start()
        thread.join()
    try:
        _fail()
    except ZeroDivisionError:
        plugin_log.exception("it failed")


def _fail() -> None:
    raise ZeroDivisionError("a bug in a thread")


def _finish(session: JobSession, trial: Trial) -> None:
    done = replace(trial, state=TrialState.COMPLETE, validation_score=0.5)
    session.finish_trial(done, samples_total=1)
