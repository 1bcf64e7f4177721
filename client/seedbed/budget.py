"""Budgets as people type them: `60s`, `1h30m`, `20trials`, `500000samples`, several with commas."""

from __future__ import annotations

import re
from decimal import Decimal

from seedbed.errors import invalid
from seedbed.types import Budget

_FORMS = "such as 60s, 5m, 1h30m, 20trials or 500000samples, or several joined by commas"
_CLOCK = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m(?:in)?)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_FIELD = {"seconds": "wall_clock", "trials": "trials", "samples": "samples"}
_COUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?(?:e\d+)?)(?P<unit>trials?|samples?)")


def parse_budget(text: str) -> Budget:
    """The limits that `text` names; the first one reached will end the search.

    Spaces and letter case do not matter. Raises InvalidArgument naming `budget` and its part, for
    something else, for zero or less, and for a limit that is given twice.
    """
    found: dict[str, float] = {}
    for given in text.split(","):
        part = re.sub(r"\s", "", given).lower()
        kind, value = _parse_part(part, text)
        if value <= 0:
            least = "at least 5 s" if kind == "seconds" else "at least 1"
            raise invalid(f"budget.{_FIELD[kind]}", f"must be {least}, got {given.strip()}")
        if kind in found:
            raise invalid(f"budget.{_FIELD[kind]}", f"is given twice in {text!r}; give it once")
        found[kind] = value
    return Budget(
        seconds=found.get("seconds"),
        trials=_whole(found.get("trials")),
        samples=_whole(found.get("samples")),
    )


def _parse_part(part: str, text: str) -> tuple[str, float]:
    sign, number = (-1, part[1:]) if part.startswith("-") else (1, part)
    if number.isdecimal():
        raise invalid("budget", f"{part!r} has no unit: write {part}s or {part}trials")
    if match := _COUNT.fullmatch(number):
        value = float(match["number"])
        if not value.is_integer():
            raise invalid("budget", f"{part!r} must be a whole number of {match['unit']}")
        return match["unit"].rstrip("s") + "s", sign * value
    match = _CLOCK.fullmatch(number)
    if not number or match is None:
        raise invalid("budget", f"cannot be read: {text!r}; write one {_FORMS}")
    hours, minutes, seconds = (float(match[unit] or 0) for unit in "hms")
    return "seconds", sign * (hours * 3600 + minutes * 60 + seconds)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _plain(number: float) -> str:
    """Without an exponent, and with no more digits than it needs."""
    return format(Decimal(repr(number)).normalize(), "f")


def format_budget(budget: Budget) -> str:
    """The budget in the form that `parse_budget` reads; empty without any limit."""
    parts = []
    if budget.seconds is not None:
        parts.append(f"{_plain(budget.seconds)}s")
    if budget.trials is not None:
        parts.append(f"{budget.trials}trials")
    if budget.samples is not None:
        parts.append(f"{budget.samples}samples")
    if budget.target_score is not None:
        parts.append(f"until {budget.target_score:g}")
    return ", ".join(parts)
