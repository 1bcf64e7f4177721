"""The options that say where data is, shared by `train` and `inspect`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from seedbed.errors import invalid

Function = TypeVar("Function", bound=Callable[..., Any])


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


@dataclass(frozen=True)
class DataChoice:
    """Where data is, as `Client.create_dataset` takes it."""

    data: str | tuple[str, ...]
    test: str | None
    valid: str | None
    tables: dict[str, str]
    layout: str
    query: str

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `Client.create_dataset` and `Client.train`."""
        return {
            "test": self.test,
            "valid": self.valid,
            "tables": self.tables,
            "layout": self.layout,
            "query": self.query,
        }


def data_options(function: Function) -> Function:
    """`--test`, `--valid`, `--table`, `--layout` and `--query`."""
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
        function = option(function)
    return function


def chosen(
    data: tuple[str, ...],
    test: str | None,
    valid: str | None,
    tables: tuple[str, ...],
    layout: str,
    query: str,
) -> DataChoice:
    """What the options say. Raises InvalidArgument naming `--table`."""
    return DataChoice(
        data[0] if len(data) == 1 else data,
        test,
        valid,
        dict(pairs_of(tables, "--table", "ROLE=URI")),
        layout,
        query,
    )
