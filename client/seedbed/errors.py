"""What can go wrong, as exceptions that read well and that programs can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from seedbed.job import Job


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field: its path, such as `job.budget.trials`, and what would do."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class SeedbedError(Exception):
    """Base of all errors that seedbed raises.

    `code` is the name of a gRPC status, `reason` a stable identifier in UPPER_SNAKE_CASE, and
    `metadata` what the server says beside it. `retry_seconds` is when it says that the same call
    would do, None where it does not say. `str()` is for people: one line per violation.
    """

    def __init__(
        self,
        message: str,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason or code
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_seconds: float | None = None

    def __str__(self) -> str:
        if self.violations:
            return "\n".join(map(str, self.violations))
        return self.message


class InvalidArgument(SeedbedError):
    """Something in the request, or in the data it names, cannot be used; see `violations`."""


class NotFound(SeedbedError):
    """The named job, model, dataset or task does not exist."""


class AlreadyExists(SeedbedError):
    """A resource of that name exists."""


class FailedPrecondition(SeedbedError):
    """The request is fine and the state of the system does not allow it."""


class ResourceExhausted(SeedbedError):
    """A limit was reached: disk, memory, message size or quota."""


class Aborted(SeedbedError):
    """Another writer came first; try again."""


class Unavailable(SeedbedError):
    """The server cannot be reached, or was restarting for longer than the retries lasted."""


class DeadlineExceeded(SeedbedError):
    """The server did not answer in time."""


class Cancelled(SeedbedError):
    """The call was cancelled."""


class PermissionDenied(SeedbedError):
    """The caller may not do this."""


class Unauthenticated(SeedbedError):
    """The server does not know the caller."""


class Unimplemented(SeedbedError):
    """The server is older than the client, or no seedbed server."""


class Internal(SeedbedError):
    """A fault of the server; its log says more."""


class JobFailed(SeedbedError):
    """A job ended in FAILED. `job` is the job; the message is its error and what to do about it."""

    def __init__(self, job: Job, cause: SeedbedError) -> None:
        super().__init__(
            f"job {job.id} failed: {cause.message}",
            cause.code,
            cause.reason,
            cause.metadata,
            cause.violations,
        )
        self.job = job

    def __str__(self) -> str:
        return self.message


_BY_CODE: dict[str, type[SeedbedError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "ABORTED": Aborted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": Unauthenticated,
    "UNIMPLEMENTED": Unimplemented,
    "INTERNAL": Internal,
    "DATA_LOSS": Internal,
}
_NAME_OF = {code.value[0]: code.name for code in grpc.StatusCode}


def make_error(
    code: str,
    message: str,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    violations: Sequence[FieldViolation] = (),
) -> SeedbedError:
    """The exception class for a status code's name; an unknown one is a plain SeedbedError."""
    return _BY_CODE.get(code, SeedbedError)(message, code, reason, metadata, violations)


def invalid(field: str, description: str) -> InvalidArgument:
    """What the client itself finds wrong, in the shape of a server's answer."""
    violation = FieldViolation(field, description)
    return InvalidArgument(
        str(violation), "INVALID_ARGUMENT", "INVALID_FIELD", violations=[violation]
    )


def from_status(status: status_pb2.Status) -> SeedbedError:
    """A `google.rpc.Status`, with its `ErrorInfo`, `BadRequest` and `RetryInfo` where it has
    them."""
    reason, metadata = "", dict[str, str]()
    violations: list[FieldViolation] = []
    retry_seconds = None
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations += [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
    code = _NAME_OF.get(status.code, "UNKNOWN")
    error = make_error(code, status.message, reason, metadata, violations)
    error.retry_seconds = retry_seconds
    return error


def from_rpc_error(error: grpc.RpcError, server: str) -> SeedbedError:
    """What a failed call raised. `server` is the address, for errors that no server wrote."""
    try:
        # What a stub raises is a Call too, which the type of RpcError does not say.
        status = rpc_status.from_call(cast(grpc.Call, error))
    except (ValueError, DecodeError):
        # Details that contradict the call's own status: the call's own status holds.
        status = None
    if status is not None:
        return from_status(status)
    code, details = error.code().name, error.details() or ""
    if code == "UNAVAILABLE":
        return Unavailable(f"no answer from the seedbed server at {server} ({details})", code)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(f"the seedbed server at {server} did not answer in time", code)
    return make_error(code, details or code)
