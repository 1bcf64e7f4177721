"""`seedbed token …` and `seedbed audit`: what the operator does where the data directory is."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import click

import seedbed
from seedbed.cli.output import moment, note, say, say_json, table
from seedbed.cli.session import (
    Session,
    data_dir_option,
    json_option,
    pass_session,
    require_server_package,
)
from seedbed.errors import FieldViolation, make_error


@click.group(epilog="Example: seedbed token create ci --project churn --data-dir state")
@data_dir_option
def token() -> None:
    """Make, list and revoke tokens, on the machine that has the data directory."""


@token.command(epilog="Example: seedbed token create ci --project churn --days 30 > token")
@click.argument("label")
@click.option(
    "--role",
    type=click.Choice(["admin", "user", "viewer"]),
    default="user",
    show_default=True,
    help="A viewer looks, downloads and predicts; a user changes things too; an admin is a user "
    "in every project.",
)
@click.option(
    "--project",
    "projects",
    multiple=True,
    help="A project it is for; may be repeated. The first is meant where a call names none.",
)
@click.option(
    "--days",
    type=click.IntRange(0, 36500),
    default=90,
    show_default=True,
    help="How long it holds; 0 is until it is revoked.",
)
@json_option
@data_dir_option
@pass_session
def create(session: Session, label: str, role: str, projects: tuple[str, ...], days: int) -> None:
    """Make a token and print it, this once.

    LABEL says whose it is. Only a hash of it is kept. It holds at once, also where the server is
    running.
    """
    made = _ask(session, "create_token", label=label, role=role, projects=projects, days=days)
    if session.json:
        say_json(made)
        return
    say(made["token"])
    until = moment(_time(made["expire_time"]))
    note(
        f"token {made['id']} of {label}, {role} in {_projects(made)}, "
        f"{f'until {until}' if until else 'until it is revoked'}; it is not shown again. Put it in "
        "a file that only its user can read, for --token-file, or in SEEDBED_TOKEN"
    )


@token.command("list", epilog="Example: seedbed token list")
@json_option
@data_dir_option
@pass_session
def list_(session: Session) -> None:
    """List the tokens, the newest first, without what would let anybody in."""
    found = _ask(session, "list_tokens")
    if session.json:
        say_json(found)
    elif not found["tokens"]:
        say("no tokens; `seedbed token create` makes one")
    else:
        table(
            ["token", "label", "role", "projects", "created", "until", "state"],
            [
                [
                    entry["id"],
                    entry["label"],
                    entry["role"],
                    _projects(entry),
                    moment(_time(entry["create_time"])),
                    moment(_time(entry["expire_time"])) or "revoked",
                    entry["state"],
                ]
                for entry in found["tokens"]
            ],
        )


@token.command(epilog="Example: seedbed token revoke TOKEN")
@click.argument("token_id", metavar="TOKEN")
@json_option
@data_dir_option
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """End a token, by the id that `list` shows. What it watches or sends ends within seconds."""
    ended = _ask(session, "revoke_token", id=token_id)
    if session.json:
        say_json(ended)
    else:
        say(f"token {ended['id']} of {ended['label']} lets nobody in any more")


@click.command(epilog="Example: seedbed audit --limit 20")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="How many rows, the newest.",
)
@click.option("--token", "token_id", default="", help="Only calls with this token, by its id.")
@json_option
@data_dir_option
@pass_session
def audit(session: Session, limit: int, token_id: str) -> None:
    """List who called what: changes, what was handed out, and what was refused.

    Calls that were alike within a second are one row. On the machine that has the data directory.
    """
    found = _ask(session, "list_audit", limit=limit, token=token_id)
    if session.json:
        say_json(found)
    elif not found["calls"]:
        say("no calls yet")
    else:
        table(
            ["time", "token", "from", "method", "outcome", ("calls", "right"), ("on", "rest")],
            [
                [
                    moment(_time(call["time"])),
                    call["token"] or "none",
                    call["peer"],
                    call["method"].rpartition("/")[2],
                    call["outcome"],
                    call["count"],
                    call["resource"],
                ]
                for call in found["calls"]
            ],
        )


def _projects(token: dict[str, Any]) -> str:
    return ", ".join(token["projects"]) or "every project"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _ask(session: Session, command: str, **fields: Any) -> dict[str, Any]:
    """Has the server's package do it in a process of its own, since the client loads nothing of
    it; a secret comes back over a pipe. Raises what it answers as an error."""
    require_server_package()
    data_dir = {"data_dir": str(session.data_dir)} if session.data_dir else {}
    done = subprocess.run(
        [sys.executable, "-m", "seedbed_server.administration"],
        input=json.dumps({"command": command, **data_dir, **fields}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise seedbed.Internal(f"the server's package ended with exit code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if error := answer.get("error"):
        violations = [FieldViolation(*violation) for violation in error["violations"]]
        raise make_error(
            error["code"], error["message"], error["reason"], error["metadata"], violations
        )
    return answer
