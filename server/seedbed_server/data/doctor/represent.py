"""Items as plain numbers with their names and labels, whatever they are, for the quick models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from seedbed_server.data.doctor.features import table_features
from seedbed_server.data.file_tables import FileNames

if TYPE_CHECKING:
    from seedbed_server.data.doctor.context import Context
    from seedbed_server.data.doctor.files import FileFacts

MIN_FEATURES = 3
MAX_TERMS = 20_000
MAX_CHARS = 2_000
IMAGE_MEASURES = ("red", "green", "blue", "brightness", "width", "height")
AUDIO_MEASURES = ("loudness", "peak", "length in seconds", "sample rate", "number of samples")

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Items:
    """Items of a split: `matrix` [N, F] is float32, dense, or a SciPy sparse matrix for text;
    `columns` are its F names, where they have some; `names` say which items they are; `labels` are
    their classes as text, or empty where there is none."""

    matrix: Any
    columns: Sequence[str]
    names: Sequence[str]
    labels: Sequence[str]


def represent(context: Context) -> Mapping[str, Items]:
    """The sampled items of each split that can be represented; none where nothing can."""
    shape = context.shape
    if shape.user or shape.series:
        return {}
    if context.layout != "table":
        return _of_files(context)
    tables = {"train": context.sample}
    for split, table in context.held_out():
        if set(shape.types) <= set(map(str, table.columns)):
            tables[split] = context.sampled(table)
    labels = {s: _labels(t, shape.target) for s, t in tables.items()}
    names = {s: [f"row {i + 1:,}" for i in t.index] for s, t in tables.items()}
    if shape.text and len(context.features) < MIN_FEATURES:
        texts = {s: _texts(t[shape.text]) for s, t in tables.items()}
        return _of_texts(texts, names, labels)
    columns = context.features
    if not columns:
        return {}
    matrices = table_features(list(tables.values()), shape.types, columns)
    return {
        split: Items(matrix, columns, names[split], labels[split])
        for split, matrix in zip(tables, matrices, strict=True)
    }


def _of_files(context: Context) -> Mapping[str, Items]:
    facts = {split: f for split, f in context.files.items() if f.names}
    names = {split: f.names for split, f in facts.items()}
    labels = {split: _file_labels(context, split, f) for split, f in facts.items()}
    if all(f.texts for f in facts.values()):
        return _of_texts({split: f.texts for split, f in facts.items()}, names, labels)
    return {
        split: Items(*_measured(f, context.shape.dataset.content), names[split], labels[split])
        for split, f in facts.items()
        if f.numbers
    }


def _measured(facts: FileFacts, content: str) -> tuple[Array, Sequence[str]]:
    """The numbers of files with measures that have a name; the rest have none."""
    numbers = np.stack(facts.numbers)
    shapes = np.array(facts.shapes, dtype=np.float32)
    last = AUDIO_MEASURES if content == "audio" else IMAGE_MEASURES
    if content != "audio":
        brightness = numbers[:, :-3].mean(axis=1, keepdims=True)
        shapes = np.concatenate([brightness, shapes], axis=1)
    matrix = np.concatenate([numbers, shapes], axis=1, dtype=np.float32)
    return matrix, [*[""] * (matrix.shape[1] - len(last)), *last]


def _of_texts(
    texts: Mapping[str, Sequence[str]],
    names: Mapping[str, Sequence[str]],
    labels: Mapping[str, Sequence[str]],
) -> Mapping[str, Items]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    terms = TfidfVectorizer(
        max_features=MAX_TERMS, sublinear_tf=True, min_df=2, token_pattern=r"\w+|[^\w\s]"
    )
    try:
        terms.fit([text for of_split in texts.values() for text in of_split])
    except ValueError:
        return {}  # No word occurs twice.
    columns = list(terms.get_feature_names_out())
    return {
        split: Items(terms.transform(of_split), columns, names[split], labels[split])
        for split, of_split in texts.items()
    }


def _texts(column: pd.Series) -> list[str]:
    return [
        "" if gone else str(v)[:MAX_CHARS] for v, gone in zip(column, column.isna(), strict=True)
    ]


def _labels(table: pd.DataFrame, target: str) -> list[str]:
    if not target or target not in table.columns:
        return [""] * len(table)
    return [
        "" if missing else str(v)
        for v, missing in zip(table[target], table[target].isna(), strict=True)
    ]


def _file_labels(context: Context, split: str, facts: FileFacts) -> list[str]:
    shape = context.shape
    if context.layout == "class_folders":
        return [PurePosixPath(name).parent.name for name in facts.names]
    table = context.table(split)
    if table is None or not shape.target or shape.files not in table.columns:
        return [""] * len(facts.names)
    labels = _labels(table, shape.target)
    files = FileNames(facts.names)
    found = {files.find(v): label for v, label in zip(table[shape.files], labels, strict=True)}
    return [found.get(name, "") for name in facts.names]
