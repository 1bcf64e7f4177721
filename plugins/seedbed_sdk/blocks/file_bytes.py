"""The bytes of items that are files."""

from __future__ import annotations

import math

from seedbed_sdk.dataset import FileRef

MAX_FILE_BYTES = 256 * 2**20


class Unusable(Exception):
    """Says of an item why it cannot be used."""


def item_name(value: object, position: int) -> str:
    """What a file or value is called in messages."""
    return value.name if isinstance(value, FileRef) else f"row {position}"


def file_bytes(value: object, noun: str) -> bytes:
    """The contents of a FileRef, or of bytes. `noun` says what file it should be, in messages.

    Raises Unusable where it cannot be read, is empty, or has more than 256 MiB.
    """
    if isinstance(value, FileRef):
        try:
            data = value.read()
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror or error}") from error
    elif isinstance(value, bytes):
        data = value
    else:
        raise Unusable(f"expected the bytes of a {noun} file, got {_described(value)}")
    if not data:
        raise Unusable("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise Unusable(f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    return data


def _described(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "nothing"
    return f"{type(value).__name__} {str(value)[:40]!r}"
