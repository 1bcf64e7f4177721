"""Tables larger than the memory limit: the same frame, whose values lie in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pytest

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data import reading, references
from seedbed_server.data.sources import DataSource, Policy
from seedbed_server.data.tables import read_table

ROWS = 3_000


@pytest.fixture
def small(policy: Policy, tmp_path: Path) -> Policy:
    """A policy under which next to no table is held in memory."""
    return replace(policy, prepared=tmp_path / "prepared", memory_limit_bytes=10_000)


def a_table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "whole": generator.integers(-5, 10**9, ROWS),
            "number": generator.normal(size=ROWS),
            "holes": np.where(generator.random(ROWS) < 0.1, np.nan, generator.normal(size=ROWS)),
            "text": [f"väl {i % 37}, say" for i in range(ROWS)],
            "flag": generator.random(ROWS) < 0.5,
            "day": pd.Timestamp("2024-01-31") + pd.to_timedelta(np.arange(ROWS), unit="h"),
            "empty": pd.Series([None] * ROWS, dtype=object),
        }
    )
    frame["some_text"] = frame["text"].where(frame["whole"] % 3 > 0, None)
    frame["some_flag"] = pd.Series(frame["flag"].tolist(), dtype=object).where(frame["holes"] > 0)
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        options = {"double_precision": 15, "date_format": "iso", "force_ascii": False}
        frame.to_json(path, orient="records", lines=True, **options)
    else:
        table = pa.Table.from_pandas(frame)
        new = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    return path


def read(path: Path, policy: Policy) -> pd.DataFrame:
    return read_table(path, name=path.name, field="here", policy=policy)


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow", "t.feather", "t.jsonl"]
)
def test_the_same_frame_as_in_memory(
    name: str, small: Policy, policy: Policy, tmp_path: Path
) -> None:
    if name.endswith(".gz"):
        path = tmp_path / name
        a_table().to_csv(path, index=False)
    else:
        path = write(a_table(), tmp_path / name)
    large = read(path, small)
    pd.testing.assert_frame_equal(large, read(path, policy))
    assert lies_in_a_file(large["whole"]) and lies_in_a_file(large["number"])
    kept = sorted(small.prepared.iterdir()) if small.prepared else []
    again = read(path, small)
    pd.testing.assert_frame_equal(again, large)
    assert small.prepared is not None and sorted(small.prepared.iterdir()) == kept


def lies_in_a_file(column: pd.Series) -> bool:
    base = column.to_numpy()
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("1", "2.5"),
        ("1", "many"),
        ("", "3"),
        ("", "2024-05-01"),
        ("", "12:30"),
        ("1.5", "2024-05-01"),
        ("2024-05-01", "2024-05-01 10:00:00"),
        ("2024-05-01 10:00:00", "2024-05-01 10:00:00.25"),
        ("2024-05-01", "soon"),
        ("true", "1"),
        ("true", "perhaps"),
        ("12:30", "noon"),
        ("7", '"a ""quoted""\n\'word\'"'),
        ("1", "99999999999999999999"),
    ],
)
def test_a_type_that_shows_late(
    early: str, late: str, small: Policy, policy: Policy, tmp_path: Path
) -> None:
    """A column whose last rows are of another type than its first block."""
    path = tmp_path / "late.csv"
    filler = "x" * 4_000
    rows = [f"{early},{early},{filler}\n"] * 2_500 + [f"{late},{early},{filler}\n"] * 3
    path.write_text("a,b,c\n" + "".join(rows))
    assert path.stat().st_size > 8 * 2**20, "the first block is all there is"
    pd.testing.assert_frame_equal(read(path, small), read(path, policy))


@pytest.mark.parametrize("delimiter", [";", ", "])
def test_dialects(delimiter: str, small: Policy, policy: Policy, tmp_path: Path) -> None:
    path = tmp_path / "dialect.csv"
    comma = "," if delimiter == ";" else "."
    rows = [delimiter.join(("a b", f"{i}{comma}5", "?" if i % 2 else "é")) for i in range(ROWS)]
    text = "\n".join([delimiter.join(("name", "value", "mark")), *rows])
    path.write_bytes(text.encode("cp1252"))
    large = read(path, small)
    pd.testing.assert_frame_equal(large, read(path, policy))
    assert large.attrs["read_as"] == read(path, policy).attrs["read_as"]
    assert large["value"].dtype == np.float64


def test_several_tables_of_one_split(small: Policy, policy: Policy, tmp_path: Path) -> None:
    """Each is small, and only all of them together are too large."""
    folder = policy.roots[0] / "parts"
    folder.mkdir()
    for part in range(4):
        write(a_table().iloc[part * 700 : (part + 1) * 700], folder / f"part-{part}.parquet")
    limit = int(a_table().iloc[:700].memory_usage(deep=True).sum()) * 2
    frames = []
    for under in (replace(small, memory_limit_bytes=limit), policy):
        resolved = references.resolve([DataSource(str(folder))], under)
        frames.append(reading.read(resolved, under).splits["train"].table)
    large, held = frames
    assert large is not None and held is not None
    assert lies_in_a_file(large["number"]) and not lies_in_a_file(held["number"])
    pd.testing.assert_frame_equal(large, held)


def test_a_changed_file_is_read_again(small: Policy, tmp_path: Path) -> None:
    path = write(a_table(), tmp_path / "t.csv")
    before = read(path, small)
    write(a_table().assign(number=1.0), path)
    assert (read(path, small)["number"] == 1.0).all()
    assert not (before["number"] == 1.0).any(), "what was read before stays as it was"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ragged.csv", "a,b\n" + "1,2\n" * 9_000 + "1,2,3\n", "has 3 fields in line 9002"),
        ("twice.csv", "a,a\n" + "1,2\n" * 9_000, "has several columns named 'a'"),
        ("open.csv", "a,b\n" + "1,2\n" * 9_000 + '1,"2\n1,2\n', "begins in line 9002 and is never"),
        ("lines.jsonl", '{"a": 1, "b": 2}\n' * 9_000 + "{", "has no valid JSON in line 9001"),
        ("list.json", "[" + '{"a": 1},' * 9_000 + "{}]", "save it as Parquet, CSV or JSON Lines"),
    ],
)
def test_what_cannot_be_read_leaves_nothing(
    name: str, content: str, message: str, small: Policy, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidArgument, match=message):
        read(path, small)
    assert small.prepared is not None
    left = [entry.name for entry in small.prepared.glob("*") if not entry.name.endswith(".lock")]
    assert left == []


def test_without_a_place_for_files_it_is_refused(small: Policy, tmp_path: Path) -> None:
    path = write(a_table(), tmp_path / "t.parquet")
    with pytest.raises(InvalidArgument, match="tables of at most 10,000 are read"):
        read(path, replace(small, prepared=None))
