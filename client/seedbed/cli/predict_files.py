"""Items to predict from files, and predictions into files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import seedbed
from seedbed.cli.output import note
from seedbed.cli.prediction_output import SHARE, as_cells
from seedbed.errors import invalid

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
_SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff"})

_FILES = {"image": (_PICTURES, "pictures"), "audio": (_SOUNDS, "sounds")}

Row = dict[str, object]
Items = tuple[list[str], list[Row]]


def read_items(path: Path, inputs: Sequence[seedbed.ModelInput]) -> Items:
    """A label and a row for each item of a file or a folder of pictures or sounds.

    Only the model's inputs are kept. Raises InvalidArgument naming the file, and the line or the
    column where that is at fault.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in _PICTURES | _SOUNDS:
        return _read_files(path, inputs)
    if suffix in _TABLES:
        items = _read_csv(path, _TABLES[suffix])
    elif suffix in _JSON_LINES:
        items = _read_json_lines(path)
    else:
        raise invalid(
            "data",
            "can be predicted from .csv, .tsv, .jsonl, pictures and sounds "
            f"({' '.join(sorted(_PICTURES | _SOUNDS))}), got {path.name!r}",
        )
    rows = list(items)
    _note_left_out(rows, inputs)
    fields = {field.name: field.type for field in inputs}
    labels = [str(number) for number in range(1, len(rows) + 1)]
    return labels, [
        _typed(row, fields, path, label) for row, label in zip(rows, labels, strict=True)
    ]


def _read_files(path: Path, inputs: Sequence[seedbed.ModelInput]) -> Items:
    if len(inputs) != 1 or inputs[0].type not in _FILES:
        names = ", ".join(field.name for field in inputs)
        raise invalid("data", f"the model reads {names}, not files: give a CSV file")
    endings, noun = _FILES[inputs[0].type]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file())
        if not files:
            raise invalid("data", f"the folder {path} holds no {noun}")
        labels = [file.relative_to(path).as_posix() for file in files]
    else:
        files, labels = [path], [path.name]
    return labels, [{inputs[0].name: file.read_bytes()} for file in files]


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
    """The model's columns of a row: numbers as numbers, files as their bytes, null for empty."""
    typed: Row = {}
    for name, kind in fields.items():
        if name not in row:
            continue
        value = row[name]
        if kind == "numeric" and isinstance(value, str):
            value = _number(value)
        elif kind in _FILES and isinstance(value, str):
            value = _file(path.parent / value, name, label)
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


def _file(path: Path, name: str, label: str) -> bytes:
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
    """Writes `.csv` or `.jsonl`, one line an item; where the path has no ending, a folder that also
    has the masks and overlays of segmentations. InvalidArgument for another ending."""
    suffix = path.suffix.lower()
    if suffix and suffix != ".csv" and suffix not in _JSON_LINES:
        raise invalid("--output", f"must end in .csv or .jsonl, or be a folder, got {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise invalid("--output", f"there is no folder {path.parent}; make it first")
    if check_only:
        return
    if not suffix:
        _write_folder(path, labels, predictions)
    elif suffix == ".csv":
        _write_csv(path, labels, predictions)
    else:
        with path.open("w", encoding="utf-8") as file:
            for label, prediction in zip(labels, predictions, strict=True):
                file.write(json.dumps({"item": label, **as_cells(prediction)}) + "\n")


def _write_csv(
    path: Path, labels: Sequence[str], predictions: Sequence[seedbed.Prediction]
) -> None:
    rows = [as_cells(prediction) for prediction in predictions]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["prediction"]
    # The probabilities of an item are in its own order; a table wants a fixed one.
    shares = sorted(name for name in columns if name.startswith(SHARE))
    plain = [name for name in columns if not name.startswith(SHARE)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["item", *plain, *shares])
        writer.writeheader()
        for label, row in zip(labels, rows, strict=True):
            writer.writerow({"item": label, **row})


def _write_folder(
    folder: Path, labels: Sequence[str], predictions: Sequence[seedbed.Prediction]
) -> None:
    folder.mkdir(exist_ok=True)
    _write_csv(folder / "predictions.csv", labels, predictions)
    for label, prediction in zip(labels, predictions, strict=True):
        if isinstance(prediction, seedbed.Segmentation):
            # A label may be a path in the folder that was predicted.
            stem = PurePosixPath(label).with_suffix("").as_posix().replace("/", "_")
            (folder / f"{stem}_mask.png").write_bytes(prediction.mask_png)
            (folder / f"{stem}_overlay.png").write_bytes(prediction.overlay_png)
