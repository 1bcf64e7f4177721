"""Errors that only the service raises, beside those of the SDK."""

from __future__ import annotations

from seedbed_sdk.errors import Aborted, SeedbedError


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


class OutOfTime(SeedbedError):
    """A request's work was ended at its time limit."""

    code = "DEADLINE_EXCEEDED"
