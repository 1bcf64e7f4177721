"""`seedbed plan`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

import seedbed
from seedbed.cli.output import origin_text, pairs, parameters_text, say, say_json, size, table
from seedbed.cli.search_options import search_options
from seedbed.cli.session import Session, connection_options, json_option, pass_session

SHOWN_TRIALS = 10


@click.command(
    epilog="Example: seedbed plan --task tabular --data train.csv --target income --budget 60s"
)
@search_options
@json_option
@connection_options
@pass_session
def plan(session: Session, wanted: dict[str, Any]) -> None:
    """Say what `train` would do with the same options: which trials, seconds, memory.

    The data is prepared, which need not be done again then, and each architecture is trained for a
    moment to measure it; nothing is searched.
    """
    with session.client() as client:
        found = client.plan(**wanted)
    if session.json:
        say_json(asdict(found))
        return
    trials = "not known" if found.trials is None else f"about {found.trials}"
    if found.paused_trials:
        trials += f", {found.paused_trials} of them not to the end, since others are better"
    seconds = "not known" if found.seconds is None else f"about {_seconds(found.seconds)}"
    pairs(
        [
            ("target", found.target),
            ("metric", found.metric),
            ("trials", trials),
            ("seconds", f"{seconds} ({_parts(found)})"),
            ("memory", size(found.memory_bytes) if found.memory_bytes else "not known"),
        ]
    )
    say()
    table(
        [
            "architecture",
            ("an epoch", "right"),
            ("epochs", "right"),
            ("a trial", "right"),
            ("memory", "right"),
            ("first trials", "right"),
            ("", "rest"),
        ],
        [_row(architecture) for architecture in found.architectures],
    )
    if found.first_trials:
        say()
        table(
            [
                ("trial", "right"),
                "architecture",
                ("seconds", "right"),
                "from",
                ("parameters", "rest"),
            ],
            [
                [
                    number,
                    trial.architecture,
                    _seconds(trial.seconds),
                    origin_text(trial),
                    _settings(trial),
                ]
                for number, trial in enumerate(found.first_trials[:SHOWN_TRIALS])
            ],
        )
        if len(found.first_trials) > SHOWN_TRIALS:
            say(f"… and {len(found.first_trials) - SHOWN_TRIALS} more that are known beforehand")


def _row(found: seedbed.PlannedArchitecture) -> list[object]:
    return [
        found.name + (" (baseline)" if found.baseline else ""),
        _seconds(found.epoch_seconds),
        f"{found.epochs:g}" if found.epochs else "",
        _seconds(found.trial_seconds),
        size(found.memory_bytes) if found.memory_bytes else "",
        found.first_trials,
        Text(". ".join(filter(None, (found.problem, _limits(found)))), style="dim"),
    ]


def _limits(found: seedbed.PlannedArchitecture) -> str:
    """How it stands to the constraints."""
    if not found.meets_constraints:
        return found.constraints_reason
    latency = "" if found.latency_seconds is None else f"{found.latency_seconds * 1e3:.3g} ms, "
    return f"meets the constraints: {latency}{size(found.size_bytes or 0)}"


def _parts(found: seedbed.JobPlan) -> str:
    return f"preparing {_seconds(found.preparing)}, finishing {_seconds(found.finishing)}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{seconds:.3f} s" if seconds < 0.1 else f"{seconds:.1f} s"


def _settings(trial: seedbed.PlannedTrial) -> Text:
    return Text(parameters_text(trial.parameters), style="dim")
