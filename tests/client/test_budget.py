"""Budgets as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed import Budget, InvalidArgument, parse_budget
from seedbed.budget import format_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("60s", Budget(seconds=60)),
        ("5m", Budget(seconds=300)),
        ("1h30m", Budget(seconds=5400)),
        ("1h 30min 5s", Budget(seconds=5405)),
        ("2.5s", Budget(seconds=2.5)),
        ("20trials", Budget(trials=20)),
        ("1 trial", Budget(trials=1)),
        ("500000samples", Budget(samples=500_000)),
        ("5e5samples", Budget(samples=500_000)),
        ("500_000 Samples", Budget(samples=500_000)),
        ("60s,20trials", Budget(seconds=60, trials=20)),
        ("1m, 9trials, 7samples", Budget(seconds=60, trials=9, samples=7)),
    ],
)
def test_reads(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("0s", "budget.wall_clock", "must be at least 5 s, got 0s"),
        ("-5s", "budget.wall_clock", "must be at least 5 s, got -5s"),
        ("0trials", "budget.trials", "must be at least 1, got 0trials"),
        ("-3trials", "budget.trials", "must be at least 1, got -3trials"),
        ("0 samples", "budget.samples", "must be at least 1, got 0 samples"),
        ("60", "budget", "'60' has no unit: write 60s or 60trials"),
        ("1.5trials", "budget", "'1.5trials' must be a whole number of trials"),
        ("", "budget", "cannot be read: ''; write one such as 60s, 5m"),
        ("soon", "budget", "cannot be read: 'soon'; write one such as 60s, 5m"),
        ("60s,", "budget", "cannot be read: '60s,'"),
        ("60s,1m", "budget.wall_clock", "is given twice in '60s,1m'; give it once"),
    ],
)
def test_refuses(text: str, field: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_budget(text)
    [violation] = caught.value.violations
    assert violation.field == field
    assert violation.description.startswith(says)
    assert str(caught.value) == f"{field}: {violation.description}"


@given(
    st.none() | st.integers(1, 10**6).map(float),
    st.none() | st.integers(1, 10**9),
    st.none() | st.integers(1, 10**12),
)
def test_reads_what_it_writes(
    seconds: float | None, trials: int | None, samples: int | None
) -> None:
    budget = Budget(seconds=seconds, trials=trials, samples=samples)
    text = format_budget(budget)
    if text:
        assert parse_budget(text) == budget


@given(st.text())
def test_never_raises_anything_else(text: str) -> None:
    try:
        budget = parse_budget(text)
    except InvalidArgument as error:
        assert error.violations
    else:
        assert budget != Budget()
