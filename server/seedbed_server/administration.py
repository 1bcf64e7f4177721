"""What the machine's operator does with the database, beside a running server or without one.

`python -m seedbed_server.administration` takes one JSON request on standard input and answers with
one JSON object on standard output; `seedbed token` and `seedbed audit` are made of it. There is no
call for it over the network: whoever may write the data directory may do all of this anyway.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seedbed_sdk.errors import InvalidArgument, SeedbedError
from seedbed_server import logs, tokens
from seedbed_server.api.access import DEFAULT_PROJECT
from seedbed_server.settings import Settings
from seedbed_server.store import Files, Store
from seedbed_server.store.values import new_id, now
from seedbed_server.tokens import Role, Token

MAX_LABEL_CHARACTERS = 100
MAX_PROJECTS = 100
MAX_DAYS = 36500


def create_token(
    store: Store, *, label: str, role: str, projects: Sequence[str], days: int
) -> dict[str, Any]:
    """Makes a token and answers with its text, which is kept nowhere. It holds for `days` days; 0
    is until it is revoked. Raises InvalidArgument."""
    if not label.strip() or len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
        raise InvalidArgument(
            "LABEL",
            f"must say whose token it is, in 1 to {MAX_LABEL_CHARACTERS} printable characters, "
            f"got {label[:MAX_LABEL_CHARACTERS]!r}",
        )
    if role not in set(Role):
        raise InvalidArgument("--role", f"must be one of {', '.join(Role)}, got {role!r}")
    if not 0 <= days <= MAX_DAYS:
        raise InvalidArgument("--days", f"must be from 0 to {MAX_DAYS}, got {days}")
    time = now()
    secret = tokens.new_secret()
    token = Token(
        id=new_id(),
        label=label,
        digest=tokens.digest_of(secret),
        role=Role(role),
        projects=_projects(Role(role), projects),
        create_time=time,
        expire_time=time + timedelta(days=days) if days else None,
    )
    store.tokens.add(token)
    return {"token": tokens.text_of(token.id, secret), **_shown(token, time)}


def list_tokens(store: Store) -> dict[str, Any]:
    """All tokens, without what would let anybody in."""
    time = now()
    return {"tokens": [_shown(token, time) for token in store.tokens.list()]}


def revoke_token(store: Store, *, id: str) -> dict[str, Any]:
    """Ends a token. Raises NotFound."""
    return _shown(store.tokens.revoke(id), now())


def list_audit(store: Store, *, limit: int, token: str) -> dict[str, Any]:
    """The newest rows of the audit first."""
    return {"calls": [_plain(asdict(row)) for row in store.audit.list(limit, token)]}


_COMMANDS: Mapping[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (create_token, list_tokens, revoke_token, list_audit)
}


def _projects(role: Role, projects: Sequence[str]) -> tuple[str, ...]:
    if role is Role.ADMIN:
        if projects:
            raise InvalidArgument(
                "--project", "an admin's token is for every project; leave it out, or use --role"
            )
        return ()
    for project in projects:
        if not tokens.is_project(project):
            raise InvalidArgument(
                "--project",
                f"{project[:80]!r} will not do: 1 to 63 of a-z, 0-9 and '-', starting with a "
                "letter",
            )
    if len(projects) > MAX_PROJECTS:
        raise InvalidArgument("--project", f"there may be at most {MAX_PROJECTS} of them")
    return tuple(dict.fromkeys(projects)) or (DEFAULT_PROJECT,)


def _shown(token: Token, at: datetime) -> dict[str, Any]:
    fields = {key: value for key, value in asdict(token).items() if key != "digest"}
    return _plain({**fields, "state": token.refusal(at) or "valid"})


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}


def main() -> None:
    """Reads the request, does it, answers; an error is the answer `{"error": …}`."""
    logs.configure()
    request = json.load(sys.stdin)
    where: dict[str, Any] = {k: Path(request.pop(k)) for k in ("data_dir",) if k in request}
    try:
        settings = Settings(**where)
        files = Files(settings.data_dir)
        files.create()
        store = Store(settings.database_url(files.database_url))
        try:
            store.migrate()
            answer = _COMMANDS[request.pop("command")](store, **request)
        finally:
            store.close()
    except SeedbedError as error:
        answer = {"error": error.to_dict()}
    except ValidationError as error:
        answer = {"error": InvalidArgument("SEEDBED_…", str(error)).to_dict()}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
