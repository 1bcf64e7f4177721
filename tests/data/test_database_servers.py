"""Databases that are servers: PostgreSQL and MariaDB, real ones, started for these tests."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.errors import InvalidArgument, SeedbedError, Unavailable
from seedbed_server.data.references import DataSource, Policy, fetch, resolve
from seedbed_server.data.tables import read_table
from tests.conftest import eventually
from tests.running_databases import (
    PASSWORD,
    ROWS,
    Database,
    free_port,
    mysql_server,
    postgresql_server,
)

SERVERS = {"postgresql": postgresql_server, "mysql": mysql_server}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Database]:
    with postgresql_server() as running:
        yield running


@pytest.fixture(scope="module")
def mysql() -> Iterator[Database]:
    with mysql_server() as running:
        yield running


@pytest.fixture(params=["postgresql", "mysql"])
def database(request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found


@pytest.fixture
def open_policy(policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Policy:
    for host, password in (("PGHOST", "PGPASSWORD"), ("MYSQL_HOST", "MYSQL_PWD")):
        monkeypatch.setenv(host, "127.0.0.1")
        monkeypatch.setenv(password, PASSWORD)
    return replace(
        policy,
        allowed_schemes=("postgresql", "mysql"),
        allow_private_addresses=True,
        remote_cache=tmp_path / "remote",
    )


def answer(uri: str, query: str, policy: Policy) -> pd.DataFrame:
    (source,) = fetch(resolve([DataSource(uri, query=query)], policy))
    assert source.path is not None
    return read_table(source.path, name=source.path.name, field=source.field, policy=policy)


def test_rows_and_types(database: Database, open_policy: Policy) -> None:
    frame = answer(
        database.uri,
        "SELECT i, x, price, s, flag, day, moment FROM t ORDER BY i",
        open_policy,
    )
    assert frame["i"].tolist() == list(range(ROWS))
    assert frame["x"].dtype == np.float64 and frame["x"].iloc[3] == 1.5
    assert frame["price"].dtype == np.float64 and frame["price"].iloc[3] == 0.75
    assert frame["s"].iloc[2] == "é2" and frame["s"].isna().sum() == ROWS / 2
    assert [int(value) for value in frame["flag"].iloc[:4]] == [1, 0, 0, 1]
    assert frame["day"].iloc[31] == pd.Timestamp("2024-02-01")
    moment = pd.Timestamp(frame["moment"].iloc[0])
    assert moment.tz_localize(None) == pd.Timestamp("2024-01-01 10:00")


def test_lists_and_documents(postgresql: Database, open_policy: Policy) -> None:
    frame = answer(postgresql.uri, "SELECT tags, more FROM t LIMIT 3", open_policy)
    assert list(frame["tags"].iloc[0]) == ["a", "b"]
    assert frame["more"].iloc[0] == {"k": 1}


def test_lists_and_documents_that_change_on_the_way(
    postgresql: Database, open_policy: Policy
) -> None:
    """Between the parts that are read at once, too: these are of at most 10,000 rows."""
    last = ROWS - 1
    frame = answer(
        postgresql.uri,
        "SELECT CASE WHEN i < 20000 THEN ARRAY[]::numeric[] ELSE ARRAY[i, 0.5] END AS numbers,"
        " jsonb_build_object('k' || i / 10000, i) AS document,"
        """ CASE WHEN i < 20000 THEN '["é"]'::jsonb ELSE '{"a": 1}' END AS mixed,"""
        " CASE WHEN i < 20000 THEN gen_random_uuid() END AS id FROM t ORDER BY i",
        open_policy,
    )
    assert len(frame["numbers"].iloc[0]) == 0
    assert list(frame["numbers"].iloc[last]) == [last, 0.5]
    assert list(frame["document"].iloc[0]) == ["k0", "k1", "k2"]
    assert frame["document"].iloc[last]["k2"] == last
    assert frame["mixed"].iloc[[0, last]].tolist() == ['["é"]', '{"a": 1}']
    assert len(frame["id"].iloc[0]) == 36 and frame["id"].isna().sum() == ROWS - 20_000


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM t RETURNING i) SELECT * FROM gone",
        "SELECT * INTO copied FROM t",
        "SELECT setval('counted', 7)",
        "SELECT i FROM t FOR UPDATE",
        "SELECT E'\\''; DELETE FROM t; --'",
    ],
)
def test_postgresql_does_nothing_but_read(
    query: str, postgresql: Database, open_policy: Policy
) -> None:
    with postgresql.connect() as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS counted")
    with pytest.raises(InvalidArgument, match=r"the database refuses it|says INTO"):
        answer(postgresql.uri, query, open_policy)
    assert postgresql.ask("SELECT count(*) FROM t") == ROWS


@pytest.mark.parametrize(
    "query",
    [
        "SELECT pg_read_file('/etc/passwd') AS stolen",
        "SELECT pg_catalog.\"pg_read_file\"('/etc/passwd') AS stolen",
        "SELECT U&\"pg\\005Fread\\005Ffile\"('/etc/passwd') AS stolen",
        "SELECT lo_export(1, '/tmp/seedbed-stolen') AS done",
        "SELECT query_to_xml('SELECT pg_' || 'read_' || 'file(''/etc/passwd'')', true, true, '')",
    ],
)
def test_files_of_postgresqls_machine_are_not_touched(
    query: str, postgresql: Database, open_policy: Policy
) -> None:
    """The user of these tests has the right to."""
    with pytest.raises(InvalidArgument, match="which reaches beyond the database's tables"):
        answer(postgresql.uri, query, open_policy)


def test_what_a_function_did_is_undone(postgresql: Database, open_policy: Policy) -> None:
    """In PostgreSQL 15 functions of large objects write in a transaction that only reads."""
    answer(postgresql.uri, "SELECT lo_from_bytea(0, 'x') AS made", open_policy)
    assert postgresql.ask("SELECT count(*) FROM pg_largeobject_metadata") == 0


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t INTO OUTFILE '/tmp/seedbed-stolen'",
        "SELECT * FROM t /*!50000 INTO OUTFILE '/tmp/seedbed-stolen' */",
        "SELECT LOAD_FILE('/etc/passwd') AS stolen",
        "SELECT i FROM t WHERE i = nextval(nowhere)",
        "WITH x AS (SELECT 1) UPDATE t SET i = 0",
    ],
)
def test_mysql_does_nothing_but_read(query: str, mysql: Database, open_policy: Policy) -> None:
    with pytest.raises(InvalidArgument, match=r"the database refuses it|says "):
        answer(mysql.uri, query, open_policy)
    assert mysql.ask("SELECT count(*) FROM shop.t") == ROWS
    assert not Path("/tmp/seedbed-stolen").exists()


def test_what_is_quoted_is_no_second_statement(mysql: Database, open_policy: Policy) -> None:
    query = r"""SELECT 'it\'s; so' AS a, "x\"; y" AS b # and; that"""
    frame = answer(mysql.uri, query, open_policy)
    assert frame.iloc[0].tolist() == ["it's; so", 'x"; y']


