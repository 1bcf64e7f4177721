"""`seedbed train`."""

from __future__ import annotations

import json
import shlex
from typing import Any

import click

import seedbed
from seedbed.cli.data_options import data_options, pairs_of
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
from seedbed.cli.session import Session, connection_options, json_option, pass_session

INTERRUPTED = 130


@click.command(
    epilog="Example: seedbed train --task tabular --data train.csv --test test.csv "
    "--target income --budget 60s"
)
@click.option("--task", required=True, help="What to learn; `seedbed tasks` lists them.")
@click.option(
    "--data",
    required=True,
    multiple=True,
    metavar="URI",
    help="A file, a folder, a URI or a dataset's id; may be given several times.",
)
@data_options
@click.option(
    "--target", metavar="COLUMN", help="The column to predict; several with commas between them."
)
@click.option(
    "--budget",
    default="60s",
    show_default=True,
    help="60s, 5m, 20trials, 500000samples, or several with commas: the first one ends it.",
)
@click.option("--metric", help="What the model is chosen by.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A task's option.")
@click.option(
    "--search",
    multiple=True,
    metavar="NAME=DOMAIN",
    help="Narrow or fix a hyperparameter: learning_rate=1e-4..1e-2, "
    "architecture=linear,lightgbm, epochs=5.",
)
@click.option("--seed", type=click.IntRange(0, 2**53), help="Starting point of all randomness.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
@connection_options
@pass_session
def train(
    session: Session,
    task: str,
    data: tuple[str, ...],
    where: dict[str, Any],
    target: str | None,
    budget: str,
    metric: str | None,
    settings: tuple[str, ...],
    search: tuple[str, ...],
    seed: int | None,
    detach: bool,
) -> int:
    """Search for the best model within a budget.

    Ctrl-C stops the search and keeps the best model so far; a second one cancels the job.
    """
    options = {key: _setting(value) for key, value in pairs_of(settings, "--set", "KEY=VALUE")}
    space = dict(pairs_of(search, "--search", "NAME=DOMAIN"))
    limits = seedbed.parse_budget(budget)
    domains = {name: seedbed.parse_domain(text, name) for name, text in space.items()}
    with session.client() as client:
        job = client.train(
            task,
            data,
            **where,
            target=target,
            budget=limits,
            metric=metric,
            options=options,
            search_space=domains,
            seed=seed,
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
            show_result(job, trials, f"{shlex.quote(data[0])}{session.repeated}")
        return exit_code(job, interrupts)


def _setting(text: str) -> Any:
    """JSON where it is such (numbers, true, lists), else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


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
