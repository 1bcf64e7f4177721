"""Errors that only the service raises, beside those of the SDK."""

from __future__ import annotations

from typing import Any

from seedbed_sdk.errors import Aborted, ResourceExhausted, SeedbedError


class LeaseLost(Aborted):
    """The job was given to another worker, or ended, since this writer leased it."""

    def __init__(self, job_id: str, attempt: int, found: str) -> None:
        super().__init__(
            f"job {job_id!r} is no longer held by attempt {attempt}: {found}", reason="LEASE_LOST"
        )


class ProcessSpoiled(Exception):
    """A worker's process cannot go on, such as when its accelerator has failed; its job goes on in
    another. The text says what happened."""


class StartupError(SeedbedError):
    """The server cannot start as it was told to; the message says what would do."""

    code = "FAILED_PRECONDITION"


class Unauthenticated(SeedbedError):
    """Nobody knows who the caller is."""

    code = "UNAUTHENTICATED"


class PermissionDenied(SeedbedError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class RateLimited(ResourceExhausted):
    """The caller calls too often; `retry_seconds` is when the next call would be let through."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message, reason="RATE_LIMITED")
        self.retry_seconds = retry_seconds

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "retry_seconds": self.retry_seconds}


class OutOfTime(SeedbedError):
    """A request's work was ended at its time limit."""

    code = "DEADLINE_EXCEEDED"
