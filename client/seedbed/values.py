"""Python values and protobuf messages, in both directions; the only place that knows both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

from seedbed.errors import invalid
from seedbed.v1 import values_pb2

PythonValue = (
    None | str | bytes | bool | int | float | datetime | list["PythonValue"] | tuple[Any, ...]
)

_INT64 = range(-(2**63), 2**63)


def to_value(value: object, field: str = "value") -> values_pb2.Value:
    """A typed proto value. Integers stay integers, bytes stay bytes, NaN is kept as a number.

    A datetime without a timezone is taken as UTC. Raises InvalidArgument naming `field` for a
    type that has no counterpart or an integer beyond 64 bits.
    """
    # NumPy scalars say what they are through `item()`, without importing NumPy here.
    if hasattr(value, "item") and not isinstance(value, Sequence):
        value = value.item()
    match value:
        case None:
            return values_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return values_pb2.Value(bool_value=value)
        case str():
            return values_pb2.Value(string_value=value)
        case bytes() | bytearray() | memoryview():
            return values_pb2.Value(bytes_value=bytes(value))
        case int():
            if value not in _INT64:
                raise invalid(field, f"whole numbers must fit in 64 bits, got {value}")
            return values_pb2.Value(int64_value=value)
        case float():
            return values_pb2.Value(double_value=value)
        case datetime():
            return values_pb2.Value(timestamp_value=to_timestamp(value))
        case list() | tuple():
            items = [to_value(item, f"{field}[{i}]") for i, item in enumerate(value)]
            return values_pb2.Value(list_value=values_pb2.ListValue(values=items))
        case _:
            raise invalid(
                field,
                "must be text, bytes, a number, a bool, a datetime, a list or None, "
                f"got {type(value).__name__}",
            )


def from_value(value: values_pb2.Value) -> PythonValue:
    """The Python value; a timestamp becomes a datetime in UTC."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "bytes_value":
            return value.bytes_value
        case "int64_value":
            return value.int64_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case "timestamp_value":
            return from_timestamp(value.timestamp_value)
        case "list_value":
            return [from_value(item) for item in value.list_value.values]
        case _:
            return None


def to_example(row: Mapping[str, object], field: str = "example") -> values_pb2.Example:
    """One item to predict, keyed by column."""
    if not isinstance(row, Mapping):
        raise invalid(field, f"must be a dict of column to value, got {type(row).__name__}")
    fields = {str(k): to_value(v, f"{field}.fields[{str(k)!r}]") for k, v in row.items()}
    return values_pb2.Example(fields=fields)


def from_example(example: values_pb2.Example) -> dict[str, PythonValue]:
    """One item, keyed by column."""
    return {key: from_value(value) for key, value in sorted(example.fields.items())}


def to_struct(data: Mapping[str, Any], field: str = "options") -> struct_pb2.Struct:
    """JSON-like data as a Struct. Raises InvalidArgument for what JSON cannot say."""
    struct = struct_pb2.Struct()
    try:
        struct.update(dict(data))
    except (ValueError, TypeError) as error:
        raise invalid(field, f"must hold what JSON can say, got {dict(data)!r}") from error
    return struct


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """JSON-like data. A Struct knows only doubles; whole ones come back as int."""
    return {key: from_struct_value(value) for key, value in struct.fields.items()}


def to_struct_value(value: object, field: str) -> struct_pb2.Value:
    """One JSON-like value."""
    return to_struct({"value": value}, field).fields["value"]


def from_struct_value(value: struct_pb2.Value) -> Any:
    """One JSON-like value; a whole number comes back as int."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_struct_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            whole = math.isfinite(number) and number.is_integer() and abs(number) <= 2**53
            return int(number) if whole else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def to_duration(seconds: float) -> duration_pb2.Duration:
    """A duration to the nanosecond."""
    nanos = round(seconds * 1e9)
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(nanos)
    return duration


def from_duration(duration: duration_pb2.Duration) -> float:
    """Seconds."""
    return duration.seconds + duration.nanos / 1e9


def to_timestamp(time: datetime) -> timestamp_pb2.Timestamp:
    """A point in time; without a timezone it is taken as UTC."""
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))
    return timestamp


def from_timestamp(timestamp: timestamp_pb2.Timestamp) -> datetime:
    """A datetime in UTC, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=UTC)
