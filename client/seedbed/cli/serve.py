"""`seedbed serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from seedbed.cli.session import (
    Session,
    data_dir_option,
    pass_session,
    require_server_package,
)

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


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
    "--server-certificate",
    type=_PEM,
    help="PEM file with the server's certificate, for TLS. [env: SEEDBED_SERVER_CERTIFICATE]",
)
@click.option(
    "--server-key", type=_PEM, help="PEM file with the certificate's key. [env: SEEDBED_SERVER_KEY]"
)
@click.option(
    "--client-ca",
    type=_PEM,
    help="Let in only clients whose certificates these signed. [env: SEEDBED_CLIENT_CA]",
)
@click.option(
    "--require-tokens",
    is_flag=True,
    help="Let in only callers with a token of `seedbed token create`.",
)
@click.option("--rate-limit", type=float, help="Calls a second of one caller; 0 for no limit.")
@click.option(
    "--insecure", is_flag=True, help="Listen beyond this machine even without TLS and tokens."
)
@click.option("--metrics-address", metavar="HOST:PORT", help="Where to answer Prometheus.")
@click.option(
    "--traces-endpoint",
    metavar="URL",
    help="OpenTelemetry collector (OTLP over HTTP) to send traces to.",
)
@data_dir_option
@pass_session
def serve(
    session: Session,
    /,
    address: str,
    roots: tuple[Path, ...],
    require_tokens: bool,
    insecure: bool,
    **options: Path | float | None,
) -> None:
    """Run a server until Ctrl-C or SIGTERM. Prints one line when it is ready."""
    require_server_package()
    arguments = ["--address", address]
    if session.data_dir:
        arguments += ["--data-dir", str(session.data_dir)]
    for root in roots:
        arguments += ["--allow-root", str(root.absolute())]
    for name, value in options.items():
        if value is not None:
            absolute = value.absolute() if isinstance(value, Path) else value
            arguments += [f"--{name.replace('_', '-')}", str(absolute)]
    if require_tokens:
        arguments.append("--require-tokens")
    if insecure:
        arguments.append("--insecure")
    # The server takes this process over, so that signals reach it and nothing of the CLI stays.
    command = [sys.executable, "-m", "seedbed_server", *arguments]
    os.execv(sys.executable, command)
