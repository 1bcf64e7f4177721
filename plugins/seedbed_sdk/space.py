"""Hyperparameters and the values they may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool | None
Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Real numbers from `low` to `high`, both included; `log` samples the logarithm uniformly."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
        )

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included; `log` samples the logarithm uniformly."""

    low: int
    high: int
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and float(value).is_integer()
            and self.low <= value <= self.high
        )

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True, slots=True)
class Choices:
    """One of a few values; a single value fixes the hyperparameter."""

    values: tuple[Scalar, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


Domain = FloatRange | IntRange | Choices
Space = Mapping[str, Domain]


def domain_to_dict(domain: Domain) -> dict[str, Any]:
    """As JSON-able data."""
    if isinstance(domain, Choices):
        return {"kind": "choices", "values": list(domain.values)}
    kind = "float" if isinstance(domain, FloatRange) else "int"
    return {"kind": kind, "low": domain.low, "high": domain.high, "log": domain.log}


def domain_from_dict(data: Mapping[str, Any]) -> Domain:
    """The reverse of `domain_to_dict`."""
    if data["kind"] == "choices":
        return Choices(tuple(data["values"]))
    cls = FloatRange if data["kind"] == "float" else IntRange
    return cls(data["low"], data["high"], data["log"])
