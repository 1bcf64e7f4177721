"""How things look in a terminal: tables, scores, errors, JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import seedbed
from seedbed.errors import SeedbedError

# What a file or a pipe gets, where there is no terminal whose width counts.
_WIDE = 160
_GAP = 2
_NARROWEST = 10
_SHOWN_TRIALS = 10
_SHOWN_FAILED = 5


def console(*, stderr: bool = False) -> Console:
    """A console for one of the two streams; made when used, since tests exchange the streams."""
    stream = sys.stderr if stderr else sys.stdout
    wide = not stream.isatty() and not os.environ.get("COLUMNS", "").isdecimal()
    return Console(
        file=stream, width=_WIDE if wide else None, highlight=False, markup=False, emoji=False
    )


def say(text: str = "") -> None:
    """A line on stdout, never folded."""
    print(text)


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_json(data: Mapping[str, Any]) -> None:
    """The one JSON object of a command."""
    print(json.dumps(data, default=_plain, ensure_ascii=False, allow_nan=False), flush=True)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return f"<{len(value)} bytes>"
        case seedbed.FloatRange() | seedbed.IntRange() | seedbed.Choices():
            return asdict(value)
        case _:
            return str(value)


def error_json(error: SeedbedError) -> dict[str, Any]:
    """An error as `--json` shows it."""
    return {
        "code": error.code,
        "reason": error.reason,
        "message": str(error),
        "violations": [asdict(violation) for violation in error.violations],
    }


def show_error(error: SeedbedError) -> None:
    """One line or a few on stderr, no traceback."""
    lines = str(error).splitlines() or [error.code]
    stream = console(stderr=True)
    stream.print(Text("error: ", style="bold red") + Text(lines[0]), soft_wrap=True)
    for line in lines[1:]:
        stream.print(Text(f"       {line}"), soft_wrap=True)


def table(columns: Sequence[str | tuple[str, str]], rows: Iterable[Sequence[object]]) -> None:
    """A table that fits the terminal. A column is a heading, or a heading and its kind: `right`
    aligned, or `rest` (one at most), which takes the width that is left and is cut to it."""
    stream = console()
    cells = [[c if isinstance(c, Text) else Text(str(c)) for c in row] for row in rows]
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    kinds = [column[1] if isinstance(column, tuple) else "left" for column in columns]
    headings = [column[0] if isinstance(column, tuple) else column for column in columns]
    widths = [
        max([*map(len, heading.split("\n")), *(row[i].cell_len for row in cells)])
        for i, heading in enumerate(headings)
    ]
    taken = sum(w + _GAP for w, kind in zip(widths, kinds, strict=True) if kind != "rest")
    for heading, kind, width in zip(headings, kinds, widths, strict=True):
        rest = kind == "rest"
        # Rich would narrow every column alike where they do not fit, down to nothing.
        shown.add_column(
            heading,
            justify="right" if kind == "right" else "left",
            no_wrap=rest,
            overflow="ellipsis" if rest else "fold",
            width=min(width, max(_NARROWEST, stream.width - taken)) if rest else None,
        )
    for row in cells:
        shown.add_row(*row)
    stream.print(shown)


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; empty values are left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value not in ("", None):
            grid.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    console().print(grid)


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def number(value: float) -> str:
    """Four significant decimals for scores, fewer digits for large numbers."""
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def score_text(score: seedbed.Score | None) -> str:
    """`accuracy 0.8731`, or nothing."""
    return "" if score is None else f"{score.metric} {number(score.value)}"


def score_line(score: seedbed.Score) -> str:
    """`accuracy 0.8731 (95 % interval 0.866–0.880, 8,140 items)`."""
    parts = []
    if score.lower is not None and score.upper is not None:
        share = f"{100 * score.confidence:g} % " if score.confidence else ""
        digits = 3 if abs(score.value) < 1000 else 1
        parts.append(f"{share}interval {score.lower:,.{digits}f}–{score.upper:,.{digits}f}")
    if score.item_count:
        parts.append(f"{score.item_count:,} item{'s' if score.item_count != 1 else ''}")
    return score_text(score) + (f" ({', '.join(parts)})" if parts else "")


def clock(seconds: float) -> str:
    """`0:07`, `12:30` or `1:02:03`."""
    whole = max(0, round(seconds))
    minutes, hours = whole // 60, whole // 3600
    if hours:
        return f"{hours}:{minutes % 60:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"


def moment(time: datetime | None) -> str:
    """Local time to the minute."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M") if time else ""


def size(count: int) -> str:
    """`512 B`, `1.4 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def parameters_text(parameters: Mapping[str, object]) -> str:
    """`learning_rate=0.0031 hidden=64`, the most telling first."""
    first = ("learning_rate", "batch_size")
    names = [n for n in first if n in parameters]
    names += [n for n in sorted(parameters) if n not in (*first, "architecture", "epochs")]
    return " ".join(f"{name}={_compact(parameters[name])}" for name in names)


def _compact(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def leaderboard(trials: Sequence[seedbed.Trial], metric: str) -> None:
    """The best trials, and every architecture's best further down; failed ones with the reason."""
    failed = [trial for trial in trials if trial.state is seedbed.TrialState.FAILED]
    scored = [t for t in trials if t.validation_score is not None and t not in failed]
    rows: list[list[object]] = []
    seen: set[str] = set()
    for rank, trial in enumerate(scored, 1):
        assert trial.validation_score is not None
        if rank <= _SHOWN_TRIALS or trial.architecture not in seen:
            seen.add(trial.architecture)
            score = Text(number(trial.validation_score), style="bold" if rank == 1 else "")
            rows.append([rank, _architecture(trial), score, origin_text(trial), *_effort(trial)])
    columns: list[str | tuple[str, str]] = [
        ("rank", "right"),
        "architecture",
        (f"validation\n{metric}".strip(), "right"),
        "from",
        ("epochs", "right"),
        ("seconds", "right"),
        ("parameters", "rest"),
    ]
    if rows:
        table(columns, rows)
    if len(scored) > len(rows):
        say(f"… and {len(scored) - len(rows)} more")
    for trial in failed[:_SHOWN_FAILED]:
        say(f"trial {trial.number} ({trial.architecture}) failed: {trial.reason or 'no reason'}")
    if len(failed) > _SHOWN_FAILED:
        say(f"… and {len(failed) - _SHOWN_FAILED} more failed")


def origin_text(trial: seedbed.Trial | seedbed.PlannedTrial) -> str:
    """Where a trial's settings came from: an earlier job's id, or a word."""
    if trial.origin == "starting_point":
        return "start"
    return short(trial.origin_job) or trial.origin


def _architecture(trial: seedbed.Trial) -> Text:
    name = Text(trial.architecture)
    if trial.baseline:
        name += Text(" (baseline)", style="cyan")
    if trial.state is seedbed.TrialState.PRUNED:
        name += Text(" (pruned)", style="dim")
    return name


def _effort(trial: seedbed.Trial) -> list[object]:
    return [
        f"{trial.epochs:g}",
        f"{trial.seconds:.1f}",
        Text(parameters_text(trial.parameters), style="dim"),
    ]
