"""Labels of users and items, and lists of them, as they are encoded and kept in a bundle."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.blocks.category import label_text

if TYPE_CHECKING:
    import pandas as pd


def labels_of(column: pd.Series) -> pd.Series:
    """The column's values as text, missing where a value is missing or blank."""
    import pandas as pd

    try:
        codes, distinct = pd.factorize(column)
    except TypeError:  # lists and the like, which cannot be told apart but by their text
        codes, distinct = pd.factorize(column.map(label_text, na_action="ignore"))
    texts = [label_text(value) for value in distinct]
    table = np.array([text if text.strip() else None for text in texts] + [None], dtype=object)
    return pd.Series(table[codes], index=column.index, dtype=object)


def pack(array: Array) -> dict[str, Any]:
    """An array as JSON-able data: compressed little-endian bytes in base 64."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(zlib.compress(little.tobytes(), level=6)).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(array.shape), "data": data}


def unpack(state: dict[str, Any]) -> Array:
    """The array that `pack` was called on."""
    data = zlib.decompress(base64.b64decode(state["data"]))
    return np.frombuffer(data, dtype=state["dtype"]).reshape(state["shape"])
