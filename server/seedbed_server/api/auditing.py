"""Writes down who called what: never what was sent, and never a token."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

import structlog

from seedbed_sdk.errors import SeedbedError
from seedbed_server.api.access import Caller
from seedbed_server.api.threads import in_thread
from seedbed_server.store import AuditRow, Store
from seedbed_server.store.values import now

log = structlog.get_logger()

FLUSH_SECONDS = 1.0
# Of different calls within a second; the rest are counted in one row.
MOST_PENDING = 1000
MAX_RESOURCE_CHARACTERS = 200

# Who (token and peer), method, resource, outcome: the fields of a row between time and count.
Key = tuple[str, str, str, str, str]


class Auditor:
    """Gathers calls and writes them once a second, those that are alike as one row with their
    number: a flood of refusals then neither fills the database nor pushes out what matters."""

    def __init__(self, store: Store, keep: int) -> None:
        self._store = store
        self._keep = keep
        self._first: dict[Key, datetime] = {}
        self._counts: Counter[Key] = Counter()

    def note(self, caller: Caller, method: str, resource: str, outcome: str) -> None:
        """Counts a call. On the event loop's thread."""
        shown = "".join(c if c.isprintable() else "?" for c in resource[:MAX_RESOURCE_CHARACTERS])
        key = (caller.token, caller.peer, method.removeprefix("/"), shown, outcome)
        if key not in self._first and len(self._first) >= MOST_PENDING:
            key = ("", "(several)", "(several)", "", outcome)
        self._counts[key] += 1
        self._first.setdefault(key, now())

    async def run(self) -> None:
        """Writes what was gathered once a second, until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what was gathered. Where the database cannot take it, the log says so."""
        if not self._first:
            return
        first, self._first = self._first, {}
        counts, self._counts = self._counts, Counter()
        rows = [AuditRow(time, *key, count=counts[key]) for key, time in first.items()]
        try:
            await in_thread(self._store.audit.add, rows, self._keep)
        except SeedbedError as error:
            log.error("audit_not_written", rows=len(rows), why=error.message)


def resource_of(request: Any, response: Any = None) -> str:
    """What a call was about: the name of what it answered with or asked for."""
    for message, fields in (
        (response, ("name",)),
        (getattr(response, "dataset", None), ("name",)),
        (request, ("name", "model", "parent")),
    ):
        for field in fields:
            value = getattr(message, field, "")
            if isinstance(value, str) and value:
                return value
    return ""
