"""`seedbed job insights`."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import seedbed
from seedbed.cli.charts import bar, steps
from seedbed.cli.output import console, number, say, say_json, short
from seedbed.cli.session import Session, connection_options, json_option, pass_session

_HEIGHT = 8
_WIDEST = 100
_LONGEST_BAR = 40
# What stands beside a bar.
_BESIDE = 40


@click.command(epilog="Example: seedbed job insights j-2f6c")
@click.argument("name", metavar="JOB")
@json_option
@connection_options
@pass_session
def insights(session: Session, name: str) -> None:
    """Show how a job's search went, up to now where it runs.

    The best score so far over time, what the time went into, which hyperparameters mattered for the
    score, and what twice the budget would bring.
    """
    with session.client() as client:
        found = client.job(name).insights()
    if session.json:
        say_json({**asdict(found), "job": short(found.job)})
        return
    show(found)


def show(found: seedbed.JobInsights) -> None:
    """The curve, the time, the importances, and a sentence on twice the budget."""
    stream = console()
    _show_curve(found, min(stream.width, _WIDEST))
    say()
    _show_time(found, stream)
    if found.importances:
        say()
        _show_importances(found, stream)
    say()
    stream.print(Text(twice_the_budget(found)))


def _show_curve(found: seedbed.JobInsights, width: int) -> None:
    curve = found.learning_curve
    if not curve:
        say("no trial has a score yet")
        return
    last = curve[-1]
    end = max(found.consumption.seconds, last.seconds)
    say(f"best validation {found.metric} so far")
    values = [point.validation_score for point in curve]
    top, bottom = number(max(values)), number(min(values))
    margin = max(len(top), len(bottom))
    height = _HEIGHT if max(values) > min(values) else 1
    lines = steps(
        [(point.seconds, point.validation_score) for point in curve],
        end,
        width - margin - 2,
        height,
    )
    for place, line in enumerate(lines):
        label = top if place == 0 else bottom if place == height - 1 else ""
        say(f"{label:>{margin}} ┤{line}".rstrip())
    until = f"{end:.1f} s"
    say(f"{'':{margin}} └{'─' * (width - margin - 2)}")
    say(f"{'':{margin}}  0 s{until:>{width - margin - 5}}")
    say(
        f"{number(last.validation_score)} since {last.seconds:.1f} s, trial {last.trial} "
        f"({last.architecture}); {found.consumption.trials} trials"
    )
    best = found.twice_the_budget.best
    if best is not None and number(best) != number(last.validation_score):
        say(f"{number(best)} was reached too, and not chosen: by chance alone, or past a limit")


def _show_time(found: seedbed.JobInsights, stream: Console) -> None:
    spent, whole = found.time_spent, found.consumption.seconds
    grid = _grid()
    for name in ("preparing", "training", "choosing", "finishing"):
        seconds: float = getattr(spent, name)
        share = seconds / whole if whole else 0.0
        _add(grid, stream, name, share, f"{seconds:.1f} s")
    if spent.waiting >= 0.05:
        grid.add_row("waiting", f"{spent.waiting:.1f} s", "", Text("for a slot, not counted"))
    stream.print(grid)


def _show_importances(found: seedbed.JobInsights, stream: Console) -> None:
    grid = _grid()
    for group in found.importances:
        trials = f"{group.trials} trial{'s' if group.trials != 1 else ''}"
        if group.architecture or group.reason:
            head = group.architecture or "architecture"
            grid.add_row(Text(head, style="bold"), "", "", Text(group.reason or trials, "dim"))
        indent = "  " if group.architecture else ""
        for name, share in group.shares.items():
            _add(grid, stream, indent + name, share, "")
    stream.print(grid)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _add(grid: Table, stream: Console, name: str, share: float, amount: str) -> None:
    width = max(8, min(_LONGEST_BAR, stream.width - _BESIDE))
    grid.add_row(name, amount, f"{share:.0%}", Text(bar(share, width), style="cyan"))


def twice_the_budget(found: seedbed.JobInsights) -> str:
    """A sentence on what twice the budget would bring."""
    then = found.twice_the_budget
    if then.expected is None or then.lower is None or then.upper is None or then.best is None:
        return f"What twice the budget would bring cannot be said: {then.reason}."
    best, lower, upper = number(then.best), number(then.lower), number(then.upper)
    budget = f"Twice the budget, {then.more_trials} more trials, would"
    if lower == upper:
        return f"{budget} most likely leave the best validation {found.metric} at {best}."
    return (
        f"{budget} bring the best validation {found.metric} from {best} to "
        f"{number(then.expected)} on average; in {then.confidence:.0%} of such cases it lies from "
        f"{lower} to {upper}, and in {1 - (then.improvement or 0.0):.0%} it stays."
    )
