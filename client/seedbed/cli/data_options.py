"""The options that say where data is, shared by `train` and `inspect`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from seedbed.errors import invalid


def pairs_of(given: tuple[str, ...], option: str, form: str) -> list[tuple[str, str]]:
    """`KEY=VALUE` arguments, each key once. Raises InvalidArgument naming the option."""
    found: list[tuple[str, str]] = []
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise invalid(option, f"must be {form}, got {item!r}")
        if any(key.strip() == name for name, _ in found):
            raise invalid(option, f"{key.strip()} is given twice; give it once")
        found.append((key.strip(), value.strip()))
    return found


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--test`, `--valid`, `--table`, `--layout` and `--query`, which the command gets as `where`:
    the keyword arguments of `Client.create_dataset` and `Client.train` that say the same."""

    @functools.wraps(function)
    def command(
        *args: Any, test: str | None, valid: str | None, layout: str, query: str, **others: Any
    ) -> Any:
        tables = dict(pairs_of(others.pop("tables"), "--table", "ROLE=URI"))
        where = {
            "test": test,
            "valid": valid,
            "tables": tables,
            "layout": layout,
            "query": query,
        }
        return function(*args, where=where, **others)

    for option in reversed(
        (
            click.option("--test", metavar="URI", help="Data to score the final model with."),
            click.option("--valid", metavar="URI", help="Data to choose the model by."),
            click.option(
                "--table",
                "tables",
                multiple=True,
                metavar="ROLE=URI",
                help="A table about what the items refer to: items=movies.csv, users=people.csv, "
                "legend=classes.csv.",
            ),
            click.option(
                "--layout",
                default="",
                metavar="LAYOUT",
                help="What to read the data as where the guess is wrong: table, class_folders, "
                "file_table, image_masks, files.",
            ),
            click.option(
                "--query", default="", metavar="SQL", help="The SELECT, where data is a database."
            ),
        )
    ):
        command = option(command)
    return command
