"""PostgreSQL and MariaDB, real ones, started for these tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seedbed_sdk.errors import InvalidArgument, SeedbedError, Unavailable
from seedbed_server.data.references import DataSource, Policy, fetch, resolve
from seedbed_server.data.tables import read_table

READY_SECONDS = 60.0
ROWS = 30_000
PASSWORD = "not-for-messages"


@dataclass(frozen=True)
class Database:
    """A running server with a database `shop`, whose user `reader` may do everything in it."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    connect: Callable[[], Any]

    @property
    def uri(self) -> str:
        return f"{self.kind}://reader@127.0.0.1:{self.port}/shop"


def _program(*places: str) -> str:
    found = next((p for p in places if shutil.which(p)), "")
    if not found:
        pytest.skip(f"no {places[-1]} here; Debian has it in postgresql or mariadb-server")
    return found


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to run a server that will not run as root."""
    if os.getuid():
        return {}
    for path in (folder, *folder.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    shutil.chown(folder, "nobody", "nogroup")
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _until_connected(
    process: subprocess.Popen[bytes], connect: Callable[[], Any], errors: type[Exception]
) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            connect().close()
            return
        except errors:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    psycopg = pytest.importorskip("psycopg", reason="install seedbed[postgres]")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    binaries = [str(versions[0] / "x")[:-1]] if versions else [""]
    initdb = _program(binaries[0] + "initdb", "initdb")
    folder = tmp_path_factory.mktemp("postgresql")
    whom = _unprivileged(folder)
    data = folder / "data"
    making = [initdb, "-D", str(data), "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(making, check=True, capture_output=True, cwd=folder, **whom)
    (data / "pg_hba.conf").write_text(
        "host all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    port = _free_port()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            _program(binaries[0] + "postgres", "postgres"),
            *("-D", str(data), "-p", str(port)),
            *("-c", f"unix_socket_directories={folder}", "-c", "fsync=off"),
        ],
        stdout=log,
        stderr=log,
        cwd=folder,
        **whom,
    )

    def connect(database: str = "shop") -> Any:
        return psycopg.connect(
            host="127.0.0.1", port=port, user="admin", dbname=database, autocommit=True
        )

    try:
        _until_connected(process, lambda: connect("postgres"), psycopg.OperationalError)
        with connect("postgres") as connection:
            connection.execute("CREATE DATABASE shop")
            connection.execute(f"CREATE USER reader SUPERUSER PASSWORD '{PASSWORD}'")
        with connect() as connection:
            connection.execute(
                "CREATE TABLE t (i bigint, x double precision, price numeric(10, 2), s text,"
                " flag boolean, day date, moment timestamptz, tags text[], more jsonb)"
            )
            connection.execute(
                "INSERT INTO t SELECT i, i / 2.0, i * 0.25, CASE WHEN i % 2 = 0 THEN 'é' || i END,"
                " i % 3 = 0, date '2024-01-01' + (i % 100), timestamptz '2024-01-01 12:00+02',"
                " ARRAY['a', 'b'], jsonb_build_object('k', 1)"
                f" FROM generate_series(0, {ROWS - 1}) i"
            )
        yield Database("postgresql", port, process, connect)
    finally:
        _end(process)
        log.close()


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    pymysql = pytest.importorskip("pymysql", reason="install seedbed[mysql]")
    install = _program("mariadb-install-db")
    server = _program("/usr/sbin/mariadbd", "mariadbd")
    folder = tmp_path_factory.mktemp("mysql")
    whom = _unprivileged(folder)
    data, port = folder / "data", _free_port()
    subprocess.run(
        [
            *(install, "--no-defaults", f"--datadir={data}", "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **whom,
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            *(server, "--no-defaults", f"--datadir={data}", f"--port={port}"),
            *("--bind-address=127.0.0.1", f"--socket={folder / 'socket'}"),
            f"--pid-file={folder / 'pid'}",
        ],
        stdout=log,
        stderr=log,
        cwd=folder,
        **whom,
    )

    def connect() -> Any:
        return pymysql.connect(
            unix_socket=str(folder / "socket"), user="root", charset="utf8mb4", autocommit=True
        )

    try:
        _until_connected(process, connect, pymysql.err.OperationalError)
        connection = connect()
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
            cursor.execute(f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute(f"CREATE USER reader@localhost IDENTIFIED BY '{PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO reader@'127.0.0.1'")
            cursor.execute("GRANT ALL ON *.* TO reader@localhost")
            cursor.execute(
                "CREATE TABLE shop.t (i bigint, x double, price decimal(10, 2), s text,"
                " flag boolean, day date, moment datetime)"
            )
            cursor.execute(
                "INSERT INTO shop.t SELECT seq, seq / 2, seq * 0.25,"
                " IF(seq % 2 = 0, CONCAT('é', seq), NULL), seq % 3 = 0,"
                " DATE_ADD('2024-01-01', INTERVAL seq % 100 DAY), '2024-01-01 10:00:00'"
                f" FROM shop.seq_0_to_{ROWS - 1}"
            )
        connection.close()
        yield Database("mysql", port, process, connect)
    finally:
        _end(process)
        log.close()


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


def count(database: Database) -> int:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM shop.t" if database.kind == "mysql" else _COUNT)
    found = int(cursor.fetchone()[0])
    connection.close()
    return found


_COUNT = "SELECT count(*) FROM t"


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


@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM t RETURNING i) SELECT * FROM gone",
        "SELECT * INTO copied FROM t",
        "SELECT pg_read_file('/etc/passwd') FROM (SELECT nextval('nowhere')) n",
        "SELECT setval('counted', 7)",
    ],
)
def test_postgresql_does_nothing_but_read(
    query: str, postgresql: Database, open_policy: Policy
) -> None:
    connection = postgresql.connect()
    connection.execute("CREATE SEQUENCE IF NOT EXISTS counted")
    connection.close()
    with pytest.raises(InvalidArgument, match=r"the database refuses it|says INTO"):
        answer(postgresql.uri, query, open_policy)
    assert count(postgresql) == ROWS


def test_what_a_function_did_is_undone(postgresql: Database, open_policy: Policy) -> None:
    """In PostgreSQL 15 functions of large objects write in a transaction that only reads."""
    answer(postgresql.uri, "SELECT lo_from_bytea(0, 'x') AS made", open_policy)
    connection = postgresql.connect()
    (objects,) = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
    connection.close()
    assert objects == 0


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
    assert count(mysql) == ROWS
    assert not Path("/tmp/seedbed-stolen").exists()


def test_what_is_wrong_is_said_without_the_password(
    database: Database, open_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for query in ("SELECT nothing FROM t", "SELECT * FROM nothing"):
        with pytest.raises(InvalidArgument, match=r"the database refuses it: .*nothing"):
            answer(database.uri, query, open_policy)
    for variable in ("PGPASSWORD", "MYSQL_PWD"):
        monkeypatch.setenv(variable, "wrong-" + PASSWORD)
    with pytest.raises(SeedbedError, match="reader") as caught:
        answer(database.uri, "SELECT 1 AS one", open_policy)
    assert PASSWORD not in str(caught.value)
    assert "sqlalche.me" not in str(caught.value)


def test_rows_and_time_are_bounded(database: Database, open_policy: Policy) -> None:
    few = replace(open_policy, max_rows=ROWS - 1)
    with pytest.raises(InvalidArgument, match="answers more than 29,999 rows"):
        answer(database.uri, "SELECT i FROM t", few)
    slow = "pg_sleep(30)" if database.kind == "postgresql" else "SLEEP(30)"
    quick = replace(open_policy, fetch_seconds=0.5)
    began = time.monotonic()
    with pytest.raises(SeedbedError):
        answer(database.uri, f"SELECT i, {slow} AS s FROM t", quick)
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there(open_policy: Policy) -> None:
    for kind in ("postgresql", "mysql"):
        uri = f"{kind}://reader@127.0.0.1:{_free_port()}/shop"
        with pytest.raises(SeedbedError) as caught:
            answer(uri, "SELECT 1 AS one", open_policy)
        assert PASSWORD not in str(caught.value)
        assert isinstance(caught.value, Unavailable), caught.value


def test_a_server_that_ends_the_connection(postgresql: Database, open_policy: Policy) -> None:
    """As one does that is restarted while it answers."""
    query = "SELECT i, pg_terminate_backend(pg_backend_pid()) AS gone FROM t"
    with pytest.raises(Unavailable, match="try again"):
        answer(postgresql.uri, query, open_policy)
