"""Hyperparameters as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed import Choices, FloatRange, IntRange, InvalidArgument, parse_domain
from seedbed.converters import domain, domain_to_proto
from seedbed.space import Domain, as_domain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4..1e-2", FloatRange(1e-4, 1e-2, log=True)),
        ("0.0..0.5", FloatRange(0.0, 0.5)),
        ("0.1..0.5", FloatRange(0.1, 0.5)),
        ("1..20", IntRange(1, 20)),
        (" 1 .. 20 ", IntRange(1, 20)),
        ("linear,lightgbm", Choices(("linear", "lightgbm"))),
        ("5", Choices((5,))),
        ("0.5", Choices((0.5,))),
        ("true,false", Choices((True, False))),
        ("mlp", Choices(("mlp",))),
    ],
)
def test_reads(text: str, expected: Domain) -> None:
    assert parse_domain(text, "x") == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a..b", "a range is LOW..HIGH, such as 1e-4..1e-2, got 'a..b'"),
        ("1..", "a range is LOW..HIGH, such as 1e-4..1e-2, got '1..'"),
        ("5..1", "the low end must not be above the high end, got 5..1"),
        ("", "must be a range such as 1e-4..1e-2, choices such as a,b or one value, got ''"),
        ("a,,b", "must be a range such as 1e-4..1e-2, choices such as a,b or one value"),
    ],
)
def test_refuses(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_domain(text, "epochs")
    [violation] = caught.value.violations
    assert violation.field == "search_space['epochs']"
    assert violation.description.startswith(says)


def test_takes_python_values() -> None:
    assert as_domain(5, "epochs") == Choices((5,))
    assert as_domain([8, 16], "batch_size") == Choices((8, 16))
    assert as_domain("1..4", "layers") == IntRange(1, 4)
    with pytest.raises(InvalidArgument, match=r"search_space\['x'\]: must be a domain"):
        as_domain(object(), "x")


@given(
    st.one_of(
        st.builds(FloatRange, st.floats(0.1, 1), st.floats(1, 10), st.booleans()),
        st.builds(IntRange, st.integers(1, 9), st.integers(9, 99), st.booleans()),
        st.lists(st.text() | st.booleans() | st.integers(-(2**53), 2**53), min_size=1).map(
            lambda values: Choices(tuple(values))
        ),
    )
)
def test_survives_the_wire(value: Domain) -> None:
    assert domain(domain_to_proto(value, "x")) == value
