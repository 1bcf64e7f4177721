"""Errors as gRPC statuses with their details (AIP-193)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from seedbed_sdk.errors import SeedbedError

DOMAIN = "seedbed.dev"
DETAILS_KEY = "grpc-status-details-bin"
# Peers refuse responses with more than 8 KiB of metadata, the text and the details together.
MAX_MESSAGE_CHARACTERS = 1000
MAX_DETAILS_BYTES = 5000


def status_code(error: Mapping[str, Any]) -> grpc.StatusCode:
    return grpc.StatusCode[error["code"]]


def to_status(error: Mapping[str, Any]) -> status_pb2.Status:
    """A `SeedbedError.to_dict()` as the message that jobs and responses carry."""
    status = status_pb2.Status(code=status_code(error).value[0], message=error["message"])
    info = error_details_pb2.ErrorInfo(
        reason=error["reason"], domain=DOMAIN, metadata=error["metadata"]
    )
    status.details.append(_pack(info))
    if "retry_seconds" in error:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(seconds=error["retry_seconds"]))
        status.details.append(_pack(retry))
    if error["violations"]:
        bad = error_details_pb2.BadRequest()
        for field, description in error["violations"]:
            bad.field_violations.add(field=field, description=description)
        status.details.append(_pack(bad))
    return status


def trailing_metadata(error: SeedbedError) -> tuple[tuple[str, bytes], ...]:
    """What a response carries beside the code and the text. As many violations as fit."""
    data = error.to_dict()
    data["message"] = shorten(data["message"])
    data["violations"] = [[field, shorten(text)] for field, text in data["violations"]]
    details = to_status(data).SerializeToString()
    while len(details) > MAX_DETAILS_BYTES and data["violations"]:
        data["violations"].pop()
        details = to_status(data).SerializeToString()
    return ((DETAILS_KEY, details),)


def shorten(text: str) -> str:
    """A text that fits in a response's metadata."""
    too_long = len(text) > MAX_MESSAGE_CHARACTERS
    return text[: MAX_MESSAGE_CHARACTERS - 1] + "…" if too_long else text


def _pack(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
