"""What every command shares: which server it talks to, and whether it answers in JSON."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    tls: bool | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    project: str | None = None

    @property
    def repeated(self) -> str:
        """The options that the next command needs too, to find the same server, but for a token."""
        if self.server:
            names = ("server", "project", "token_file", "tls_ca", "tls_cert", "tls_key")
            given = [(name, getattr(self, name)) for name in names]
            return (" --tls" if self.tls else "") + "".join(
                f" --{name.replace('_', '-')} {shlex.quote(str(value))}"
                for name, value in given
                if value
            )
        return f" --data-dir {shlex.quote(str(self.data_dir))}" if self.data_dir else ""

    @contextmanager
    def client(self) -> Iterator[seedbed.Client]:
        """A client; says so where it had to start an embedded server."""
        if self.token:
            note(
                "warning: everybody on this machine can see a token among a command's options; "
                "SEEDBED_TOKEN and --token-file are not seen"
            )
        with seedbed.connect(
            self.server,
            data_dir=self.data_dir,
            on_start=_announce,
            token=self.token,
            token_file=self.token_file,
            tls=self.tls,
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            project=self.project,
        ) as client:
            yield client


def require_server_package() -> None:
    """Raises FailedPrecondition where only the client is installed."""
    if importlib.util.find_spec("seedbed_server") is None:
        raise seedbed.FailedPrecondition(
            'the server is not installed: pip install "seedbed[server]"',
            "FAILED_PRECONDITION",
            "SERVER_NOT_INSTALLED",
        )


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


def security_options(function: Function) -> Function:
    """Who calls, and whom they trust; these stand before the command's name."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    helps: tuple[tuple[str, click.ParamType[Any] | None, str], ...] = (
        ("--tls-key", file, "The certificate's key, PEM. [env: SEEDBED_TLS_KEY]"),
        ("--tls-cert", file, "Your own certificate, PEM, if asked for. [env: SEEDBED_TLS_CERT]"),
        ("--tls-ca", file, "Who signed the server's certificate, PEM. [env: SEEDBED_TLS_CA]"),
        ("--token-file", file, "A file with your token. [env: SEEDBED_TOKEN_FILE]"),
        ("--project", None, "Where to make and look for things. [env: SEEDBED_PROJECT]"),
        ("--token", None, "Your token; others can see it here. Better: [env: SEEDBED_TOKEN]"),
    )
    function = click.option(
        "--tls",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="The server has a certificate of a public authority. [env: SEEDBED_TLS=1]",
    )(function)
    for name, kind, text in helps:
        function = click.option(name, type=kind, expose_value=False, callback=_keep, help=text)(
            function
        )
    return function


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
