"""Says what data was understood to be: its columns, classes and samples, and what tasks fit it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from seedbed_sdk.blocks.category import label_text
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import FailedPrecondition, InvalidArgument
from seedbed_sdk.registry import load
from seedbed_server.data import references
from seedbed_server.data.doctor import examine_shape
from seedbed_server.data.fitting import fitting_tasks
from seedbed_server.data.guesses import Guess
from seedbed_server.data.reading import look
from seedbed_server.data.shape import LABEL, Shape
from seedbed_server.data.trees import AUDIO as SOUNDS
from seedbed_server.data.trees import IMAGES
from seedbed_server.jobs.values import Finding

SAMPLES = 5
EXAMINE_SECONDS = 10.0
EXAMPLES = 5
EXAMPLE_CHARS = 100
MAX_SAMPLE_BYTES = 256 * 2**10
MAX_SAMPLE_CHARS = 10_000
MAX_SHOWN_CHARS = 1_000_000
MAX_CLASSES = 1_000
IMAGE = "image"
AUDIO = "audio"
SPECTROGRAM = "spectrogram"
MASK = "mask"


def inspect(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a dataset and describes it, in the shape of InspectDatasetResponse.

    The payload has `sources` (of `uri` and `split`), `policy`, `target` (may be empty) and `tasks`
    from the catalogue. Values of samples are plain; times have a zone. Raises InvalidArgument as
    `references.resolve` and `reading.look` do, or with field `target` for a column there is not.
    """
    registry = load()
    policy = references.Policy.from_dict(payload["policy"], registry.readers)
    sources = [references.DataSource(**source) for source in payload["sources"]]
    resolved = references.resolve(sources, policy)
    seen = look(resolved, policy, registry.samples, payload.get("layout", ""))
    target, tasks = payload.get("target", ""), payload.get("tasks", ())
    return describe(seen.dataset, target, tasks, seen.guesses, seen.findings)


def describe(
    dataset: Dataset,
    target: str,
    tasks: Sequence[Mapping[str, Any]],
    guesses: Sequence[Guess] = (),
    known: Sequence[Finding] = (),
) -> dict[str, Any]:
    """Describes a dataset that was read, as `inspect` does; `guesses` and the findings `known` are
    those of the reading."""
    shape = Shape.of(dataset, target)
    table, types = shape.table, shape.types
    found = examine_shape(shape, seconds=EXAMINE_SECONDS)
    return {
        "layout": dataset.layout,
        "content": dataset.content,
        "splits": [{"split": s, "item_count": _count(d)} for s, d in dataset.splits.items()],
        "columns": [] if table is None else [_column(table, n, types[n]) for n in types],
        "classes": [{"label": c, "count": n} for c, n in shape.classes.most_common(MAX_CLASSES)],
        "target": ",".join(shape.targets),
        "samples": _items(shape.dataset, shape.files),
        "findings": [asdict(finding) for finding in (*known, *found)],
        "tasks": fitting_tasks(shape, dataset.layout, tasks),
        "guesses": [asdict(guess) for guess in (*guesses, *shape.guesses())],
        "tables": [
            {"role": role, "row_count": len(side), "columns": [str(c) for c in side.columns]}
            for role, side in dataset.tables.items()
        ],
    }


def _count(split: DataSplit) -> int:
    return len(split.files) if split.table is None else len(split.table)


def _column(table: pd.DataFrame, name: str, kind: str) -> dict[str, Any]:
    values = table[name].dropna()
    # Lists and objects, as JSON Lines and Parquet have them, cannot be counted as they are.
    plain = values.map(repr) if kind == "text" and values.dtype == object else values
    distinct = plain.drop_duplicates()
    chars = _room(EXAMPLE_CHARS, len(table.columns))
    return {
        "name": name,
        "type": kind,
        "missing_count": int(len(table) - len(values)),
        "distinct_count": len(distinct),
        "examples": [_shown(value, chars) for value in distinct.head(EXAMPLES)],
    }


def _room(most: int, columns: int) -> int:
    """Characters for each value, so that all of them fit into one message."""
    return max(20, min(most, MAX_SHOWN_CHARS // (SAMPLES * columns)))


def _shown(value: Any, chars: int) -> str:
    text = value.isoformat(sep=" ") if isinstance(value, pd.Timestamp) else label_text(value)
    text = text.removesuffix(" 00:00:00").encode(errors="replace").decode()
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _items(dataset: Dataset, files: str) -> list[dict[str, Any]]:
    train = dataset.splits["train"]
    if train.table is None:
        of_classes = dataset.layout == "class_folders"
        chosen = _one_per_class(train.files) if of_classes else train.files[:SAMPLES]
        return [
            {**_file(file), **({LABEL: file.path.parent.name} if of_classes else {})}
            for file in chosen
        ]
    rows = train.table.head(SAMPLES).to_dict("records")
    room = _room(MAX_SAMPLE_CHARS, len(train.table.columns))
    items = [{str(name): _plain(value, room) for name, value in row.items()} for row in rows]
    by_name = {file.name: file for file in train.files}
    for item in items:
        if dataset.layout == "image_masks":
            item[MASK] = _file(by_name[item[MASK]]).get(IMAGE, item[MASK])
        if files and item[files] in by_name:
            item.update(_file(by_name[item[files]]))
    return items


def _one_per_class(files: Sequence[FileRef]) -> list[FileRef]:
    first: dict[str, FileRef] = {}
    for file in files:
        first.setdefault(file.path.parent.name, file)
    return list(first.values())[:SAMPLES]


def _file(file: FileRef) -> dict[str, Any]:
    """The file's name, and its bytes where it is a picture or a sound that is small enough to show;
    of a sound also how it looks, its spectrogram."""
    found: dict[str, Any] = {"file": file.name}
    suffix = file.path.suffix.lower()
    kind = IMAGE if suffix in IMAGES else AUDIO if suffix in SOUNDS else ""
    if kind:
        try:
            data = file.read()
        except OSError:
            return found  # A file that cannot be read is a finding of the doctor's, not of this.
        if len(data) <= MAX_SAMPLE_BYTES:
            found[kind] = data
            if kind == AUDIO and (picture := _spectrogram(data)):
                found[SPECTROGRAM] = picture
    return found


def _spectrogram(data: bytes) -> bytes:
    """A PNG; empty where the sound cannot be read or nothing is installed that reads sounds."""
    from seedbed_sdk.blocks.audio import spectrogram_png

    try:
        return spectrogram_png(data)
    except (InvalidArgument, FailedPrecondition):
        return b""


def _plain(value: Any, room: int) -> Any:
    """A cell as null, bool, int, float, text, bytes or a time in UTC."""
    if isinstance(value, np.ndarray | list | tuple | dict | set):
        return str(value)[:room]
    if value is None or pd.isna(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, pd.Timestamp):
        value = value.to_pydatetime(warn=False)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value[:room]
    if isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    return str(value)[:room]
