"""`seedbed models` and `seedbed model …`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import seedbed
from seedbed.cli.output import (
    moment,
    pairs,
    parameters_text,
    say,
    say_json,
    score_line,
    score_text,
    short,
    size,
    table,
)
from seedbed.cli.session import Session, connection_options, json_option, pass_session

ENSEMBLE = "ensemble"


def _summary(info: seedbed.ModelInfo) -> dict[str, Any]:
    return {
        "model": info.id,
        "task": short(info.task),
        "job": short(info.job),
        "trial": info.trial,
        "architecture": info.architecture,
        "parameters": dict(info.parameters),
        "validation_score": asdict(info.validation_score) if info.validation_score else None,
        "test_score": asdict(info.test_score) if info.test_score else None,
        "inputs": [asdict(field) for field in info.inputs],
        "target": info.target,
        "classes": list(info.classes),
        "size_bytes": info.size_bytes,
        "latency": info.latency,
        "create_time": info.create_time,
    }


def _parameters(info: seedbed.ModelInfo) -> str:
    """Hyperparameters; of an ensemble its members with their weights."""
    if info.architecture != ENSEMBLE:
        return parameters_text(info.parameters)
    return ", ".join(
        f"{member['weight']:.2f} {member['architecture']} (trial {member['trial']:g})"
        for member in info.parameters["members"]
    )


def _latency(info: seedbed.ModelInfo) -> str:
    return "" if info.latency is None else f"{info.latency * 1e3:.3g} ms for one example"


@click.command(epilog="Example: seedbed models")
@json_option
@connection_options
@pass_session
def models(session: Session) -> None:
    """List the models, the newest first."""
    with session.client() as client:
        found = [model.info for model in client.models()]
    if session.json:
        say_json({"models": [_summary(info) for info in found]})
    elif not found:
        say("no models yet; `seedbed train` makes one")
    else:
        table(
            ["model", "task", "architecture", "test", ("size", "right"), "created"],
            [
                [
                    info.id,
                    short(info.task),
                    info.architecture,
                    score_text(info.test_score or info.validation_score),
                    size(info.size_bytes),
                    moment(info.create_time),
                ]
                for info in found
            ],
        )


@click.group(epilog="Example: seedbed model show MODEL")
@connection_options
def model() -> None:
    """Look at one model, download it, delete it."""


@model.command(epilog="Example: seedbed model show m-81ab")
@click.argument("name", metavar="MODEL")
@json_option
@connection_options
@pass_session
def show(session: Session, name: str) -> None:
    """Show a model: its scores, what it predicts, and from what."""
    with session.client() as client:
        info = client.model(name).info
    if session.json:
        say_json(_summary(info))
        return
    pairs(
        [
            ("model", info.id),
            ("name", info.display_name),
            ("task", short(info.task)),
            ("job", f"{short(info.job)}, trial {info.trial}"),
            ("architecture", info.architecture),
            ("parameters", _parameters(info)),
            ("validation", score_line(info.validation_score) if info.validation_score else ""),
            ("test", score_line(info.test_score) if info.test_score else ""),
            ("target", info.target),
            ("classes", ", ".join(info.classes)),
            ("inputs", ", ".join(f"{field.name} ({field.type})" for field in info.inputs)),
            ("size", size(info.size_bytes)),
            ("latency", _latency(info)),
            ("created", moment(info.create_time)),
        ]
    )


@model.command(epilog="Example: seedbed model download m-81ab model.zip")
@click.argument("name", metavar="MODEL")
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@json_option
@connection_options
@pass_session
def download(session: Session, name: str, path: Path) -> None:
    """Download a model's bundle as a zip file, into PATH or the current folder."""
    with session.client() as client:
        written = client.model(name).download(path)
    if session.json:
        say_json({"model": name, "path": written, "size_bytes": written.stat().st_size})
    else:
        say(f"{written} ({size(written.stat().st_size)})")


@model.command(epilog="Example: seedbed model delete m-81ab")
@click.argument("name", metavar="MODEL")
@json_option
@connection_options
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a model and its files."""
    with session.client() as client:
        found = client.model(name)
        found.delete()
    if session.json:
        say_json({"deleted": found.id})
    else:
        say(f"deleted model {found.id}")
