"""Starts the service, and ends it in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog
from pydantic import ValidationError

from seedbed_server import __version__, logs
from seedbed_server.errors import StartupError
from seedbed_server.executors.processes import end_children, start_fork_server
from seedbed_server.settings import (
    Settings,
    require_safe_address,
    require_safe_metrics_address,
)
from seedbed_server.store import Files, ServerLock, holds_password
from seedbed_server.telemetry import tracing

if TYPE_CHECKING:
    from seedbed_server.service import Service

log = structlog.get_logger()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--address", help="HOST:PORT (port 0 takes a free one) or unix:PATH.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Database, uploads and models.")
@click.option(
    "--database",
    help="postgresql+psycopg://USER@HOST:5432/NAME instead of SQLite; the password belongs in "
    "SEEDBED_DATABASE, PGPASSWORD or ~/.pgpass.",
)
@click.option(
    "--allow-root",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A folder whose files datasets may name by path; may be repeated.",
)
@click.option(
    "--allow-scheme",
    multiple=True,
    help="A scheme of URIs that datasets may have, such as https or s3; may be repeated.",
)
@click.option(
    "--allow-private-addresses",
    is_flag=True,
    default=None,
    help="Let URIs name hosts that are not on the public internet.",
)
@click.option("--fetch-timeout", type=float, help="Seconds that fetching remote data may take.")
@click.option(
    "--silence-timeout",
    type=float,
    help="Seconds after which a silent trial is ended where a job has no budget of time.",
)
@click.option("--workers", type=int, help="Jobs that run at once without an accelerator.")
@click.option("--devices", help="`auto`, `cpu`, or accelerators such as `cuda:0,cuda:1`.")
@click.option("--metrics-address", help="HOST:PORT to answer Prometheus at; off by default.")
@click.option(
    "--traces-endpoint",
    help="URL of an OTLP/HTTP collector to send traces to; or OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--idle-exit", type=float, help="Exit after so many seconds without work.")
@click.option("--ready-line", type=click.Choice(["text", "json"]), help="Form of the ready line.")
@click.option("--server-certificate", type=click.Path(path_type=Path), help="For TLS, PEM.")
@click.option("--server-key", type=click.Path(path_type=Path), help="The certificate's key, PEM.")
@click.option(
    "--client-ca",
    type=click.Path(path_type=Path),
    help="Let in only clients whose certificates these signed, PEM.",
)
@click.option(
    "--require-tokens", is_flag=True, default=None, help="Let in only callers with a token."
)
@click.option("--rate-limit", type=float, help="Calls a second of one caller; 0 for no limit.")
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Allow addresses others can reach even without TLS or tokens.",
)
def main(**options: Any) -> None:
    """Serve seedbed: models from data, over gRPC. Every option is a variable SEEDBED_… too."""
    given = {k: v for k, v in options.items() if v is not None and v != ()}
    if holds_password(given.get("database", "")):
        click.echo(
            "seedbed: --database: holds a password, which everybody on this machine can see in the "
            "list of processes; put the address into SEEDBED_DATABASE, or the password alone into "
            "PGPASSWORD or ~/.pgpass",
            err=True,
        )
        sys.exit(2)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for problem in error.errors():
            name = "--" + "-".join(str(part) for part in problem["loc"]).replace("_", "-")
            click.echo(f"seedbed: {name}: {problem['msg']}, got {problem['input']!r}", err=True)
        sys.exit(2)
    sys.exit(serve(settings))


def serve(settings: Settings) -> int:
    """Serves until a signal or, with `idle_exit`, until there is nothing to do; the exit status.

    SIGTERM and SIGINT end it in order: jobs at work go back in the queue for the next start. After
    SIGHUP it ends as soon as it is idle. Must be called on the main thread of a process that has no
    gRPC objects yet.
    """
    logs.configure()
    files = Files(settings.data_dir)
    try:
        require_safe_address(settings)
        if settings.metrics_address:
            require_safe_metrics_address(settings.metrics_address, settings.insecure)
        tracing.choose(settings.traces_endpoint)
        url = settings.database_url(files.database_url)
        files.create()
        lock = files.lock(shared=settings.database is not None)
    except StartupError as error:
        print(f"seedbed: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    start_fork_server((*settings.preload, *tracing.preload()))
    try:
        asyncio.run(_serve(settings, files, url, lock))
    except StartupError as error:
        print(f"seedbed: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        end_children()
        lock.close()
    return 0


async def _serve(settings: Settings, files: Files, url: str, lock: ServerLock) -> None:
    # Imported only now: the fork server is running, so gRPC may be loaded.
    from seedbed_server.service import Service

    ending = asyncio.Event()
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    service = Service(settings, files, url, lock)
    # What it says of a directory that is shared is where the first of the servers is.
    first = lock.alone
    try:
        await service.start()
        _announce(settings, files, service, write=first)
        await _first(ending.wait, lambda: service.idle(hang_up))
    finally:
        log.info("server_stopping")
        if first:
            files.remove_server_info()
        await service.stop()


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Returns when one of them has; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _announce(settings: Settings, files: Files, service: Service, *, write: bool) -> None:
    address = service.address
    info = {
        "address": address,
        "pid": os.getpid(),
        "allowed_roots": [str(root) for root in settings.allow_root],
        "version": __version__,
    }
    if service.metrics_address:
        info["metrics_address"] = service.metrics_address
    if write:
        files.write_server_info(info)
    log.info("server_ready", **info)
    text = f"seedbed {__version__} serving on {address}, data in {files.root}"
    if settings.ready_line == "json":
        text = json.dumps({"event": "ready", "data_dir": str(files.root), **info})
    print(text, flush=True)  # noqa: T201
