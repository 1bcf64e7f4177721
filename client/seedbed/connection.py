"""The channel to a server: its options, retries, deadlines, and errors as exceptions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from seedbed.credentials import Credentials, is_local
from seedbed.embedded import EmbeddedServer
from seedbed.errors import Unavailable, from_rpc_error, invalid
from seedbed.v1 import (
    datasets_pb2_grpc,
    jobs_pb2_grpc,
    models_pb2_grpc,
    predictions_pb2_grpc,
    server_pb2_grpc,
    tasks_pb2_grpc,
)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# A server that is just being restarted is given this long to answer a first call, in seconds.
_FIRST_ANSWER = 2.0

_SERVICES = (
    "TaskService",
    "DatasetService",
    "JobService",
    "ModelService",
    "PredictionService",
    "ServerService",
)
# gRPC would send a stream's messages again from the start; these go on by their own cursors.
_STREAMS = (
    ("DatasetService", "UploadDataset"),
    ("JobService", "WatchJob"),
    ("ModelService", "DownloadModel"),
)

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class Stubs:
    """One stub for each service, on one channel."""

    tasks: tasks_pb2_grpc.TaskServiceStub
    datasets: datasets_pb2_grpc.DatasetServiceStub
    jobs: jobs_pb2_grpc.JobServiceStub
    models: models_pb2_grpc.ModelServiceStub
    predictions: predictions_pb2_grpc.PredictionServiceStub
    server: server_pb2_grpc.ServerServiceStub


def service_config() -> str:
    """Retries of unary calls, as gRPC's JSON: 5 attempts, 0.2 s to 3 s apart."""
    retry = {
        "maxAttempts": 5,
        "initialBackoff": "0.2s",
        "maxBackoff": "3s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    unary = [{"service": f"seedbed.v1.{service}"} for service in _SERVICES]
    streams = [{"service": f"seedbed.v1.{service}", "method": name} for service, name in _STREAMS]
    return json.dumps({"methodConfig": [{"name": unary, "retryPolicy": retry}, {"name": streams}]})


def channel_options(address: str) -> list[tuple[str, str | int]]:
    """Options that find a frozen server within about 5 s and reconnect to a restarted one fast."""
    options: list[tuple[str, str | int]] = [
        ("grpc.keepalive_time_ms", 3_000),
        # keepalive_timeout does not bound the detection of a frozen server; this does.
        ("grpc.http2.ping_timeout_ms", 2_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.service_config", service_config()),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
        # Subchannels shared in the process would keep another client's backoff.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if is_local(address):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def check_address(server: str) -> str:
    """The gRPC target, for `HOST:PORT` or `unix:PATH`; InvalidArgument for what is neither."""
    scheme, separator, _ = server.partition("://")
    if separator and scheme in ("http", "https", "grpc", "grpcs", "tcp"):
        raise invalid("server", f"is HOST:PORT or unix:PATH without {scheme}://, got {server!r}")
    if ":" not in server:
        raise invalid(
            "server", f"is HOST:PORT or unix:PATH, such as 127.0.0.1:8470, got {server!r}"
        )
    return server


class Connection:
    """A channel with its stubs. Thread-safe as gRPC's channels are.

    `timeout` is the deadline of a unary call in seconds. An embedded server that has gone since,
    for being idle or killed, is started again before the next call.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        credentials: Credentials | None = None,
        embedded: EmbeddedServer | None = None,
    ) -> None:
        """Raises InvalidArgument for a token that would be sent unencrypted to another machine."""
        self.timeout = timeout
        self._credentials = credentials or Credentials()
        self.embedded = embedded
        self.closed = False
        self._open(address)

    def _open(self, address: str) -> None:
        self.address = address
        self._channel = self._credentials.channel(address, channel_options(address))
        self.stubs = Stubs(
            tasks_pb2_grpc.TaskServiceStub(self._channel),
            datasets_pb2_grpc.DatasetServiceStub(self._channel),
            jobs_pb2_grpc.JobServiceStub(self._channel),
            models_pb2_grpc.ModelServiceStub(self._channel),
            predictions_pb2_grpc.PredictionServiceStub(self._channel),
            server_pb2_grpc.ServerServiceStub(self._channel),
        )

    def revive(self) -> bool:
        """Starts the embedded server again where it has gone. True if it had."""
        if self.closed:
            raise Unavailable("the client is closed; open another with seedbed.connect()")
        if self.embedded is None or self.embedded.alive():
            return False
        address = self.embedded.ensure()
        if address != self.address:
            self._channel.close()
            self._open(address)
        return True

    def call(
        self,
        method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        slow: bool = False,
    ) -> Response:
        """A unary call. `slow` gives it ten times the deadline, for calls that read data. A server
        that says when to call again is called again then, while there is time.

        Raises a SeedbedError.
        """
        self.revive()
        timeout = self.timeout * (10 if slow else 1)
        deadline = time.monotonic() + timeout
        revived = False
        while True:
            try:
                return method(self.stubs)(request, timeout=max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                code, failure = error.code(), from_rpc_error(error, self.address)
            # An embedded server may have been on its way out when the call began.
            if not revived and code is grpc.StatusCode.UNAVAILABLE and self.revive():
                revived, deadline = True, time.monotonic() + timeout
                continue
            wait = failure.retry_seconds
            if wait is None or time.monotonic() + wait > deadline:
                raise failure
            time.sleep(wait)

    def check_answers(self) -> None:
        """Raises Unavailable, with what to do, where no server answers at the address."""
        deadline = time.monotonic() + _FIRST_ANSWER
        while True:
            try:
                self.call(lambda _: health_method(self._channel), b"")
                return
            except Unavailable as error:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                raise Unavailable(self._why_silent(error), error.code) from error

    def _why_silent(self, error: Unavailable) -> str:
        if self._credentials.tls:
            return (
                f"no seedbed server answers over TLS at {self.address}: {error.message}; does it "
                "have TLS, did the authority in --tls-ca sign its certificate, is that for this "
                "host's name, and does it ask for --tls-cert and --tls-key?"
            )
        return (
            f"no seedbed server answers at {self.address}; start one with "
            f"`seedbed serve --address {self.address}`, pass --tls-ca or --tls where it has TLS, "
            "or leave the address out to use an embedded one"
        )

    def close(self) -> None:
        """Closes the channel; calls under way end in Cancelled."""
        self.closed = True
        self._channel.close()


def health_method(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """`grpc.health.v1.Health.Check` of the whole server: empty request, serialised answer."""
    # Written by hand, since grpcio-health-checking would be one more dependency for two bytes.
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    return method