def test_what_is_wrong_is_said_without_the_password(
    database: Database, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for query in ("SELECT nothing FROM t", "SELECT * FROM nothing"):
        with pytest.raises(InvalidArgument, match=r"the database refuses it: .*nothing"):
            answer(database.uri, query, open_policy)
    if database.kind == "postgresql":
        with pytest.raises(InvalidArgument) as named:
            answer(database.uri, "SELECT nothing FROM t", open_policy)
        assert "DECLARE" not in named.value.message, "nobody wrote of a cursor"
    with pytest.raises(InvalidArgument, match=r"cannot be opened: .*nowhere"):
        answer(database.uri.replace("shop", "nowhere"), "SELECT 1 AS one", open_policy)
    for variable in ("PGPASSWORD", "MYSQL_PWD"):
        monkeypatch.setenv(variable, "wrong-" + PASSWORD)
    with pytest.raises(InvalidArgument, match=r"cannot be opened: .*'?\"?reader") as caught:
        answer(database.uri, "SELECT 1 AS one", open_policy)
    assert caught.value.violations[0].field == "dataset.sources[0].uri"
    assert "PWD" in caught.value.message or "PGPASSWORD" in caught.value.message
    assert PASSWORD not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)


def test_the_password_goes_to_its_own_host(
    database: Database, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To another host nothing is sent, though the driver could find it in the environment."""
    for variable in ("PGHOST", "MYSQL_HOST"):
        monkeypatch.setenv(variable, "db.example.org")
    with pytest.raises(InvalidArgument, match=r"no password supplied|using password: NO"):
        answer(database.uri, "SELECT 1 AS one", open_policy)


def test_seedbeds_own_password_file_is_not_for_users(
    postgresql: Database, open_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"*:*:*:*:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(InvalidArgument, match="no password supplied"):
        answer(postgresql.uri, "SELECT 1 AS one", open_policy)


def test_rows_are_bounded(database: Database, open_policy: Policy) -> None:
    few = replace(open_policy, max_rows=ROWS - 1)
    with pytest.raises(InvalidArgument, match="answers more than 29,999 rows"):
        answer(database.uri, "SELECT i FROM t", few)


def test_time_is_bounded(database: Database, open_policy: Policy) -> None:
    """Of one row that takes long, and of many that are each in time for the servers' own limits."""
    function = "pg_sleep" if database.kind == "postgresql" else "SLEEP"
    quick = replace(open_policy, fetch_seconds=0.7)
    for query in (f"SELECT i, {function}(30) AS s", f"SELECT i, {function}(0.2) AS s"):
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"was not fetched within 0\.7 s; .*--fetch-timeout"):
            answer(database.uri, f"{query} FROM t", quick)
        assert time.monotonic() - began < 5
    # The server does not go on with what nobody waits for.
    assert eventually(lambda: database.sleeping() is None), "the query still runs"


