"""What every command shares: which server it talks to, and whether it answers in JSON."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

import seedbed
from seedbed.cli.output import note

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Session:
    """The options that are given once a command line."""

    server: str | None = None
    data_dir: Path | None = None
    json: bool = False

    @property
    def repeated(self) -> str:
        """The options that the next command needs too, to find the same server."""
        if self.server:
            return f" --server {shlex.quote(self.server)}"
        return f" --data-dir {shlex.quote(str(self.data_dir))}" if self.data_dir else ""

    @contextmanager
    def client(self) -> Iterator[seedbed.Client]:
        """A client; says so where it had to start an embedded server."""
        with seedbed.connect(self.server, data_dir=self.data_dir, on_start=_announce) as client:
            yield client


def _announce(data_dir: Path) -> None:
    note(f"no server given: using an embedded one, data in {data_dir}")


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    # A subcommand's own option says more than the group's, and its absence says nothing.
    if value:
        assert parameter.name is not None
        setattr(context.ensure_object(Session), parameter.name, value)


def data_dir_option(function: Function) -> Function:
    """`--data-dir`."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        expose_value=False,
        callback=_keep,
        help="Where the server keeps its data. [env: SEEDBED_DATA_DIR]",
    )(function)


def connection_options(function: Function) -> Function:
    """`--server` and `--data-dir`, which may stand before and after the command's name."""
    return click.option(
        "--server",
        metavar="HOST:PORT",
        expose_value=False,
        callback=_keep,
        help="The server to talk to; without one an embedded server is used. [env: SEEDBED_SERVER]",
    )(data_dir_option(function))


def json_option(function: Function) -> Function:
    """`--json`."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Print exactly one JSON object on stdout.",
    )(function)


pass_session = click.make_pass_decorator(Session, ensure=True)
