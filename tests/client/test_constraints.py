"""Limits on a model, as people type them."""

from __future__ import annotations

import pytest

import seedbed
from seedbed.constraints import parse_latency, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("250us", 0.00025), ("0.1s", 0.1), (" 1.5 MS ", 0.0015), (0.02, 0.02)],
)
def test_latencies(text: str | float, seconds: float) -> None:
    assert parse_latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("20MB", 20_000_000), ("512KiB", 524_288), ("1.5 gb", 1_500_000_000), ("7B", 7), (900, 900)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "fast", "5", "5m", "5MB", "-5ms", "0ms", 0, -1.0, "nanms"])
def test_what_is_no_latency_is_refused(text: str | float) -> None:
    with pytest.raises(seedbed.InvalidArgument) as caught:
        parse_latency(text)
    assert [violation.field for violation in caught.value.violations] == ["max_latency"]
    assert "5ms" in str(caught.value)


@pytest.mark.parametrize("text", ["", "small", "5", "5ms", "-5MB", "0B", 0, -1])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(seedbed.InvalidArgument) as caught:
        parse_size(text)
    assert [violation.field for violation in caught.value.violations] == ["max_size"]
    assert "20MB" in str(caught.value)
