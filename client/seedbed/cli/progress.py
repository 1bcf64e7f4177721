"""A job's progress: a live display in a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

import seedbed
from seedbed.cli.output import clock, console, note, number


class Display(Protocol):
    """Takes a job's events and shows them. `last` is the number of the latest one."""

    last: int

    def show(self, event: seedbed.Event) -> None:
        """One event."""

    def say(self, text: str) -> None:
        """A line of the command's own."""


@dataclass
class View:
    """What the events so far add up to."""

    metric: str
    state: str = "queued"
    message: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    left_since: float = 0.0
    trial: int | None = None
    architecture: str = ""
    epoch: int = 0
    epochs: int = 0
    score: float | None = None
    best: seedbed.BestChanged | None = None
    complete: int = 0
    pruned: int = 0
    failed: int = 0

    def apply(self, event: seedbed.Event) -> None:
        """Takes one event in."""
        match event.body:
            case seedbed.StateChanged(state):
                self.state = state.lower()
            case seedbed.Progress(fraction, left, message):
                self.fraction, self.message = fraction, message
                self.seconds_left, self.left_since = left, time.monotonic()
            case seedbed.TrialStarted(trial, architecture):
                self.trial, self.architecture = trial, architecture
                self.epoch, self.epochs, self.score = 0, 0, None
            case seedbed.EpochFinished(trial, epoch, epochs, score):
                self.trial, self.epoch, self.epochs, self.score = trial, epoch, epochs, score
            case seedbed.TrialFinished(_, trial_state):
                self.complete += trial_state is seedbed.TrialState.COMPLETE
                self.pruned += trial_state is seedbed.TrialState.PRUNED
                self.failed += trial_state is seedbed.TrialState.FAILED
            case seedbed.BestChanged() as best:
                self.best = best

    @property
    def left(self) -> float | None:
        """Seconds left by now, by the last estimate."""
        if self.seconds_left is None:
            return None
        return max(0.0, self.seconds_left - (time.monotonic() - self.left_since))


class PlainDisplay:
    """One line per state change, finished trial, better best, finding and warning."""

    def __init__(self, metric: str) -> None:
        self.last = 0
        self._metric = metric
        self._architectures: dict[int, str] = {}
        self._start: datetime | None = None

    def show(self, event: seedbed.Event) -> None:
        """One event."""
        self.last = event.sequence
        self._start = self._start or event.time
        if isinstance(event.body, seedbed.TrialStarted):
            self._architectures[event.body.trial] = event.body.architecture
        text = self._describe(event.body)
        if text:
            seconds = (event.time - self._start).total_seconds()
            note(f"{seconds:7.1f}s  {text}")

    def say(self, text: str) -> None:
        """A line of the command's own."""
        note(text)

    def _describe(self, body: object) -> str:
        match body:
            case seedbed.StateChanged(state, error, reason):
                why = error or reason.lower().replace("_", " ")
                return f"{state.lower()}{f': {why}' if why else ''}"
            case seedbed.TrialFinished(trial, state, score, reason):
                shown = "" if score is None else f", {self._metric} {number(score)}"
                why = f" ({reason})" if reason else ""
                name = self._architectures.get(trial, "")
                return f"trial {trial} {name} {state.lower()}{shown}{why}"
            case seedbed.BestChanged(trial, architecture, score):
                return (
                    f"best so far: {self._metric} {number(score)} (trial {trial}, {architecture})"
                )
            case seedbed.Finding() as finding:
                return finding_text(finding)
            case seedbed.Log("WARNING", message):
                return f"warning: {message}"
            case _:
                return ""


class LiveDisplay:
    """Phase, trial, epoch, best so far and time left, redrawn in place."""

    def __init__(self, metric: str, live: Live) -> None:
        self.last = 0
        self.view = View(metric)
        self._live = live

    def show(self, event: seedbed.Event) -> None:
        """One event."""
        self.last = event.sequence
        self.view.apply(event)
        match event.body:
            case seedbed.Finding() as finding:
                self.say(finding_text(finding))
            case seedbed.Log("WARNING", message):
                self.say(f"warning: {message}")
            case seedbed.TrialFinished(trial, seedbed.TrialState.FAILED, _, reason):
                self.say(f"trial {trial} failed: {reason}")

    def say(self, text: str) -> None:
        """A line above the display."""
        self._live.console.print(Text(text))


@contextmanager
def job_display(metric: str) -> Iterator[Display]:
    """The display that suits stderr, for the time of the block."""
    stream = console(stderr=True)
    if not stream.is_terminal or stream.is_dumb_terminal:
        yield PlainDisplay(metric)
        return
    spinner = Spinner("dots")
    # Live asks for the renderable before the display exists; it is made right after.
    shown: list[LiveDisplay] = []
    with Live(
        get_renderable=lambda: render(shown[0].view, spinner, stream) if shown else "",
        console=stream,
        refresh_per_second=8,
        transient=True,
    ) as live:
        shown.append(LiveDisplay(metric, live))
        yield shown[0]


def render(view: View, spinner: Spinner, stream: Console) -> Group:
    """Three lines, each within the terminal's width."""
    head = Table.grid(padding=(0, 1))
    left = view.left
    spinner.update(text=Text(f"{view.state:<10}", style="bold"))
    bar = ProgressBar(total=1.0, completed=view.fraction, width=max(10, stream.width - 44))
    until = f"{clock(left)} left" if left is not None else ""
    head.add_row(spinner, bar, f"{view.fraction:4.0%}", Text(until, style="cyan"))
    lines = [_trial_line(view), _best_line(view)]
    return Group(head, *(_fit(line) for line in lines if line.plain))


def _fit(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _trial_line(view: View) -> Text:
    if view.state != "searching" or view.trial is None:
        return Text(f"  {view.message}" if view.message else "")
    line = Text(f"  trial {view.trial}  {view.architecture}")
    if view.epochs:
        line += Text(f"  epoch {view.epoch}/{view.epochs}")
    if view.score is not None:
        line += Text(f"  {view.metric} {number(view.score)}", style="dim")
    return line


def _best_line(view: View) -> Text:
    line = Text()
    if view.best is not None:
        line += Text(f"  best {view.metric} {number(view.best.validation_score)}", style="green")
        line += Text(f" (trial {view.best.trial}, {view.best.architecture})")
    counts = [
        f"{count} {word}"
        for count, word in (
            (view.complete, "done"),
            (view.pruned, "pruned"),
            (view.failed, "failed"),
        )
        if count
    ]
    if counts:
        line += Text("  " + ", ".join(counts), style="dim")
    return line


def finding_text(finding: seedbed.Finding) -> str:
    """`warning: column_name: what was found; what to do`."""
    subject = f"{finding.subject}: " if finding.subject else ""
    advice = f"; {finding.suggestion}" if finding.suggestion else ""
    return f"{finding.severity.lower()}: {subject}{finding.message}{advice}"
