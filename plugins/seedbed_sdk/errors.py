"""The errors a user may see: each with a status, a stable reason and, for bad input, the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """What is wrong with one field of a request.

    `field` is the path in the request, such as `job.budget.trials`. `description` says what was
    given and what would do, as a person would read it.
    """

    field: str
    description: str


class SeedbedError(Exception):
    """Base of all errors that are part of the interface.

    `code` is the name of a gRPC status. `reason` is stable, in UPPER_SNAKE_CASE, for programs;
    the message is for people and says what was given and what would do.
    """

    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: Sequence[FieldViolation] = (),
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).code
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data, to cross a process boundary or to be stored with a job."""
        return {
            "code": type(self).code,
            "message": self.message,
            "reason": self.reason,
            "violations": [[v.field, v.description] for v in self.violations],
            "metadata": self.metadata,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> SeedbedError:
        """The error that `to_dict` was called on; an unknown code becomes a plain SeedbedError."""
        error = _BY_CODE.get(data["code"], SeedbedError).__new__(
            _BY_CODE.get(data["code"], SeedbedError)
        )
        SeedbedError.__init__(
            error,
            data["message"],
            reason=data["reason"],
            violations=[FieldViolation(*v) for v in data["violations"]],
            metadata=data["metadata"],
        )
        return error


class InvalidArgument(SeedbedError):
    """Something in a request, or in the data it names, cannot be used."""

    code = "INVALID_ARGUMENT"

    def __init__(self, field: str, description: str, *, reason: str = "INVALID_FIELD") -> None:
        super().__init__(
            f"{field}: {description}" if field else description,
            reason=reason,
            violations=[FieldViolation(field, description)],
        )

    @classmethod
    def of(
        cls, violations: Sequence[FieldViolation], *, reason: str = "INVALID_FIELD"
    ) -> InvalidArgument:
        """One error for several violations (at least one)."""
        error = cls(violations[0].field, violations[0].description, reason=reason)
        error.violations = tuple(violations)
        error.message = "; ".join(f"{v.field}: {v.description}" for v in violations)
        error.args = (error.message,)
        return error


class NotFound(SeedbedError):
    """The named resource does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(SeedbedError):
    """A resource of that name exists, or a request id was used for another request."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(SeedbedError):
    """The request is fine and the state of the system does not allow it."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(SeedbedError):
    """A limit was reached: disk, memory, size or quota."""

    code = "RESOURCE_EXHAUSTED"


class Aborted(SeedbedError):
    """Another writer came first."""

    code = "ABORTED"


class Unavailable(SeedbedError):
    """Try again: a process behind the service was restarting."""

    code = "UNAVAILABLE"


_BY_CODE: dict[str, type[SeedbedError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        ResourceExhausted,
        Aborted,
        Unavailable,
    )
}
