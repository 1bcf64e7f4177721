"""`seedbed serve`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

import seedbed
from seedbed.cli.session import Session, data_dir_option, pass_session


@click.command(
    epilog="Example: seedbed serve --address 127.0.0.1:8470 --data-dir state --allow-root data"
)
@click.option("--address", default="127.0.0.1:8470", show_default=True, metavar="HOST:PORT")
@click.option(
    "--allow-root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that clients may name data in; may be given several times.",
)
@click.option(
    "--database",
    metavar="URL",
    help="postgresql+psycopg://USER@HOST:5432/NAME instead of SQLite in the data directory; the "
    "password belongs in SEEDBED_DATABASE, PGPASSWORD or ~/.pgpass.",
)
@click.option("--workers", type=click.IntRange(min=1), help="How many jobs run at once.")
@click.option(
    "--insecure", is_flag=True, help="Listen beyond this machine without TLS and authentication."
)
@data_dir_option
@pass_session
def serve(
    session: Session,
    address: str,
    roots: tuple[Path, ...],
    database: str | None,
    workers: int | None,
    insecure: bool,
) -> None:
    """Run a server until Ctrl-C or SIGTERM. Prints one line when it is ready."""
    if importlib.util.find_spec("seedbed_server") is None:
        raise seedbed.FailedPrecondition(
            'the server is not installed: pip install "seedbed[server]"',
            "FAILED_PRECONDITION",
            "SERVER_NOT_INSTALLED",
        )
    arguments = ["--address", address]
    if session.data_dir:
        arguments += ["--data-dir", str(session.data_dir)]
    for root in roots:
        arguments += ["--allow-root", str(root.absolute())]
    if database is not None:
        arguments += ["--database", database]
    if workers is not None:
        arguments += ["--workers", str(workers)]
    if insecure:
        arguments.append("--insecure")
    # The server takes this process over, so that signals reach it and nothing of the CLI stays.
    command = [sys.executable, "-m", "seedbed_server", *arguments]
    os.execv(sys.executable, command)
