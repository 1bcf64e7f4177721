"""Legends of masks: tables that say which value or colour is which class."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

_NAME = re.compile(
    r"(legend|class(es)?|labels?)|(class|label|colou?r)[_\- ]?(dict|map|colou?rs?|names?)"
    r"|colou?rs|palette|id2label"
)
_COLUMNS = {
    "name": ("name", "class", "label", "classname", "classes", "category"),
    "value": ("value", "id", "index", "classid", "label_id", "labelid", "number", "trainid"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}


def is_legend_name(path: str) -> bool:
    """Whether a file is called as a legend is."""
    file = PurePosixPath(path.lower())
    return file.suffix in (".csv", ".tsv", ".json") and bool(_NAME.fullmatch(file.stem))


def as_legend(table: pd.DataFrame) -> pd.DataFrame | None:
    """The columns `name` and `r`, `g`, `b` or `value` under these names; None where they lack."""
    plain = {re.sub(r"[\W_]", "", str(c).lower()): c for c in reversed(list(table.columns))}
    found = {
        column: next((plain[n] for n in names if n in plain), None)
        for column, names in _COLUMNS.items()
    }
    colours = all(found[channel] is not None for channel in "rgb")
    if found["name"] is None or not (colours or found["value"] is not None):
        return None
    wanted = ("name", "r", "g", "b") if colours else ("name", "value")
    legend = pd.DataFrame({column: table[found[column]] for column in wanted})
    numbers = legend.drop(columns="name").apply(pd.to_numeric, errors="coerce")
    return None if numbers.isna().any(axis=None) else legend


def legend_from_json(data: bytes) -> pd.DataFrame | None:
    """The legend in a JSON file: a list of names, or of objects with a name and a colour or value;
    or an object of names and colours, or of names and values either way round. None for others."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(content, Mapping) and len(content) == 1:
        (inner,) = content.values()
        content = inner if isinstance(inner, list | dict) and inner else content
    rows = _rows(content)
    return None if not rows else as_legend(pd.DataFrame(rows))


def _rows(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        if all(isinstance(row, str) for row in content):
            return [{"name": name, "value": i} for i, name in enumerate(content)]
        return [_row(row) for row in content if isinstance(row, dict)]
    if not isinstance(content, dict):
        return []
    if all(isinstance(v, str) and str(k).lstrip("-").isdigit() for k, v in content.items()):
        return [{"name": name, "value": int(value)} for value, name in content.items()]
    return [_row({"name": name, "color": value}) for name, value in content.items()]


def _row(given: Mapping[str, Any]) -> dict[str, Any]:
    row = {str(key).lower(): value for key, value in given.items()}
    colour = next((row.pop(key) for key in ("color", "colour", "rgb") if key in row), None)
    if isinstance(colour, list) and len(colour) >= 3:
        row.update(r=colour[0], g=colour[1], b=colour[2])
    elif isinstance(colour, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        row.update(r=int(colour[1:3], 16), g=int(colour[3:5], 16), b=int(colour[5:], 16))
    elif isinstance(colour, int):
        row["value"] = colour
    return row
