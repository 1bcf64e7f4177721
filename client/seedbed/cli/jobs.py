"""`seedbed jobs` and `seedbed job …`."""

from __future__ import annotations

from collections.abc import Mapping
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
    size,
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
            *(("starting point", _settings(point)) for point in info.starting_points),
            *(("earlier job", _earlier(job)) for job in info.earlier_jobs),
            ("earlier jobs", "ignored" if info.ignore_earlier_jobs else ""),
            ("constraints", _constraints(info.constraints)),
            ("validation", score_line(info.validation_score) if info.validation_score else ""),
            ("test", score_line(info.test_score) if info.test_score else ""),
            ("model", short(info.model)),
            ("created", moment(info.create_time)),
            ("replay of", short(info.replay_of)),
            *(("replay", text) for text in _replayed(info)),
            ("seconds", _phases(info.consumption) if info.seconds is not None else ""),
            *(("finding", finding_text(finding)) for finding in info.findings),
        ]
    )
    if trials:
        say()
        leaderboard(trials, info.validation_score.metric if info.validation_score else "")


def _settings(parameters: Mapping[str, Any], architecture: str = "") -> str:
    return f"{architecture or parameters['architecture']} {parameters_text(parameters)}"


def _earlier(job: seedbed.EarlierJob) -> str:
    settings = _settings(job.parameters, job.architecture)
    return f"{short(job.job)} (distance {job.distance:.2f}): {settings}"


def _constraints(constraints: seedbed.Constraints) -> str:
    latency, most = constraints.max_latency, constraints.max_size
    parts = [f"{latency * 1e3:g} ms for one example"] if latency is not None else []
    parts += [size(most)] if most is not None else []
    return f"at most {' and '.join(parts)}" if parts else ""


def _replayed(info: seedbed.JobInfo) -> list[str]:
    return _compared(info.replay) if info.replay is not None and info.replay.digest else []


def _phases(used: seedbed.Consumption) -> str:
    parts = {
        "preparing": used.preparing,
        "searching": used.searching,
        "finishing": used.finishing,
    }
    return f"{used.seconds:.1f} ({', '.join(f'{k} {v:.1f}' for k, v in parts.items())})"


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


@job.command(epilog="Example: seedbed job extend j-2f6c --budget 60s")
@click.argument("name", metavar="JOB")
@click.option(
    "--budget",
    required=True,
    help="What is added: 60s, 5m, 20trials, 500000samples, or several with commas.",
)
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@json_option
@connection_options
@pass_session
def extend(session: Session, name: str, budget: str, detach: bool) -> int:
    """Give an ended job more budget; it goes on where it was.

    The model stays unless a better one is found. Ctrl-C stops the search and keeps the best.
    """
    limits = seedbed.parse_budget(budget)
    with session.client() as client:
        found = client.job(name)
        before, last = found.info.model, found.info.last_sequence
        found.extend(limits, detach=True)
        interrupts = 0 if detach else follow(found, last)
        found.refresh()
        trials = found.trials()
    if session.json:
        say_json(summary(found, trials))
    elif detach:
        say(f"job {found.id} {found.state.lower()}")
        say(f"next: seedbed job watch {found.id}{session.repeated}")
    else:
        show_result(found, trials)
        if before and found.info.model == before:
            say("nothing better was found, so the model is the one from before")
    return 0 if detach else exit_code(found, interrupts)


@job.command(epilog="Example: seedbed job replay j-2f6c")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def replay(session: Session, name: str) -> int:
    """Train a job's model once more and compare the weights.

    Exits with 0 where they are identical, which they are on the same machine.
    """
    with session.client() as client:
        again = client.job(name).replay(detach=True)
        interrupts = follow(again)
        again.refresh()
    found = again.info.replay
    done = again.state is seedbed.JobState.SUCCEEDED and found is not None
    if session.json:
        say_json({**summary(again, []), "replay": asdict(found) if found else None})
    elif found is not None and done:
        for text in _compared(found):
            say(text)
    else:
        show_result(again, [])
    return int(not found.identical) if found is not None and done else exit_code(again, interrupts)


def _compared(found: seedbed.Replay) -> list[str]:
    model = short(found.model)
    if found.identical:
        return [f"identical: model {model} was trained again to the same weights, {found.digest}"]
    score = "none" if found.score is None else number(found.score)
    return [
        f"different: model {model} was trained again to other weights",
        f"digest     {found.expected_digest} then",
        f"           {found.digest} now",
        f"validation {number(found.expected_score)} then, {score} now",
    ]


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
