"""How a server is: what `Client.server_status` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from seedbed.v1 import server_pb2
from seedbed.values import from_timestamp


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `severity` is `OK`, `WARNING` or `PROBLEM`; `suggestion` says
    what would do, and is empty where nothing need be done."""

    name: str
    severity: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """`time` is the server's clock when it answered; `disk_bytes` what the data directory takes, by
    kind; `free_bytes` what is free there."""

    version: str
    time: datetime
    start_time: datetime
    checks: tuple[Check, ...]
    disk_bytes: Mapping[str, int]
    free_bytes: int

    @property
    def well(self) -> bool:
        """Whether nothing is a problem."""
        return all(check.severity != "PROBLEM" for check in self.checks)


def server_status(message: server_pb2.ServerStatus) -> ServerStatus:
    """From its message."""
    return ServerStatus(
        version=message.version,
        time=from_timestamp(message.time),
        start_time=from_timestamp(message.start_time),
        checks=tuple(map(_check, message.checks)),
        disk_bytes={use.kind: use.size_bytes for use in message.disk_uses},
        free_bytes=message.free_bytes,
    )


def _check(message: server_pb2.Check) -> Check:
    kinds = server_pb2.Check.Severity.DESCRIPTOR.values_by_number
    # What only a newer server knows is worth a look.
    known = kinds.get(message.severity) if message.severity else None
    severity = known.name if known else "WARNING"
    return Check(message.name, severity, message.message, message.suggestion)
