"""Items to predict from files, and predictions into files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import seedbed
from seedbed.cli.output import note
from seedbed.errors import invalid

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
_SHARE = "probability of "

Row = dict[str, object]
Items = tuple[list[str], list[Row]]


def read_items(path: Path, inputs: Sequence[seedbed.ModelInput]) -> Items:
    """A label and a row for each item of a file or a folder of pictures.

    Only the model's inputs are kept. Raises InvalidArgument naming the file, and the line or the
    column where that is at fault.
    """
    suffix = path.suffix.lower()
    pictures = [field.name for field in inputs if field.type == "image"]
    if path.is_dir() or suffix in _PICTURES:
        if len(pictures) != 1 or len(inputs) != 1:
            names = ", ".join(field.name for field in inputs)
            raise invalid("data", f"the model reads {names}, not pictures: give a CSV file")
        return _read_pictures(path, pictures[0])
    if suffix in _TABLES:
        items = _read_csv(path, _TABLES[suffix])
    elif suffix in _JSON_LINES:
        items = _read_json_lines(path)
    else:
        raise invalid(
            "data",
            "can be predicted from .csv, .tsv, .jsonl and pictures "
            f"({' '.join(sorted(_PICTURES))}), got {path.name!r}",
        )
    rows = list(items)
    _note_left_out(rows, inputs)
    fields = {field.name: field.type for field in inputs}
    labels = [str(number) for number in range(1, len(rows) + 1)]
    return labels, [
        _typed(row, fields, path, label) for row, label in zip(rows, labels, strict=True)
    ]


def _read_pictures(path: Path, field: str) -> Items:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in _PICTURES and p.is_file())
        if not files:
            raise invalid("data", f"the folder {path} holds no pictures")
        labels = [file.relative_to(path).as_posix() for file in files]
    else:
        files, labels = [path], [path.name]
    return labels, [{field: file.read_bytes()} for file in files]


def _read_csv(path: Path, delimiter: str) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = next(reader, None)
            if not header:
                raise invalid("data", f"{path.name} is empty; its first line must name the columns")
            if len(set(header)) < len(header):
                twice = sorted({name for name in header if header.count(name) > 1})
                raise invalid("data", f"{path.name} names columns twice: {', '.join(twice)}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise invalid(
                        "data",
                        f"{path.name}, line {reader.line_num}: {len(cells)} cells where the "
                        f"header has {len(header)}",
                    )
                yield {k: cell if cell else None for k, cell in zip(header, cells, strict=True)}
    except UnicodeDecodeError as error:
        raise invalid("data", f"{path.name} is not UTF-8 text: save it as UTF-8") from error
    except csv.Error as error:
        raise invalid("data", f"{path.name}, line {reader.line_num}: {error}") from error


def _read_json_lines(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise invalid("data", f"{path.name}, line {number}: {error}") from error
                if not isinstance(row, dict):
                    raise invalid(
                        "data",
                        f"{path.name}, line {number}: must be a JSON object of column to value, "
                        f"got {line.strip()[:40]!r}",
                    )
                yield row
    except UnicodeDecodeError as error:
        raise invalid("data", f"{path.name} is not UTF-8 text: save it as UTF-8") from error


def _note_left_out(rows: Iterable[Row], inputs: Sequence[seedbed.ModelInput]) -> None:
    wanted = {field.name for field in inputs}
    extra = sorted({name for row in rows for name in row} - wanted)
    if extra:
        kind = "column" if len(extra) == 1 else "columns"
        note(f"left out the {kind} {', '.join(extra)}, which the model does not read")


def _typed(row: Row, fields: Mapping[str, str], path: Path, label: str) -> Row:
    """The model's columns of a row: numbers as numbers, pictures as their bytes, null for empty."""
    typed: Row = {}
    for name, kind in fields.items():
        if name not in row:
            continue
        value = row[name]
        if kind == "numeric" and isinstance(value, str):
            value = _number(value)
        elif kind == "image" and isinstance(value, str):
            value = _picture(path.parent / value, name, label)
        typed[name] = value
    return typed


def _number(text: str) -> int | float | str:
    # What is no number goes as it is, so that the server says what will do.
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _picture(path: Path, name: str, label: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise invalid(name, f"item {label}: {path} cannot be read ({error.strerror})") from error


def write_predictions(
    path: Path,
    labels: Sequence[str],
    predictions: Sequence[seedbed.Prediction],
    *,
    check_only: bool = False,
) -> None:
    """Writes `.csv` or `.jsonl`, one line an item. InvalidArgument for another ending."""
    suffix = path.suffix.lower()
    if suffix != ".csv" and suffix not in _JSON_LINES:
        raise invalid("--output", f"must end in .csv or .jsonl, got {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise invalid("--output", f"there is no folder {path.parent}; make it first")
    if check_only:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        if suffix == ".csv":
            columns = list(_cells(predictions[0])) if predictions else ["prediction"]
            # The probabilities of the first item are in its own order; a table wants a fixed one.
            shares = sorted(name for name in columns if name.startswith(_SHARE))
            plain = [name for name in columns if not name.startswith(_SHARE)]
            writer = csv.DictWriter(file, ["item", *plain, *shares])
            writer.writeheader()
            for label, prediction in zip(labels, predictions, strict=True):
                writer.writerow({"item": label, **_cells(prediction)})
        else:
            for label, prediction in zip(labels, predictions, strict=True):
                file.write(json.dumps({"item": label, **_cells(prediction)}) + "\n")


def _cells(prediction: seedbed.Prediction) -> dict[str, object]:
    if isinstance(prediction, seedbed.Regression):
        return {
            "prediction": prediction.value,
            "lower": prediction.lower,
            "upper": prediction.upper,
            "confidence": prediction.confidence,
        }
    shares = {f"{_SHARE}{k}": p for k, p in prediction.probabilities.items()}
    return {"prediction": prediction.label, **shares}
