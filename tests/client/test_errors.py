"""Errors as they come from the wire."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

import seedbed
from seedbed.errors import from_status, make_error


def _status(code: grpc.StatusCode, message: str, *details: object) -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def test_violations_are_one_line_each() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation
    error = from_status(
        _status(
            grpc.StatusCode.INVALID_ARGUMENT,
            "two fields will not do",
            error_details_pb2.ErrorInfo(reason="INVALID_FIELD", metadata={"task": "tabular"}),
            error_details_pb2.BadRequest(
                field_violations=[
                    violation(field="job.budget.trials", description="must be at least 1, got 0"),
                    violation(field="job.metric", description="unknown 'acc'; there is accuracy"),
                ]
            ),
        )
    )
    assert isinstance(error, seedbed.InvalidArgument)
    assert str(error) == (
        "job.budget.trials: must be at least 1, got 0\njob.metric: unknown 'acc'; there is accuracy"
    )
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert error.metadata == {"task": "tabular"}
    assert error.violations[0] == seedbed.FieldViolation(
        "job.budget.trials", "must be at least 1, got 0"
    )


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_every_status_is_an_error_of_ours(code: grpc.StatusCode) -> None:
    error = from_status(_status(code, "no"))
    assert isinstance(error, seedbed.SeedbedError)
    assert (str(error), error.code) == ("no", code.name)


def test_a_status_of_the_future_is_an_error_too() -> None:
    error = from_status(status_pb2.Status(code=99, message="new"))
    assert type(error) is seedbed.SeedbedError
    assert error.code == "UNKNOWN"
    assert make_error("NEW_CODE", "x").code == "NEW_CODE"
