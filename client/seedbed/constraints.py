"""Limits on a model as people type them: `5ms` for an answer, `20MB` for its files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from seedbed.errors import invalid

_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_FORM = re.compile(r"(?P<number>[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?P<unit>[a-zµ]*)")


def parse_latency(value: str | float) -> float:
    """Seconds, from text such as `5ms` or from seconds. Raises InvalidArgument naming
    `max_latency` for something else, and for zero or less."""
    return _parse(value, "max_latency", _SECONDS, "5ms, 250us or 0.1s")


def parse_size(value: str | int) -> int:
    """Bytes, from text such as `20MB` or `512KiB`, or from bytes. Raises InvalidArgument naming
    `max_size` for something else, and for less than one."""
    return max(1, round(_parse(value, "max_size", _BYTES, "20MB, 512KiB or 1.5GB")))


def _parse(value: str | float, field: str, units: Mapping[str, float], forms: str) -> float:
    number = value if not isinstance(value, str) else _from_text(value, field, units, forms)
    if not math.isfinite(number) or number <= 0:
        raise invalid(field, f"must be above 0, got {value}; write such as {forms}")
    return number


def _from_text(text: str, field: str, units: Mapping[str, float], forms: str) -> float:
    match = _FORM.fullmatch(re.sub(r"\s", "", text).lower())
    if match is None or (match["unit"] and match["unit"] not in units):
        raise invalid(field, f"cannot be read: {text!r}; write such as {forms}")
    if not match["unit"]:
        raise invalid(field, f"{text!r} has no unit; write such as {forms}")
    return float(match["number"]) * units[match["unit"]]
