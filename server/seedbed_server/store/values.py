"""The values that the store takes and gives, beside those of `jobs.values`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from seedbed_server.data.references import DataSource

# A dataset among the sources of another one is kept as this and its id.
DATASET_SCHEME = "dataset:"

_LETTERS = "abcdefghijkmnpqrstuvwxyz"
_ALPHABET = _LETTERS + "23456789"


def new_id() -> str:
    """A fresh resource id: 12 letters and digits that are hard to confuse, a letter first."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_ALPHABET) for _ in range(11))


def now() -> datetime:
    """The current time in UTC, to the microsecond that the store keeps."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Registered or uploaded data.

    `sources` holds URIs as they were given, and `dataset:ID` for another dataset; for uploaded data
    it is empty. `upload_file` is the name of the file under the data directory's `uploads/{id}`.
    `layout` is what it is to be read as, or empty to let the data decide. `signature` tells cheaply
    whether the files are still as they were when the fingerprint was taken.
    """

    id: str
    project: str
    display_name: str
    sources: tuple[DataSource, ...]
    fingerprint: str
    signature: str
    size_bytes: int
    create_time: datetime
    upload_file: str = ""
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in. `dataset` is set once the whole of it has arrived."""

    id: str
    project: str
    file_name: str
    size_bytes: int
    sha256: str
    display_name: str
    dataset_id: str
    create_time: datetime
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a create idempotent: the caller's request id and a hash of what it asked for."""

    project: str
    request_id: str
    method: str
    digest: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Calls that were alike within about a second. `token` is the id of the caller's token, empty
    without one; `outcome` is the name of a gRPC status."""

    time: datetime
    token: str
    peer: str
    method: str
    resource: str
    outcome: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; empty means any."""

    state: str = ""
    task: str = ""
    dataset: str = ""
