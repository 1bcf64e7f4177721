"""What the operator decides: by option, or by an environment variable `SEEDBED_…`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from seedbed_server.errors import StartupError
from seedbed_server.store.addresses import server_url
from seedbed_server.tls import TlsFiles

MODULE_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class Settings(BaseSettings):
    """All settings of a server."""

    model_config = SettingsConfigDict(env_prefix="SEEDBED_", frozen=True, extra="ignore")

    address: str = Field(
        "127.0.0.1:8470",
        description="Where to listen: HOST:PORT (port 0 takes a free one) or unix:PATH.",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("seedbed"),
        description="Folder for the database, uploads and models.",
    )
    database: SecretStr | None = Field(
        None,
        description="A PostgreSQL database instead of SQLite in the data directory, such as "
        "postgresql+psycopg://USER@HOST:5432/NAME, which several servers with the same data "
        "directory may share. A password belongs in SEEDBED_DATABASE, PGPASSWORD or ~/.pgpass.",
    )
    lease_seconds: float = Field(
        30.0,
        ge=1,
        description="Seconds after which a job whose server was not heard of is given to another.",
    )
    allow_root: tuple[Path, ...] = Field(
        (), description="Folders whose files datasets may name by path; none forbids paths."
    )
    allow_scheme: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*$")], ...] = Field(
        (),
        description="Schemes of URIs that datasets may have, besides `file` and `sample`: `https`, "
        "`http`, `s3`, `gs`, `sqlite`, `postgresql`, `mysql`, or one that a plugin reads.",
    )
    allow_private_addresses: bool = Field(
        False,
        description="Let URIs name hosts that are not on the public internet, such as those of an "
        "in-house network; every user can then see what this server can reach.",
    )
    fetch_timeout: float = Field(
        600.0, gt=0, description="Seconds that fetching one source of remote data may take."
    )
    max_remote_cache_bytes: int = Field(
        50 * 10**9,
        ge=0,
        description="Size above which remote data that nobody used for a day is thrown away.",
    )
    workers: int = Field(
        1, ge=1, description="Jobs that run at once where there is no accelerator."
    )
    devices: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda:\d+(,cuda:\d+)*)$",
        description="`auto`, `cpu`, or the accelerators to use, such as `cuda:0,cuda:1`.",
    )
    idle_exit: float | None = Field(
        None,
        ge=0,
        description="Seconds without a request or an unfinished job, after which to exit.",
    )
    ready_line: Literal["text", "json"] = Field(
        "text", description="Form of the line that is printed once the server is ready."
    )
    insecure: bool = Field(
        False,
        description="Listen on addresses that other machines reach even without TLS or tokens.",
    )
    server_certificate: Path | None = Field(
        None,
        description="PEM file with the server's certificate and those that lead to its authority. "
        "With it and `server_key` the server speaks TLS; changed files are read again.",
    )
    server_key: Path | None = Field(None, description="PEM file with the certificate's key.")
    client_ca: Path | None = Field(
        None,
        description="PEM file with certificates; clients then have to show one signed by these.",
    )
    require_tokens: bool = Field(
        False, description="Let in only callers with a token from `seedbed token create`."
    )
    rate_limit: float = Field(
        200.0,
        ge=0,
        description="Calls a second of one token, or of one address without it, on average over "
        "5 s; 0 sets no limit.",
    )
    audit_rows: int = Field(
        100_000, ge=1, description="Rows of the audit that are kept; the oldest go first."
    )
    metrics_address: str = Field(
        "",
        description="Where to answer Prometheus: HOST:PORT (port 0 takes a free one); nowhere if "
        "empty.",
    )
    traces_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s/]+\S*)?$",
        description="Collector to send traces to, by OTLP over HTTP, such as "
        "http://127.0.0.1:4318; if empty the standard OTEL_EXPORTER_OTLP_ENDPOINT says.",
    )
    max_upload_bytes: int = Field(
        10 * 2**30, ge=1, description="Largest file that may be uploaded."
    )
    prepared_limit_bytes: int = Field(
        0,
        ge=0,
        description="What prepared data of earlier jobs may take on the disk; the least recently "
        "used goes first. 0 is 20 GB, or a fifth of the space if that is less.",
    )
    memory_limit_bytes: int = Field(
        2 * 2**30,
        ge=1,
        description="Largest table, and largest prepared data, that a job holds in memory; what is "
        "larger stays in files.",
    )
    call_timeout: float = Field(
        120.0, gt=0, description="Seconds that reading or checking a dataset may take."
    )
    predict_timeout: float = Field(
        120.0, gt=0, description="Seconds that a prediction may take, loading the model included."
    )
    silence_timeout: float = Field(
        900.0,
        gt=0,
        description="Seconds without a sign of life after which a trial of a job without a budget "
        "of time is ended; three times as long as the longest trial of the job took, if that is "
        "more. Models that take longer over a single step need more.",
    )
    driver: str = Field(
        "seedbed_server.search.driver:run_job",
        pattern=MODULE_FUNCTION,
        description="The function that works on a job, as module:function.",
    )
    calls: dict[str, str] = Field(
        default_factory=dict,
        description="Functions for short calls, by name, that replace the built-in ones.",
    )
    preload: tuple[str, ...] = Field(
        ("seedbed_server.executors.preload",),
        description="Modules that are imported once, before workers are forked.",
    )

    @field_validator("allow_root")
    @classmethod
    def _absolute(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(root.expanduser().absolute() for root in roots)

    @field_validator("data_dir", "server_certificate", "server_key", "client_ca")
    @classmethod
    def _absolute_path(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    def database_url(self, own: str) -> str:
        """What `Store` takes; `own` is that of the data directory. Raises StartupError for anything
        that is no address of a PostgreSQL server."""
        return own if self.database is None else server_url(self.database.get_secret_value())

    def tls_files(self) -> TlsFiles | None:
        """The files for TLS, None without it. Raises StartupError where one is missing."""
        certificate, key = self.server_certificate, self.server_key
        if certificate is None and key is None and self.client_ca is None:
            return None
        if certificate is None or key is None:
            missing = "server_certificate" if certificate is None else "server_key"
            given = "server_key" if certificate is None and key else "server_certificate"
            given = given if certificate or key else "client_ca"
            raise StartupError(
                f"{given} is given and {missing} is not; TLS needs a certificate and its key: pass "
                "--server-certificate FILE and --server-key FILE",
                reason="TLS_INCOMPLETE",
            )
        if self.address.startswith("unix:"):
            raise StartupError(
                f"server_certificate: TLS is for HOST:PORT, and address {self.address!r} is a "
                "socket, which the permissions of its folder protect; leave one of the two out",
                reason="TLS_ON_SOCKET",
            )
        return TlsFiles(certificate, key, self.client_ca)


def require_safe_address(settings: Settings) -> None:
    """Raises StartupError for an address that is malformed, or that other machines reach while
    anybody could listen or call."""
    address = settings.address
    if address.startswith("unix:"):
        if len(address) <= len("unix:"):
            raise StartupError("address 'unix:' names no path; write unix:/path/to/socket")
        return
    host, _ = _split("address", address, "HOST:PORT or unix:PATH, such as 127.0.0.1:8470")
    missing = [
        option
        for option, there in (
            ("--server-certificate and --server-key", settings.server_certificate is not None),
            ("--require-tokens", settings.require_tokens),
        )
        if not there
    ]
    if missing and not settings.insecure and not _is_loopback(host):
        raise StartupError(
            f"address {address!r} can be reached from other machines, for which TLS and tokens are "
            f"needed: pass {', and '.join(missing)}; or listen on 127.0.0.1; or pass --insecure "
            "where everybody on the network is trusted",
            reason="INSECURE_ADDRESS",
        )


def require_safe_metrics_address(address: str, insecure: bool) -> tuple[str, int]:
    """The host and the port. Raises StartupError for an address that is malformed, or that other
    machines reach: metrics are answered without TLS or tokens."""
    host, port = _split("metrics address", address, "HOST:PORT, such as 127.0.0.1:9470")
    if not insecure and not _is_loopback(host):
        raise StartupError(
            f"metrics address {address!r} can be reached from other machines, and metrics have "
            "neither TLS nor tokens; listen on 127.0.0.1, or pass --insecure where everybody on "
            "the network is trusted",
            reason="INSECURE_ADDRESS",
        )
    return host, port


def _split(what: str, address: str, form: str) -> tuple[str, int]:
    """Host and port. Raises StartupError for an address of another form."""
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise StartupError(f"{what} {address!r} is not of the form {form}")
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
