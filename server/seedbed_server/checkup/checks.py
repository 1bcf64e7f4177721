"""What was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_UNITS = ("B", "kB", "MB", "GB")


class Severity(StrEnum):
    """Whether something is as it should be."""

    OK = "OK"
    WARNING = "WARNING"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `suggestion` says what would do, where something is to do."""

    name: str
    severity: Severity
    message: str
    suggestion: str = ""


def ok(name: str, message: str) -> Check:
    return Check(name, Severity.OK, message)


def warning(name: str, message: str, suggestion: str) -> Check:
    return Check(name, Severity.WARNING, message, suggestion)


def problem(name: str, message: str, suggestion: str) -> Check:
    return Check(name, Severity.PROBLEM, message, suggestion)


def size(count: int) -> str:
    """`512 B`, `1.4 GB`."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
