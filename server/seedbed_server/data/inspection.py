"""Says what data was understood to be: its columns, classes and samples, and what tasks fit it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from seedbed_sdk.blocks.category import label_text
from seedbed_sdk.blocks.tabular import infer_column_type
from seedbed_sdk.dataset import Dataset, DataSplit, FileRef
from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import findings, references
from seedbed_server.data.frames import closest
from seedbed_server.data.image_tables import FileNames, find_file_column
from seedbed_server.data.reading import read
from seedbed_server.data.samples import BUILT_IN, Loader
from seedbed_server.data.trees import IMAGES

SAMPLES = 5
EXAMPLES = 5
EXAMPLE_CHARS = 100
MAX_SAMPLE_BYTES = 256 * 2**10
MAX_SAMPLE_CHARS = 10_000
MAX_SHOWN_CHARS = 1_000_000
MAX_CLASSES = 1_000
MAX_CLASS_NUMBERS = 20
IMAGE = "image"
LABEL = "label"

_USUAL_TARGETS = ("target", "label", "labels", "class", "y", "outcome", "income", "category")
_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff")


def inspect(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a dataset and describes it, in the shape of InspectDatasetResponse.

    The payload has `sources` (of `uri` and `split`), `policy`, `target` (may be empty) and `tasks`
    from the catalogue. Values of samples are plain; times have a zone. Raises InvalidArgument as
    `references.resolve` and `reading.read` do, or with field `target` for a column there is not.
    """
    policy = references.Policy.from_dict(payload["policy"])
    sources = [references.DataSource(**source) for source in payload["sources"]]
    resolved = references.resolve(sources, policy)
    dataset = read(resolved, policy, samples=_samples(resolved))
    return describe(dataset, payload.get("target", ""), payload.get("tasks", ()))


def describe(dataset: Dataset, target: str, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describes a dataset that was read, as `inspect` does."""
    train = dataset.splits["train"]
    table = train.table
    types = {} if table is None else {str(c): infer_column_type(table[c]) for c in table.columns}
    files = _file_column(train) if dataset.layout == "image_table" else ""
    guess = not target and table is not None
    target = _find_target(dataset, target, [name for name in types if name != files])
    target_type = _target_type(dataset, target, types)
    classes = _classes(dataset, target, target_type)
    context = findings.Context(
        dataset, types, target, target_type, classes, files, guessed=guess and bool(target)
    )
    return {
        "layout": dataset.layout,
        "splits": [{"split": s, "item_count": _count(d)} for s, d in dataset.splits.items()],
        "columns": [] if table is None else [_column(table, n, types[n]) for n in types],
        "classes": [{"label": c, "count": n} for c, n in classes.most_common(MAX_CLASSES)],
        "target": target,
        "samples": _items(dataset, files),
        "findings": [asdict(finding) for finding in findings.find(context)],
        "tasks": _fitting(dataset, types, target, target_type, guess, tasks),
    }


def _samples(resolved: Sequence[references.ResolvedSource]) -> Mapping[str, Loader]:
    if all(not source.sample or source.sample in BUILT_IN for source in resolved):
        return {}
    # Loading the plugins takes a while, and only their samples need it.
    from seedbed_sdk.registry import load

    return load().samples


def _count(split: DataSplit) -> int:
    return len(split.files) if split.table is None else len(split.table)


def _file_column(train: DataSplit) -> str:
    assert train.table is not None
    return find_file_column(train.table, FileNames(f.name for f in train.files)) or ""


def _find_target(dataset: Dataset, target: str, names: Sequence[str]) -> str:
    """The column named, or else the one that looks like it: by its name, or as the last one."""
    if dataset.splits["train"].table is None:
        if target and (dataset.layout != "class_folders" or target != LABEL):
            raise InvalidArgument(
                "target",
                f"the data has no columns, and so no {target!r}; the classes are the names of "
                "the folders; leave the target empty",
                reason="UNKNOWN_COLUMN",
            )
        return ""
    if target and target not in names:
        more = f" and {len(names) - 30} more" if len(names) > 30 else ""
        raise InvalidArgument(
            "target",
            f"there is no column {target!r} to predict{closest(target, names)}; the columns are "
            f"{', '.join(map(repr, names[:30]))}{more}",
            reason="UNKNOWN_COLUMN",
        )
    if target or not names:
        return target
    usual = [name for usual in _USUAL_TARGETS for name in names if name.lower() == usual]
    return usual[0] if usual else names[-1]


def _target_type(dataset: Dataset, target: str, types: Mapping[str, str]) -> str:
    """`category`, `regression`, or empty where it is neither or the data does not say."""
    table = dataset.splits["train"].table
    if table is None:
        return "category" if dataset.layout == "class_folders" else ""
    kind = types.get(target, "")
    if kind in ("category", "boolean"):
        return "category"
    if kind != "numeric":
        return ""
    numbers = pd.to_numeric(table[target], errors="coerce").dropna()
    different = numbers.nunique()
    few = different <= MAX_CLASS_NUMBERS and 2 * different <= len(numbers)
    return "category" if few and bool((numbers % 1 == 0).all()) else "regression"


def _classes(dataset: Dataset, target: str, target_type: str) -> Counter[str]:
    train = dataset.splits["train"]
    if dataset.layout == "class_folders":
        return Counter(file.path.parent.name for file in train.files)
    if train.table is None or target_type != "category":
        return Counter()
    counts = train.table[target].value_counts()
    return Counter({label_text(value): int(n) for value, n in counts.items() if n})


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
        if files and item[files] in by_name:
            item.update(_file(by_name[item[files]]))
    return items


def _one_per_class(files: Sequence[FileRef]) -> list[FileRef]:
    first: dict[str, FileRef] = {}
    for file in files:
        first.setdefault(file.path.parent.name, file)
    return list(first.values())[:SAMPLES]


def _file(file: FileRef) -> dict[str, Any]:
    """The file's name, and its bytes where it is a picture that is small enough to show."""
    found: dict[str, Any] = {"file": file.name}
    if file.path.suffix.lower() in IMAGES:
        try:
            data = file.read()
        except OSError:
            return found  # A file that cannot be read is a finding of the job, not of this.
        if len(data) <= MAX_SAMPLE_BYTES:
            found[IMAGE] = data
    return found


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


def _fitting(
    dataset: Dataset,
    types: Mapping[str, str],
    target: str,
    target_type: str,
    guess: bool,
    tasks: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Names of the tasks that read such data, first those for the most particular of its types."""
    kinds = _input_types(dataset, {name: kind for name, kind in types.items() if name != target})
    fitting = []
    for task in tasks:
        inputs = [kinds.index(kind) for kind in task["input_types"] if kind in kinds]
        suits_target = guess or not target_type or target_type in task["target_types"]
        if dataset.layout in task["layouts"] and inputs and suits_target:
            fitting.append((min(inputs), str(task["name"])))
    return [name for _, name in sorted(fitting, key=lambda found: found[0])]


def _input_types(dataset: Dataset, types: Mapping[str, str]) -> list[str]:
    """The types of input that the data may be, the most particular first."""
    if dataset.layout == "table":
        texts = ["text"] if "text" in types.values() else []
        only = texts and set(types.values()) <= {"text", "empty"}
        return texts if only else [*texts, "tabular"]
    if dataset.layout != "files":
        return ["image"]
    suffixes = Counter(
        PurePosixPath(file.name.lower()).suffix for file in dataset.splits["train"].files
    )
    kinds = {"image": IMAGES, "audio": _SOUNDS, "text": (".txt",)}
    return [kind for kind, known in kinds.items() if any(s in known for s in suffixes)]
