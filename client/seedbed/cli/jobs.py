"""`seedbed jobs` and `seedbed job …`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

import seedbed
from seedbed.budget import format_budget
from seedbed.cli.output import (
    leaderboard,
    moment,
    number,
    pairs,
    parameters_text,
    say,
    say_json,
    score_line,
    short,
    show_error,
    table,
)
from seedbed.cli.progress import finding_text, job_display
from seedbed.cli.session import Session, connection_options, json_option, pass_session
from seedbed.cli.train import exit_code, follow, show_result, summary


@click.command(epilog="Example: seedbed jobs --filter 'state = SUCCEEDED'")
@click.option(
    "--filter",
    "filter_",
    default="",
    help="Such as `state = SUCCEEDED` or `task = tabular AND state = FAILED`.",
)
@json_option
@connection_options
@pass_session
def jobs(session: Session, filter_: str) -> None:
    """List the jobs, the newest first."""
    with session.client() as client:
        found = client.jobs(filter_)
    if session.json:
        say_json({"jobs": [summary(job, []) for job in found]})
    elif not found:
        say("no jobs" if not filter_ else "no jobs like that")
    else:
        table(
            ["job", "state", "task", "best", ("trials", "right"), "created"],
            [_row(job.info) for job in found],
        )


def _row(info: seedbed.JobInfo) -> list[object]:
    score = info.validation_score
    return [
        info.id,
        info.state.lower(),
        short(info.task),
        f"{score.metric} {number(score.value)}" if score else "",
        info.trials,
        moment(info.create_time),
    ]


@click.group(epilog="Example: seedbed job show JOB")
@connection_options
def job() -> None:
    """Look at one job, watch it, end it."""


@job.command(epilog="Example: seedbed job show j-2f6c --json")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def show(session: Session, name: str) -> None:
    """Show a job and its leaderboard."""
    with session.client() as client:
        found = client.job(name)
        trials = found.trials()
    if session.json:
        say_json({**summary(found, trials), "leaderboard": [_trial(t) for t in trials]})
        return
    info = found.info
    pairs(
        [
            ("job", info.id),
            ("name", info.display_name),
            ("state", info.state.lower()),
            ("ended by", info.stop_reason.lower().replace("_", " ")),
            ("error", info.error),
            ("task", short(info.task)),
            ("dataset", short(info.dataset)),
            ("target", info.target),
            ("budget", format_budget(info.budget)),
            ("seed", info.seed),
            ("options", parameters_text(info.options)),
            ("search space", "; ".join(f"{k}={v}" for k, v in info.search_space.items())),
            ("validation", score_line(info.validation_score) if info.validation_score else ""),
            ("test", score_line(info.test_score) if info.test_score else ""),
            ("model", short(info.model)),
            ("created", moment(info.create_time)),
            ("seconds", f"{info.seconds:.1f}" if info.seconds is not None else ""),
            *(("finding", finding_text(finding)) for finding in info.findings),
        ]
    )
    if trials:
        say()
        leaderboard(trials, info.validation_score.metric if info.validation_score else "")


def _trial(trial: seedbed.Trial) -> dict[str, Any]:
    return {**asdict(trial), "state": str(trial.state)}


@job.command(epilog="Example: seedbed job watch j-2f6c")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def watch(session: Session, name: str) -> int:
    """Follow a job to its end. Ctrl-C leaves it running."""
    with session.client() as client:
        found = client.job(name)
        with job_display(found.info.metric or "score") as display:
            for event in found.watch():
                display.show(event)
        found.refresh()
        trials = found.trials()
    if session.json:
        say_json(summary(found, trials))
    else:
        show_result(found, trials)
    return exit_code(found, 0)


@job.command(epilog="Example: seedbed job stop j-2f6c")
@click.argument("name", metavar="JOB")
@click.option("--wait/--no-wait", default=True, help="Wait for the model, or answer at once.")
@json_option
@connection_options
@pass_session
def stop(session: Session, name: str, wait: bool) -> int:
    """End a job's search and keep the best model so far."""
    with session.client() as client:
        found = client.job(name).stop()
        if wait:
            follow(found, found.info.last_sequence)
            found.refresh()
    _show_ended(session, found)
    return exit_code(found, 0) if wait else 0


@job.command(epilog="Example: seedbed job cancel j-2f6c")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def cancel(session: Session, name: str) -> None:
    """End a job at once and keep nothing."""
    with session.client() as client:
        _show_ended(session, client.job(name).cancel())


@job.command(epilog="Example: seedbed job delete j-2f6c")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete an ended job with its trials; its model stays."""
    with session.client() as client:
        found = client.job(name)
        found.delete()
    if session.json:
        say_json({"deleted": found.id})
    else:
        say(f"deleted job {found.id}")


def _show_ended(session: Session, found: seedbed.Job) -> None:
    if session.json:
        say_json(summary(found, []))
        return
    model = f", model {short(found.info.model)}" if found.info.model else ""
    say(f"job {found.id} {found.state.lower()}{model}")
    if found.info.error:
        show_error(seedbed.SeedbedError(found.info.error))
