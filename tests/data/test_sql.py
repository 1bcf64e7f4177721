"""Databases: what a query answers, and what it cannot do."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from seedbed_sdk.errors import FailedPrecondition, InvalidArgument, Unavailable
from seedbed_server.data import database_servers
from seedbed_server.data.references import (
    DataSource,
    Policy,
    fetch,
    fingerprint,
    resolve,
    resolve_unchanged,
)
from seedbed_server.data.tables import read_table

QUERY = "dataset.sources[0].query"


@pytest.fixture
def open_policy(policy: Policy, tmp_path: Path) -> Policy:
    return replace(
        policy,
        allowed_schemes=("file", "sqlite", "postgresql", "mysql"),
        remote_cache=tmp_path / "remote",
    )


@pytest.fixture
def database(root: Path) -> Path:
    """Two tables: `t` of 25,000 rows whose types change on the way, and `empty`."""
    path = root / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (i INTEGER, x, s TEXT, late)")
        rows = [
            (i, i if i < 15_000 else i + 0.5, None if i % 2 else f"s{i}", None if i < 12_000 else i)
            for i in range(25_000)
        ]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        connection.execute("CREATE TABLE empty (a, b)")
    connection.close()
    return path


def answer(path: Path, query: str, policy: Policy) -> pd.DataFrame:
    (source,) = fetch(resolve([DataSource(f"sqlite://{path}", query=query)], policy))
    assert source.path is not None
    return read_table(source.path, name=source.path.name, field=source.field, policy=policy)


def refused(path: Path, query: str, policy: Policy) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        answer(path, query, policy)
    return caught.value


def test_reads_all_rows_with_one_type_for_a_column(database: Path, open_policy: Policy) -> None:
    frame = answer(database, "SELECT * FROM t ORDER BY i;", open_policy)
    assert frame["i"].tolist() == list(range(25_000))
    assert frame["x"].dtype == float
    assert frame["x"].tolist()[14_999:15_001] == [14_999.0, 15_000.5]
    assert frame["s"].isna().sum() == 12_500
    assert frame["late"].tolist()[-1] == 24_999
    assert open_policy.remote_cache is not None
    kept = [p.name for p in open_policy.remote_cache.rglob("*") if p.is_file()]
    assert kept == ["query.arrow"]


def test_text_among_numbers_makes_text(root: Path, open_policy: Policy) -> None:
    path = root / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, 1), ("x", 2.5), (None, None)])
    frame = answer(path, "SELECT * FROM t", open_policy)
    assert frame["a"].astype(object).where(frame["a"].notna(), None).tolist() == ["1", "x", None]
    assert frame["b"].tolist()[:2] == [1.0, 2.5]


def test_colons_percents_and_with(database: Path, open_policy: Policy) -> None:
    query = "WITH w AS (SELECT ':a;%s' AS x, i FROM t) SELECT x, i % 7 AS m FROM w LIMIT 2 -- ; ok"
    frame = answer(database, query, open_policy)
    assert frame["x"].tolist() == [":a;%s", ":a;%s"]
    assert list(frame.columns) == ["x", "m"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("DROP TABLE t", "is no SELECT; only reading is done"),
        ("SELECT 1; DROP TABLE t", "holds more than one statement"),
        ("PRAGMA table_info(t)", "is no SELECT"),
        ("WITH x AS (SELECT 1) DELETE FROM t", "the database refuses it"),
        ("SELECT load_extension('x')", "the database refuses it"),
        ("SELECT nowhere FROM t", "the database refuses it: no such column: nowhere"),
        ("SELECT i AS a, x AS a FROM t", "gives a table that has several columns named 'a'"),
        ("SELECT randomblob(1000000000)", "the database refuses it"),
        ("ATTACH '/etc/passwd' AS p", "is no SELECT"),
    ],
)
def test_does_nothing_but_read(database: Path, open_policy: Policy, query: str, text: str) -> None:
    error = refused(database, query, open_policy)
    assert error.violations[0].field == QUERY
    assert error.reason == "BAD_QUERY"
    assert text in error.message
    assert len(answer(database, "SELECT * FROM t", open_policy)) == 25_000


def test_rows_bytes_and_time_are_bounded(database: Path, open_policy: Policy) -> None:
    few = replace(open_policy, max_rows=24_999)
    assert (
        "answers more than 24,999 rows; add a LIMIT"
        in refused(database, "SELECT * FROM t", few).message
    )
    small = replace(open_policy, max_table_bytes=100_000)
    assert "answers more than 100,000 bytes" in refused(database, "SELECT i FROM t", small).message
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    quick = replace(open_policy, fetch_seconds=0.1)
    with pytest.raises(Unavailable, match=r"was not fetched within 0\.1 s"):
        answer(database, endless, quick)


def test_an_answer_without_rows(database: Path, open_policy: Policy) -> None:
    assert (
        "has 2 columns and no rows" in refused(database, "SELECT * FROM empty", open_policy).message
    )


def test_a_job_notices_a_change(database: Path, open_policy: Policy) -> None:
    sources = [DataSource(f"sqlite:///{database}", query="SELECT i FROM t ORDER BY i")]
    before = fingerprint(resolve(sources, open_policy))
    known = (before.sha256, before.signature)
    resolve_unchanged(sources, open_policy, *known)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE t SET s = 'other'")
    connection.close()
    # Another version of the file, and the same answer.
    resolve_unchanged(sources, open_policy, *known)
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM t WHERE i = 7")
    connection.close()
    with pytest.raises(FailedPrecondition, match="without ORDER BY") as caught:
        resolve_unchanged(sources, open_policy, *known)
    assert caught.value.reason == "DATASET_CHANGED"


@pytest.mark.parametrize(
    ("uri", "query", "field", "text"),
    [
        ("sqlite:///etc/x.db", "SELECT 1", "uri", "outside the folders this server may read"),
        ("sqlite://host/x.db", "SELECT 1", "uri", "names no file"),
        ("sqlite://", "SELECT 1", "uri", "names no file"),
        ("sqlite:///x.db?mode=rw", "SELECT 1", "uri", "has options after ? or #"),
        ("sqlite:///x.db", " ", "query", "is empty; say what to read of sqlite:///x.db"),
        ("postgresql://host", "SELECT 1", "uri", "names no host or no database"),
        ("postgresql://host/db?host=/tmp", "SELECT 1", "uri", "has options after ? or #"),
    ],
)
def test_refuses_uris(open_policy: Policy, uri: str, query: str, field: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve([DataSource(uri, query=query)], open_policy)
    assert caught.value.violations[0].field == f"dataset.sources[0].{field}"
    assert text in caught.value.message


def test_what_is_no_database(root: Path, open_policy: Policy) -> None:
    path = root / "x.db"
    path.write_bytes(b"no database at all" * 100)
    assert "file is not a database" in refused(path, "SELECT * FROM t", open_policy).message


def test_a_server_with_a_private_address(open_policy: Policy) -> None:
    with pytest.raises(InvalidArgument) as caught:
        fetch(resolve([DataSource("postgresql://127.0.0.1/db", query="SELECT 1")], open_policy))
    assert caught.value.reason == "PRIVATE_ADDRESS"


def test_a_missing_driver_names_the_extra(
    open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    policy = replace(open_policy, allow_private_addresses=True)
    with pytest.raises(InvalidArgument, match=r"install seedbed\[postgres\]") as caught:
        fetch(resolve([DataSource("postgresql://127.0.0.1/db", query="SELECT 1")], policy))
    assert caught.value.reason == "MISSING_EXTRA"


@pytest.mark.parametrize(("host", "known"), [("db.example.org", True), ("evil.org", False)])
def test_the_password_goes_to_its_own_host(
    open_policy: Policy, monkeypatch: pytest.MonkeyPatch, host: str, known: bool
) -> None:
    monkeypatch.setenv("PGHOST", "db.example.org")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setattr(database_servers, "checked_addresses", _address)
    (source,) = resolve([DataSource(f"postgresql://me@{host}/db", query="SELECT 1")], open_policy)
    arguments = database_servers.connect_arguments(source, 60.0)
    assert arguments["password"] == ("secret" if known else "")
    assert arguments["hostaddr"] == "192.0.2.1"
    assert "default_transaction_read_only=on" in arguments["options"]


def _address(*_: Any) -> Sequence[str]:
    return ["192.0.2.1"]
