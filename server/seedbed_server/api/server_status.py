"""ServerService."""

# The names and the signatures of gRPC's methods are given.
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from seedbed.v1 import server_pb2, server_pb2_grpc
from seedbed_server import __version__
from seedbed_server.api import convert
from seedbed_server.api.rooms import Rooms
from seedbed_server.checkup.examination import examine
from seedbed_server.store.values import now


class ServerServicer(server_pb2_grpc.ServerServiceServicer):
    """How the server is."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._started = now()

    async def GetServerStatus(
        self, request: server_pb2.GetServerStatusRequest, context: Any
    ) -> server_pb2.ServerStatus:
        rooms = self._rooms
        found = await examine(
            rooms.settings, rooms.files, rooms.store, rooms.calls, rooms.dispatcher
        )
        return server_pb2.ServerStatus(
            version=__version__,
            time=convert.timestamp(now()),
            start_time=convert.timestamp(self._started),
            checks=[
                server_pb2.Check(
                    name=check.name,
                    severity=server_pb2.Check.Severity.Value(check.severity.value),
                    message=check.message,
                    suggestion=check.suggestion,
                )
                for check in found.checks
            ],
            disk_uses=[
                server_pb2.DiskUse(kind=kind, size_bytes=count)
                for kind, count in found.disk.items()
            ],
            free_bytes=found.free_bytes,
        )
