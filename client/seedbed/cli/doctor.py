"""`seedbed doctor`."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from rich.text import Text

import seedbed
from seedbed.cli.output import console, say_json
from seedbed.cli.session import Session, connection_options, json_option, pass_session

SLOW_SECONDS = 0.5
CLOCKS_APART = timedelta(seconds=5)
_STYLES = {"OK": "green", "WARNING": "yellow", "PROBLEM": "bold red"}
_NARROWEST = 30


@click.command(epilog="Example: seedbed doctor --server 127.0.0.1:8470")
@connection_options
@json_option
@pass_session
def doctor(session: Session) -> int:
    """Check the server and its machine: disk, database, plugins, memory, clock.

    Each line says OK, WARNING or PROBLEM, and what would do; the exit code is 1 if there is a
    problem. To have data checked, use `seedbed inspect`.
    """
    checks, status = _examine(session)
    found = Counter(check.severity for check in checks)
    if session.json:
        say_json(
            {
                "well": not found["PROBLEM"],
                "checks": [asdict(check) for check in checks],
                "server": None if status is None else _about(status),
            }
        )
    else:
        _show(checks)
        counts = [_count(found[kind], kind.lower()) for kind in ("PROBLEM", "WARNING")]
        said = ", ".join(count for count in counts if count)
        console().print(said or "all is well", soft_wrap=True)
    return 1 if found["PROBLEM"] else 0


def _examine(session: Session) -> tuple[list[seedbed.Check], seedbed.ServerStatus | None]:
    """What was found; without a status where the server could not be asked."""
    checks: list[seedbed.Check] = []
    try:
        with session.client() as client:
            seconds = client.answer_seconds()
            checks.append(_reachable(client.server, seconds))
            status = client.server_status()
            asked = datetime.now(UTC)
    except seedbed.Unimplemented:
        would = "install the version of this client there, and restart it"
        checks.append(_problem("it is of an earlier version, which cannot examine itself", would))
        return checks, None
    except seedbed.SeedbedError as error:
        # One that cannot be reached says itself what would do.
        checks.append(_problem(str(error), "see the server's log" if checks else ""))
        return checks, None
    checks += _compared(status, asked)
    checks += status.checks
    return checks, status


def _problem(message: str, suggestion: str) -> seedbed.Check:
    return seedbed.Check("server", "PROBLEM", message, suggestion)


def _reachable(address: str, seconds: float) -> seedbed.Check:
    text = f"{address} answers in {1000 * seconds:.1f} ms"
    if seconds > SLOW_SECONDS:
        return seedbed.Check("server", "WARNING", text, "see how busy it and the network are")
    return seedbed.Check("server", "OK", text)


def _compared(status: seedbed.ServerStatus, asked: datetime) -> Iterator[seedbed.Check]:
    """How server and client go together."""
    up = str(asked - status.start_time).partition(".")[0]
    if status.version == seedbed.__version__:
        yield seedbed.Check("server", "OK", f"version {status.version}, as this client, up {up}")
    else:
        yield seedbed.Check(
            "server",
            "WARNING",
            f"version {status.version}, while this client is {seedbed.__version__}; up {up}",
            "install the same version for both",
        )
    apart = abs(asked - status.time)
    if apart > CLOCKS_APART:
        yield seedbed.Check(
            "clock",
            "WARNING",
            f"the server's clock and this machine's are {apart.total_seconds():.0f} s apart",
            "set both by NTP",
        )


def _about(status: seedbed.ServerStatus) -> dict[str, object]:
    return {
        "version": status.version,
        "time": status.time,
        "start_time": status.start_time,
        "disk_bytes": dict(status.disk_bytes),
        "free_bytes": status.free_bytes,
    }


def _show(checks: Sequence[seedbed.Check]) -> None:
    """A line or a few for each, folded to the terminal."""
    stream = console()
    severities = max(len(check.severity) for check in checks)
    names = max(len(check.name) for check in checks)
    margin = severities + names + 4
    width = max(_NARROWEST, stream.width - margin)
    for check in checks:
        lines = _folded(check.message, width)
        if check.suggestion:
            first, *more = _folded(check.suggestion, width - 2)
            lines += [f"→ {first}", *(f"  {line}" for line in more)]
        head = Text.assemble(
            (f"{check.severity:{severities}}  ", _STYLES[check.severity]),
            (f"{check.name:{names}}  ", "bold"),
        )
        for line in lines:
            stream.print(head + Text(line), soft_wrap=True)
            head = Text(" " * margin)


def _folded(text: str, width: int) -> list[str]:
    """Never within a word, so that paths and commands can be copied."""
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}" if number else ""
