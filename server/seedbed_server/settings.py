"""What the operator decides: by option, or by an environment variable `SEEDBED_…`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from seedbed_server.errors import StartupError

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
        False, description="Listen on addresses that other machines reach, without TLS or tokens."
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

    @field_validator("data_dir")
    @classmethod
    def _absolute_folder(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()


def require_safe_address(address: str, insecure: bool) -> None:
    """Raises StartupError for an address that is malformed, or that other machines reach."""
    if address.startswith("unix:"):
        if len(address) <= len("unix:"):
            raise StartupError("address 'unix:' names no path; write unix:/path/to/socket")
        return
    host, separator, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise StartupError(
            f"address {address!r} is not of the form HOST:PORT or unix:PATH, such as 127.0.0.1:8470"
        )
    if not insecure and not _is_loopback(host):
        raise StartupError(
            f"address {address!r} can be reached from other machines, and this version has neither "
            "TLS nor tokens; listen on 127.0.0.1, or pass --insecure where the network is trusted",
            reason="INSECURE_ADDRESS",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
