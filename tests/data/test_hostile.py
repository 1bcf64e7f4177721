"""Readers against whatever comes: they read or refuse it by name, and never fail otherwise."""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_sdk.errors import InvalidArgument
from seedbed_server.data.archives import open_archive
from seedbed_server.data.references import DataSource, Policy, resolve
from seedbed_server.data.tables import read_table

FIELD = "dataset.sources[0].uri"
POLICY = Policy((), Path("/nowhere"))
SMALL = replace(POLICY, max_table_bytes=100_000, max_files=50, max_unpacked_bytes=100_000)
ENDINGS = ("csv", "tsv", "jsonl", "json", "csv.gz", "csv.zst", "jsonl.gz", "parquet", "arrow")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
file_names = st.text(st.sampled_from("ab./\\: \né~C"), min_size=1, max_size=12)
contents = st.dictionaries(file_names, st.binary(max_size=50), min_size=1, max_size=5)


def read_or_refuse(data: bytes, name: str, policy: Policy = SMALL) -> int:
    """The number of rows; 0 where it is refused by its name."""
    try:
        return len(read_table(data, name=name, field=FIELD, policy=policy))
    except InvalidArgument as error:
        assert error.violations[0].field == FIELD
        assert error.violations[0].description.startswith(f"{name} ")
        return 0


@pytest.mark.parametrize("ending", ENDINGS)
@given(data=st.binary(max_size=400))
def test_any_bytes(ending: str, data: bytes) -> None:
    read_or_refuse(data, f"x.{ending}")


@given(
    st.lists(st.sampled_from([b",", b'"', b"\n", b"\r", b";", b"1", b"x", b"\xe9", b"\xc3\xa9"]))
)
def test_any_order_of_what_means_something(parts: list[bytes]) -> None:
    read_or_refuse(b"".join(parts), "x.csv")
    read_or_refuse(gzip.compress(b"".join(parts)), "x.csv.gz")


@given(st.lists(texts, min_size=1, max_size=6), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_any_text_in_any_script(values: list[str], encoding: str) -> None:
    rows = "".join(f'"t{value.replace(chr(34), chr(34) * 2)}",1\n' for value in values)
    data = f"a,b\n{rows}".encode(encoding)
    if "\0" in rows and encoding == "utf-8":
        assert read_or_refuse(data, "x.csv") == 0
        return
    frame = read_table(data, name="x.csv", field=FIELD, policy=POLICY)
    assert len(frame) == len(values)
    assert frame["b"].tolist() == [1] * len(values)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(texts, values, max_size=4), min_size=1, max_size=5))
def test_any_json(rows: list[dict[str, object]]) -> None:
    lines = "\n".join(map(json.dumps, rows)).encode()
    count = read_or_refuse(lines, "x.jsonl")
    assert read_or_refuse(json.dumps(rows).encode(), "x.json") == count
    names = {name for row in rows for name in row}
    stripped = [name.strip() for name in names if name.strip()]
    clear = names and len(set(stripped)) == len(stripped)
    assert count == (len(rows) if clear else 0)


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_any_number(numbers: list[float]) -> None:
    data = "a,b\n" + "".join(f"{number!r},x\n" for number in numbers)
    frame = read_table(data.encode(), name="x.csv", field=FIELD, policy=POLICY)
    for found, number in zip(frame["a"].astype(float), numbers, strict=True):
        assert found == number or (math.isnan(found) and math.isnan(number))


@pytest.mark.parametrize("make", ["zip", "tar", "tar.gz"])
@given(files=contents)
def test_archives_with_any_names(make: str, files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{make}"
        path.write_bytes(_archive(make, files))
        try:
            members = open_archive(path, SMALL, FIELD)
        except InvalidArgument as error:
            assert path.name in error.message
            return
        for member in members:
            assert not member.name.startswith("/")
            assert ".." not in member.name.split("/")
            assert member.read(100) in files.values()


@pytest.mark.parametrize("make", ["zip", "tar", "tar.gz"])
@given(files=contents, at=st.floats(0, 1), junk=st.binary(max_size=8))
def test_archives_that_are_damaged(
    make: str, files: dict[str, bytes], at: float, junk: bytes
) -> None:
    data = bytearray(_archive(make, files))
    place = int(at * len(data))
    data[place : place + len(junk)] = junk
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{make}"
        path.write_bytes(data)
        try:
            members = open_archive(path, SMALL, FIELD)
        except InvalidArgument as error:
            assert path.name in error.message
            return
        for member in members:
            try:
                assert len(member.read(100)) <= 100
            except OSError as error:
                assert str(error)


def _archive(make: str, files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    if make == "zip":
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return made.getvalue()
    mode: Callable[..., tarfile.TarFile] = tarfile.open
    with mode(fileobj=made, mode="w:gz" if make == "tar.gz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


@given(
    st.sampled_from(["", "file", "http", "https", "s3", "gs", "sqlite", "sample", "dataset"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    texts,
)
def test_any_uri(scheme: str, rest: str, query: str) -> None:
    policy = replace(
        POLICY,
        allowed_schemes=("file", "sample", "http", "https", "s3", "gs", "sqlite"),
        remote_cache=Path("/nowhere"),
    )
    source = DataSource(f"{scheme}://{rest}" if scheme else rest, query=query)
    try:
        (resolved,) = resolve([source], policy)
    except InvalidArgument as error:
        assert error.violations[0].field.startswith("dataset.sources[0].")
    else:
        assert resolved.is_remote or resolved.sample
