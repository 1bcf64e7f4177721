"""The options that say what is to be searched, shared by `train` and `plan`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import click

import seedbed
from seedbed.cli.data_options import data_options, pairs_of
from seedbed.errors import invalid
from seedbed.space import parse_scalar


def search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """From `--task` and `--data` to `--max-size`, which the command gets as `wanted`: the
    keyword arguments of `Client.train` and `Client.plan` that say the same."""

    @functools.wraps(function)
    def command(
        *args: Any,
        task: str,
        data: tuple[str, ...],
        where: dict[str, Any],
        target: str | None,
        budget: str,
        metric: str | None,
        settings: tuple[str, ...],
        search: tuple[str, ...],
        seed: int | None,
        start: tuple[str, ...],
        ignore_earlier: bool | None,
        max_latency: str | None,
        max_size: str | None,
        **others: Any,
    ) -> Any:
        options = {key: _setting(value) for key, value in pairs_of(settings, "--set", "KEY=VALUE")}
        space = dict(pairs_of(search, "--search", "NAME=DOMAIN"))
        wanted = {
            "task": task,
            "data": data,
            **where,
            "target": target,
            "budget": seedbed.parse_budget(budget),
            "metric": metric,
            "options": options,
            "search_space": {n: seedbed.parse_domain(text, n) for n, text in space.items()},
            "seed": seed,
            "starting_points": [_starting_point(text) for text in start],
            "ignore_earlier_jobs": ignore_earlier,
            "max_latency": max_latency,
            "max_size": max_size,
        }
        return function(*args, wanted=wanted, **others)

    for option in reversed(
        (
            click.option(
                "--task", required=True, help="What to learn; `seedbed tasks` lists them."
            ),
            click.option(
                "--data",
                required=True,
                multiple=True,
                metavar="URI",
                help="A file, a folder, a URI or a dataset's id; may be given several times.",
            ),
            data_options,
            click.option(
                "--target",
                metavar="COLUMN",
                help="The column to predict; several with commas between them.",
            ),
            click.option(
                "--budget",
                default="60s",
                show_default=True,
                help="60s, 5m, 20trials, 500000samples, or several with commas: the first one "
                "ends it.",
            ),
            click.option("--metric", help="What the model is chosen by."),
            click.option(
                "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A task's option."
            ),
            click.option(
                "--search",
                multiple=True,
                metavar="NAME=DOMAIN",
                help="Narrow or fix a hyperparameter: learning_rate=1e-4..1e-2, "
                "architecture=linear,lightgbm, epochs=5.",
            ),
            click.option(
                "--seed", type=click.IntRange(0, 2**53), help="Starting point of all randomness."
            ),
            click.option(
                "--start",
                multiple=True,
                metavar="SETTINGS",
                help="Settings to try first: architecture=tabm,learning_rate=0.01, or a JSON "
                "object; what is left out is the architecture's default. May be given several "
                "times.",
            ),
            click.option(
                "--ignore-earlier/--use-earlier",
                default=None,
                help="Whether to try the best settings of earlier jobs on similar data; by default "
                "they are tried, but for a `--seed` with a budget without seconds.",
            ),
            click.option(
                "--max-latency",
                metavar="TIME",
                help="What the model may take to answer one example on a processor: 5ms, 250us, "
                "0.1s.",
            ),
            click.option(
                "--max-size", metavar="SIZE", help="What its files may take: 20MB, 512KiB."
            ),
        )
    ):
        command = option(command)
    return command


def _setting(text: str) -> Any:
    """JSON where it is such (numbers, true, lists), else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _starting_point(text: str) -> Mapping[str, object]:
    """`NAME=VALUE` with commas between them, or a JSON object. Raises InvalidArgument."""
    if not text.lstrip().startswith("{"):
        pairs = pairs_of(tuple(text.split(",")), "--start", "NAME=VALUE,NAME=VALUE or JSON")
        return {name: parse_scalar(value) for name, value in pairs}
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise invalid("--start", f"must be a JSON object ({error}), got {text!r}") from error
