"""`seedbed train`."""

from __future__ import annotations

import shlex
from typing import Any

import click

import seedbed
from seedbed.cli.output import (
    error_json,
    leaderboard,
    number,
    say,
    say_json,
    score_line,
    short,
    show_error,
)
from seedbed.cli.progress import Display, job_display
from seedbed.cli.search_options import search_options
from seedbed.cli.session import Session, connection_options, json_option, pass_session

INTERRUPTED = 130


@click.command(
    epilog="Example: seedbed train --task tabular --data train.csv --test test.csv "
    "--target income --budget 60s"
)
@search_options
@click.option(
    "--find-learning-rate",
    is_flag=True,
    help="Look for each network's learning rate in a short test before its first trial.",
)
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
@connection_options
@pass_session
def train(
    session: Session,
    wanted: dict[str, Any],
    find_learning_rate: bool,
    detach: bool,
) -> int:
    """Search for the best model within a budget.

    Ctrl-C stops the search and keeps the best model so far; a second one cancels the job.
    """
    with session.client() as client:
        job = client.train(
            **wanted,
            find_learning_rate=find_learning_rate,
            detach=True,
        )
        if detach:
            _show_detached(session, job)
            return 0
        interrupts = follow(job)
        job.refresh()
        trials = job.trials()
        if session.json:
            say_json(summary(job, trials, client))
        else:
            show_result(job, trials, f"{shlex.quote(wanted['data'][0])}{session.repeated}")
        return exit_code(job, interrupts)


def _show_detached(session: Session, job: seedbed.Job) -> None:
    if session.json:
        say_json(summary(job, []))
        return
    say(f"job {job.id} {job.state.lower()}")
    say(f"next: seedbed job watch {job.id}{session.repeated}")


def follow(job: seedbed.Job, after: int = 0) -> int:
    """Shows the job's progress until its end, and returns how often Ctrl-C was pressed."""
    interrupts = 0
    with job_display(job.info.metric or "score") as display:
        display.last = after
        while True:
            try:
                _watch(job, display)
                return interrupts
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 2:
                    raise
                _interrupt(job, interrupts, display)


def _watch(job: seedbed.Job, display: Display) -> None:
    for event in job.watch(display.last):
        display.show(event)


def _interrupt(job: seedbed.Job, count: int, display: Display) -> None:
    try:
        if count == 1:
            display.say("stopping, the best model so far is kept (Ctrl-C again cancels the job)")
            job.stop()
        else:
            display.say("cancelling the job")
            job.cancel()
    except seedbed.FailedPrecondition:
        # It ended in the same moment, and the watch will say so.
        return


def exit_code(job: seedbed.Job, interrupts: int) -> int:
    """0 where there is a model, 130 where Ctrl-C left none, else 1."""
    if job.state is seedbed.JobState.SUCCEEDED:
        return 0
    return INTERRUPTED if interrupts else 1


def summary(
    job: seedbed.Job, trials: list[seedbed.Trial], client: seedbed.Client | None = None
) -> dict[str, Any]:
    """A job as `train --json` and `job show --json` print it, with short ids; with a client also
    every score that its model has."""
    info = job.info
    validation, test = info.validation_score, info.test_score
    interval = None
    if test is not None and test.lower is not None and test.upper is not None:
        interval = [test.lower, test.upper]
    data: dict[str, Any] = {
        "job": job.id,
        "state": str(job.state),
        "model": short(info.model) or None,
        "task": short(info.task),
        "dataset": short(info.dataset),
        "metric": validation.metric if validation else info.metric or None,
        "validation_score": validation.value if validation else None,
        "test_score": test.value if test else None,
        "test_interval": interval,
        "trials": len(trials) or info.trials,
        "seconds": None if info.seconds is None else round(info.seconds, 3),
        "stop_reason": info.stop_reason or None,
        "earlier_jobs": [short(earlier.job) for earlier in info.earlier_jobs],
    }
    if client is not None and info.model:
        scores = client.model(info.model).info.test_scores
        data["test_scores"] = {score.metric: score.value for score in scores}
    try:
        job.raise_if_failed()
    except seedbed.JobFailed as error:
        data["error"] = error_json(error)
    return data


def show_result(job: seedbed.Job, trials: list[seedbed.Trial], data: str = "") -> None:
    """The leaderboard, the scores and what to do next; the error where the job failed.

    `data` is what the next command's `--data` says."""
    info = job.info
    score = info.validation_score
    if trials:
        leaderboard(trials, score.metric if score else info.metric)
        say()
    if job.state is seedbed.JobState.FAILED:
        show_error(seedbed.JobFailed(job, seedbed.SeedbedError(info.error)))
        return
    if job.state is not seedbed.JobState.SUCCEEDED:
        say(f"job {job.id} {job.state.lower()}, no model was kept")
        return
    if score is not None:
        say(f"validation {score.metric} {number(score.value)}")
    if info.test_score is not None:
        say(f"test {score_line(info.test_score)}")
    reason = info.stop_reason.lower().replace("_", " ")
    took = f" in {info.seconds:.1f} s" if info.seconds is not None else ""
    say(f"model {short(info.model)} from {len(trials)} trials{took}, ended by {reason or 'itself'}")
    say(f"next: seedbed predict {short(info.model)} --data {data or '…'}")