def test_a_refused_answer_is_not_read_to_its_end(mysql: Database, open_policy: Policy) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidArgument, match="answers more than 1,000 rows"):
        answer(
            mysql.uri, "SELECT seq FROM seq_1_to_1000000000", replace(open_policy, max_rows=1000)
        )
    assert time.monotonic() - began < 10
    gc.collect()  # Neither do objects that are deleted.
    assert time.monotonic() - began < 10


def test_memory_is_bounded_by_bytes(database: Database, open_policy: Policy) -> None:
    """Of 300 MB in rows of a megabyte, held by the thousand, all would be in memory."""
    peak = Path("/proc/self/clear_refs")
    if not peak.exists():
        pytest.skip("the peak of a process's memory is measured with Linux's /proc/self/clear_refs")
    query = "SELECT i, repeat('x', 1000000) AS s FROM t LIMIT 300"
    before = kilobytes("VmRSS")
    peak.write_text("5")
    (source,) = fetch(resolve([DataSource(database.uri, query=query)], open_policy))
    assert source.path is not None
    assert source.path.stat().st_size > 300_000_000
    assert kilobytes("VmHWM") - before < 150_000


def kilobytes(name: str) -> int:
    """What Linux says of this process's memory: `VmRSS` now, `VmHWM` at the most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_a_server_that_is_not_there(open_policy: Policy) -> None:
    for kind in ("postgresql", "mysql"):
        uri = f"{kind}://reader@127.0.0.1:{free_port()}/shop"
        with pytest.raises(SeedbedError) as caught:
            answer(uri, "SELECT 1 AS one", open_policy)
        assert PASSWORD not in str(caught.value)
        assert isinstance(caught.value, Unavailable), caught.value


@pytest.mark.parametrize("end", ["connection", "server"])
@pytest.mark.parametrize("kind", SERVERS)
def test_what_ends_in_mid_read(kind: str, end: str, open_policy: Policy) -> None:
    """After half of the rows, by the administrator or as in a power cut."""
    wait = "pg_sleep(60)::text" if kind == "postgresql" else "SLEEP(60)"
    query = f"SELECT i, CASE WHEN i = {ROWS // 2} THEN {wait} END AS s FROM t"
    caught: list[SeedbedError] = []

    def read() -> None:
        with pytest.raises(SeedbedError) as error:
            answer(database.uri, query, open_policy)
        caught.append(error.value)

    with SERVERS[kind]() as database:
        reading = threading.Thread(target=read)
        reading.start()
        assert eventually(lambda: database.sleeping() is not None)
        number = database.sleeping()
        if end == "server":
            database.kill()
        elif kind == "postgresql":
            database.ask(f"SELECT pg_terminate_backend({number})")
        else:
            database.ask(f"KILL {number}")
        reading.join(20)
    assert isinstance(caught[0], Unavailable), caught[0]
    assert "try again" in str(caught[0])
    assert open_policy.remote_cache is not None
    assert not list(open_policy.remote_cache.iterdir()), "half an answer is not kept"


def test_what_is_no_database_server(open_policy: Policy) -> None:
    """What speaks first at a port, as ssh does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def speak() -> None:
            with suppress(OSError), listening.accept()[0] as line:
                line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                line.recv(100)

        speaking = threading.Thread(target=speak)
        speaking.start()
        with pytest.raises(InvalidArgument, match="may be no mysql server"):
            answer(f"mysql://reader@127.0.0.1:{port}/shop", "SELECT 1 AS one", open_policy)
        speaking.join()
