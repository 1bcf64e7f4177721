"""The gRPC server: its services, its options and its address."""

from __future__ import annotations

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from seedbed.v1 import (
    datasets_pb2,
    datasets_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    predictions_pb2,
    predictions_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    tasks_pb2,
    tasks_pb2_grpc,
)
from seedbed_server.api.datasets import DatasetServicer
from seedbed_server.api.guard import Guard
from seedbed_server.api.interceptor import Boundary
from seedbed_server.api.jobs import JobServicer
from seedbed_server.api.models import ModelServicer, PredictionServicer
from seedbed_server.api.observing import Activity, Observer
from seedbed_server.api.rooms import Rooms
from seedbed_server.api.server_status import ServerServicer
from seedbed_server.api.tasks import TaskServicer
from seedbed_server.errors import StartupError
from seedbed_server.tls import ChangingTls, TlsFiles, TlsMaterial

MAX_MESSAGE_BYTES = 16 * 2**20
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two servers on one port would share its connections.
    ("grpc.so_reuseport", 0),
    # Clients find out by pings whether a silent server is still there.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    # A client that stood still for a while sends its pings in a bunch; that is no misbehaviour.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)
SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (tasks_pb2, "TaskService"),
        (datasets_pb2, "DatasetService"),
        (jobs_pb2, "JobService"),
        (models_pb2, "ModelService"),
        (predictions_pb2, "PredictionService"),
        (server_pb2, "ServerService"),
    )
)


class Server:
    """Serves the rooms. `address` is what clients connect to, once started."""

    def __init__(self, rooms: Rooms, activity: Activity, guard: Guard) -> None:
        observer = Observer(activity, rooms.metrics, rooms.tracing)
        self._server = aio.server(interceptors=(Boundary(observer, guard),), options=OPTIONS)
        self._health = health.aio.HealthServicer()
        tasks_pb2_grpc.add_TaskServiceServicer_to_server(TaskServicer(rooms), self._server)
        datasets_pb2_grpc.add_DatasetServiceServicer_to_server(DatasetServicer(rooms), self._server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(JobServicer(rooms), self._server)
        models_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(rooms), self._server)
        predictions_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionServicer(rooms), self._server
        )
        server_pb2_grpc.add_ServerServiceServicer_to_server(ServerServicer(rooms), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.address = ""

    async def start(self, address: str, tls: TlsFiles | None = None) -> None:
        """Listens and serves. Raises StartupError where the address cannot be had, or the files for
        TLS will not do."""
        credentials = None if tls is None else _credentials(tls)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StartupError(
                f"cannot listen on {address!r}; is another program using it? "
                "Pass another --address, such as 127.0.0.1:0 for any free port",
                reason="ADDRESS_UNAVAILABLE",
            ) from error
        unix = address.startswith("unix:")
        self.address = address if unix else f"{address.rpartition(':')[0]}:{port}"
        await self._server.start()
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, and gives those under way some time."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def _credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials that follow the files: gRPC asks before each handshake, on threads of its own."""
    tls = ChangingTls(files)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        material = tls.changed()
        return None if material is None else _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(tls.material),
        changed,  # type: ignore[arg-type]  # None is "no change", which the stubs do not know.
        require_client_authentication=bool(files.client_ca),
    )


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], material.client_ca
    )
