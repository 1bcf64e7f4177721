"""Legends of masks: tables that say which value or colour is which class."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

_NAME = re.compile(
    r"(legend|class(es)?|labels?)|(class|label|colou?r)[_\- ]?(dict|map|colou?rs?|names?)"
    r"|colou?rs|palette|id2label"
)
_SUFFIXES = (".csv", ".tsv", ".json", ".txt")
MAX_TEXT_BYTES = 2**20
_MAX_LINE = 200
_CHANNELS = r"(?P<r>[0-9]{1,3})[\s,]+(?P<g>[0-9]{1,3})[\s,]+(?P<b>[0-9]{1,3})"
# CamVid's own form, and the other way round, where colons may follow as in CVAT's.
_LINES = (
    re.compile(rf"{_CHANNELS}[\s,:]+(?P<name>\S.*)"),
    re.compile(rf"(?P<name>\S.*?)[\s,:]+{_CHANNELS}:*"),
)
_COLUMNS = {
    "name": ("name", "class", "label", "classname", "classes", "category"),
    "value": ("value", "id", "index", "classid", "label_id", "labelid", "number", "trainid"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}


def legend_in_file(path: Path) -> pd.DataFrame | None:
    """The legend in a text file, as `legend_from_text`; None for others and for large files."""
    if path.suffix.lower() != ".txt" or path.stat().st_size > MAX_TEXT_BYTES:
        return None
    return legend_from_text(path.read_bytes())


def is_legend_name(path: str) -> bool:
    """Whether a file is called as a legend is."""
    file = PurePosixPath(path.lower())
    return file.suffix in _SUFFIXES and bool(_NAME.fullmatch(file.stem))


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


def legend_from_text(data: bytes) -> pd.DataFrame | None:
    """The legend in a text file whose lines are `R G B name` or `name R G B`, with spaces, tabs or
    commas between, each from 0 to 255. Blank lines, and those that begin with # or //, say nothing.
    None for others."""
    try:
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        return None
    said = [line for line in lines if line and not line.startswith(("#", "//"))]
    if any(len(line) > _MAX_LINE for line in said):
        return None
    for form in _LINES:
        matches = [match for line in said if (match := form.fullmatch(line))]
        if matches and len(matches) == len(said):
            colours = [{channel: int(match[channel]) for channel in "rgb"} for match in matches]
            if max(max(colour.values()) for colour in colours) > 255:
                return None
            named = zip(matches, colours, strict=True)
            return pd.DataFrame([{"name": match["name"], **colour} for match, colour in named])
    return None


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
