"""What a client proves itself with, and what it checks of the server: tokens and certificates."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from seedbed.errors import invalid

_MAX_TOKEN_CHARACTERS = 4096
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Credentials:
    """For one server. `project` is the one that is meant where a request names none. `ca`,
    `certificate` and `key` are PEM; without a `ca` gRPC's own list of authorities counts. What is
    secret is left out of the text that stands for it."""

    token: str = field(default="", repr=False)
    tls: bool = False
    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    project: str = ""

    def channel(self, address: str, options: Sequence[tuple[str, str | int]]) -> grpc.Channel:
        """A channel to the address, whose every call carries the token and the project.

        Raises InvalidArgument rather than sending a token where others could read it.
        """
        if self.tls and not address.startswith("unix:"):
            secure = grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
            channel = grpc.secure_channel(address, secure, options=options)
        elif self.token and not is_local(address):
            raise invalid(
                "token",
                f"would go to {address} for everybody on the way to read; pass --tls-ca FILE with "
                "the certificate of the authority that signed the server's, or --tls where that is "
                "a public one",
            )
        else:
            channel = grpc.insecure_channel(address, options=options)
        headers: list[tuple[str, str]] = []
        if self.token:
            headers.append(("authorization", f"Bearer {self.token}"))
        if self.project:
            headers.append(("seedbed-project", self.project))
        return grpc.intercept_channel(channel, _Headers(headers)) if headers else channel


def load_credentials(
    *,
    token: str | None = None,
    token_file: Path | str | None = None,
    tls: bool | None = None,
    tls_ca: Path | str | None = None,
    tls_cert: Path | str | None = None,
    tls_key: Path | str | None = None,
    project: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Credentials:
    """Credentials as they are given, else from `SEEDBED_TOKEN`, `SEEDBED_TOKEN_FILE`,
    `SEEDBED_TLS`, `SEEDBED_TLS_CA`, `SEEDBED_TLS_CERT`, `SEEDBED_TLS_KEY` and `SEEDBED_PROJECT`.

    Any of the files means TLS. Raises InvalidArgument for a file that will not do.
    """
    if token is None and token_file is None:
        token = environment.get("SEEDBED_TOKEN")
    if token is None:
        token_file = token_file or environment.get("SEEDBED_TOKEN_FILE")
        token = _read("token_file", token_file).decode(errors="replace") if token_file else ""
    names = {"tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
    files = {
        name: given or environment.get(f"SEEDBED_{name.upper()}") for name, given in names.items()
    }
    ca, certificate, key = (_pem(name, path) if path else None for name, path in files.items())
    if (certificate is None) != (key is None):
        given, missing = ("tls_cert", "tls_key") if certificate else ("tls_key", "tls_cert")
        raise invalid(missing, f"is missing; {given} is given, and a certificate needs its key")
    if tls is None:
        tls = _flag(environment.get("SEEDBED_TLS", "")) or any(files.values())
    project = environment.get("SEEDBED_PROJECT", "") if project is None else project
    if project and not (project.isascii() and project.isprintable()):
        raise invalid("project", f"{project!r} is no name of a project, such as churn")
    return Credentials(_checked_token(token), tls, ca, certificate, key, project)


def is_local(address: str) -> bool:
    """Whether what is sent there stays on this machine."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_token(text: str) -> str:
    token = text.strip()
    # Without the text itself, which may be a mistyped secret.
    if len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii() or " " in token:
        raise invalid("token", "is no token; it is one word, as `seedbed token create` printed it")
    if not token.isprintable():
        raise invalid("token", "has control characters in it; is it in a file by itself?")
    return token


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise invalid("SEEDBED_TLS", f"must be 1 or 0, got {text!r}")


def _read(name: str, path: Path | str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise invalid(name, f"cannot read {path}: {error.strerror}") from error


def _pem(name: str, path: Path | str) -> bytes:
    content = _read(name, path)
    marker = b"PRIVATE KEY-----" if name == "tls_key" else b"CERTIFICATE-----"
    if marker not in content:
        raise invalid(name, f"{path} has no line `-----BEGIN … {marker.decode()}`; it must be PEM")
    return content


class _Details(NamedTuple):
    """The parts of a call that interceptors may change, as gRPC names them."""

    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Headers(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata to every call. Not as gRPC's call credentials, which need TLS also to a socket
    on this machine."""

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        self._headers = headers

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._extended(client_call_details), request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(self._extended(client_call_details), request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return continuation(self._extended(client_call_details), request_iterator)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        return continuation(self._extended(client_call_details), request_iterator)

    def _extended(self, details: grpc.ClientCallDetails) -> _Details:
        return _Details(
            details.method,
            details.timeout,
            (*(details.metadata or ()), *self._headers),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
