"""Values on their way through protobuf."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed import InvalidArgument
from seedbed.v1 import values_pb2
from seedbed.values import (
    PythonValue,
    from_duration,
    from_struct,
    from_value,
    to_duration,
    to_example,
    to_struct,
    to_value,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC))
)


def _types(value: PythonValue) -> object:
    return [_types(v) for v in value] if isinstance(value, list) else type(value)


@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_values_come_back_with_their_types(value: PythonValue) -> None:
    wire = values_pb2.Value.FromString(to_value(value).SerializeToString())
    back = from_value(wire)
    assert back == value
    assert _types(back) == _types(value)


def test_nan_stays_a_number() -> None:
    back = from_value(to_value(math.nan))
    assert isinstance(back, float)
    assert math.isnan(back)


def test_numpy_scalars_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert to_value(numpy.int32(3)).int64_value == 3
    assert to_value(numpy.float32(0.5)).double_value == 0.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 2**63}, "example.fields['age']: whole numbers must fit in 64 bits"),
        ({"age": {}}, "example.fields['age']: must be text, bytes, a number, a bool, a datetime"),
        ({"tags": ["a", object()]}, "example.fields['tags'][1]: must be text, bytes"),
        (["age"], "example: must be a dict of column to value, got list"),
    ],
)
def test_says_which_value_will_not_do(row: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        to_example(row)
    assert str(caught.value).startswith(message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_options_come_back_with_whole_numbers(options: dict[str, object]) -> None:
    assert from_struct(to_struct(options)) == options


def test_options_must_be_json() -> None:
    with pytest.raises(InvalidArgument, match="options: must hold what JSON can say"):
        to_struct({"x": object()})


@given(st.integers(0, 10**15))
def test_durations_keep_nanoseconds(nanos: int) -> None:
    assert to_duration(nanos / 1e9).ToNanoseconds() == pytest.approx(nanos, abs=1)
    assert from_duration(to_duration(1.25)) == 1.25
