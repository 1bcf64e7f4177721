"""Free text."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays, Encoded, Field, InputBlock, ItemProblem
from seedbed_sdk.blocks.category import label_text
from seedbed_sdk.blocks.file_bytes import Unusable
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

MIN_BYTES = 512
MAX_BYTES = 8_192
MAX_TOTAL_BYTES = 512 * 2**20
MAX_FILE_BYTES = 64 * 2**20
JOINT = "\n"

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class TextBlock(InputBlock):
    """Columns of text, joined by line breaks: strings, numbers and booleans as they are written, or
    text files as FileRefs or bytes.

    Encoded without loss up to `max_bytes`, so that every kind of model can take it apart in its own
    way: `text`, uint8 [N, max_bytes], holds UTF-8 with zeros behind it, and `text_bytes`, int32
    [N], how many bytes of it count; `texts_of` turns them back. `max_bytes` is the length of the
    longest training text, at least 512 and at most 8192, and less where the training items would
    take more than 512 MiB. The empty text is text; an item in which every column is null is a
    problem.
    """

    type: ClassVar[str] = "text"
    max_fit_cells: ClassVar[int] = 1_000_000

    def __init__(self, columns: Sequence[str] = ("text",), max_bytes: int = 0) -> None:
        self.names = tuple(columns)
        self.max_bytes = max_bytes

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(name, "text") for name in self.names)

    def fit(self, items: pd.DataFrame) -> None:
        if self.max_bytes:
            return
        encoded, problems = self._read(items)
        if len(problems) == len(items):
            raise InvalidArgument(
                "job.dataset",
                f"none of {len(items)} training texts can be read: "
                f"{'; '.join(f'{p.name}: {p.reason}' for p in problems[:3]) or 'there are none'}",
                reason="NO_READABLE_TEXT",
            )
        affordable = MAX_TOTAL_BYTES // len(encoded)
        longest = max(map(len, encoded))
        self.max_bytes = max(MIN_BYTES, min(longest, affordable, MAX_BYTES))

    def encode(self, items: pd.DataFrame) -> Encoded:
        encoded, problems = self._read(items)
        text = np.zeros((len(encoded), self.max_bytes), dtype=np.uint8)
        lengths = np.zeros(len(encoded), dtype=np.int32)
        for row, data in enumerate(encoded):
            kept = _cut(data, self.max_bytes)
            text[row, : len(kept)] = np.frombuffer(kept, dtype=np.uint8)
            lengths[row] = len(kept)
        return Encoded({"text": text, "text_bytes": lengths}, problems)

    def state(self) -> dict[str, Any]:
        return {"columns": list(self.names), "max_bytes": self.max_bytes}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextBlock:
        return cls(state["columns"], state["max_bytes"])

    def _read(self, items: pd.DataFrame) -> tuple[list[bytes], list[ItemProblem]]:
        """The texts as UTF-8, each a little longer than will be kept at most; empty where there is
        a problem."""
        lacking = [name for name in self.names if name not in items.columns]
        if lacking:
            raise InvalidArgument(
                "job.dataset",
                f"no column {', '.join(map(repr, lacking))} among "
                f"{', '.join(map(str, items.columns)) or 'no columns at all'}",
                reason="MISSING_COLUMN",
            )
        columns = [_objects(items[name]) for name in self.names]
        encoded: list[bytes] = []
        problems: list[ItemProblem] = []
        for position, values in enumerate(zip(*columns, strict=True)):
            try:
                encoded.append(_joined(values))
            except Unusable as error:
                encoded.append(b"")
                problems.append(
                    ItemProblem(position, _name(values, items.index[position]), str(error))
                )
        return encoded, problems


def texts_of(inputs: Arrays, rows: slice | Array | None = None) -> list[str]:
    """The texts that a TextBlock encoded, all or those of `rows`."""
    chosen = slice(None) if rows is None else rows
    text, lengths = inputs["text"][chosen], inputs["text_bytes"][chosen]
    return [
        row[:length].tobytes().decode("utf-8") for row, length in zip(text, lengths, strict=True)
    ]


def _objects(column: pd.Series) -> Array:
    """The values as Python objects, None where there is none."""
    values: Array = column.to_numpy(dtype=object).copy()
    values[column.isna().to_numpy()] = None
    return values


def _name(values: Sequence[object], label: object) -> str:
    files = [value.name for value in values if isinstance(value, FileRef)]
    return files[0] if files else f"row {label}"


def _joined(values: Sequence[object]) -> bytes:
    parts = [_text(value) for value in values if value is not None]
    if not parts:
        raise Unusable('nothing where text is expected; an empty text is given as ""')
    text = JOINT.join(parts)[: MAX_BYTES + 1]
    # By way of UTF-16 the two halves of a character that JSON had escaped one by one are joined,
    # and a half that is alone becomes the replacement character.
    if not text.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.encode("utf-8")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, FileRef):
        try:
            return _decode(value.read())
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror or error}") from error
    if isinstance(value, bytes):
        return _decode(value)
    if isinstance(value, bool | int | float | np.generic):
        return label_text(value)
    raise Unusable(f"expected text, got {type(value).__name__} {str(value)[:40]!r}")


def _decode(data: bytes) -> str:
    """A text file: by its byte order mark, else as UTF-8, else as Windows-1252, which most other
    files in Western languages are."""
    if len(data) > MAX_FILE_BYTES:
        raise Unusable(f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise Unusable("not a text file: it holds zero bytes and is not UTF-8") from error
        return data.decode("cp1252", "replace")


def _cut(data: bytes, size: int) -> bytes:
    """At most `size` bytes of UTF-8, without a part of a character at the end."""
    return data if len(data) <= size else data[:size].decode("utf-8", "ignore").encode("utf-8")
