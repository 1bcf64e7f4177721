"""Real PostgreSQL and MariaDB servers for tests, each in a folder of its own and on a free port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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

    def ask(self, query: str) -> Any:
        """The one value that the query answers, asked by the administrator."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(query)
            row = cursor.fetchone()
            return None if row is None else row[0]
        finally:
            connection.close()

    def sleeping(self) -> int | None:
        """The number of a connection of `reader` whose query is in a function that sleeps."""
        if self.kind == "postgresql":
            found = self.ask(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'reader'"
                " AND wait_event = 'PgSleep'"
            )
        else:
            found = self.ask(
                "SELECT id FROM information_schema.processlist WHERE user = 'reader'"
                " AND state = 'User sleep'"
            )
        return None if found is None else int(found)

    def kill(self) -> None:
        """Ends the server at once, and with it all connections."""
        self.process.send_signal(signal.SIGQUIT if self.kind == "postgresql" else signal.SIGKILL)
        self.process.wait()


def _program(*places: str) -> str:
    found = next((p for p in places if shutil.which(p)), "")
    if not found:
        pytest.skip(f"no {places[-1]} here; Debian has it in postgresql or mariadb-server")
    return found


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def _folder() -> Iterator[tuple[Path, dict[str, Any]]]:
    """A new folder, and how to run a server in it, which will not run as root. Not pytest's: every
    run of pytest closes those to other users."""
    folder = Path(tempfile.mkdtemp(prefix="seedbed-database-"))
    try:
        if os.getuid():
            yield folder, {}
        else:
            shutil.chown(folder, "nobody", "nogroup")
            yield folder, {"user": "nobody", "group": "nogroup", "extra_groups": []}
    finally:
        shutil.rmtree(folder)


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


@contextmanager
def _process(command: list[str], folder: Path, whom: dict[str, Any]) -> Iterator[Any]:
    """A server whose log is the file `log` in the folder, ended after the block."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **whom)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Cluster:
    """A PostgreSQL server that can be stopped and started again on its port. Its user `admin` needs
    no password, others do."""

    def __init__(self, folder: Path, whom: dict[str, Any]) -> None:
        self._psycopg = pytest.importorskip("psycopg", reason="install seedbed[postgres]")
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        binaries = [str(versions[0] / "x")[:-1]] if versions else [""]
        initdb = _program(binaries[0] + "initdb", "initdb")
        program = _program(binaries[0] + "postgres", "postgres")
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder, self._whom = folder, whom
        data = folder / "data"
        making = [initdb, "-D", str(data), "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(making, check=True, capture_output=True, cwd=folder, **whom)
        (data / "pg_hba.conf").write_text(
            "host all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = ("-c", f"unix_socket_directories={folder}", "-c", "fsync=off")
        self._command = [program, "-D", str(data), "-p", str(self.port), *options]

    def connect(self, database: str = "postgres") -> Any:
        """A connection of `admin` that commits each statement."""
        return self._psycopg.connect(
            host="127.0.0.1", port=self.port, user="admin", dbname=database, autocommit=True
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Returns once it answers."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, **self._whom
            )
        _until_connected(self.process, self.connect, self._psycopg.OperationalError)
        return self.process

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ends it: by SIGINT in order, and by SIGQUIT at once; all connections are cut."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def postgresql_cluster() -> Iterator[Cluster]:
    """A server with nothing in it. Skips where the driver or the server is not installed."""
    with _folder() as (folder, whom):
        cluster = Cluster(folder, whom)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def postgresql_server() -> Iterator[Database]:
    """Skips where the driver or the server is not installed."""
    with postgresql_cluster() as cluster:
        assert cluster.process is not None
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE shop")
            connection.execute(f"CREATE USER reader SUPERUSER PASSWORD '{PASSWORD}'")
        with cluster.connect("shop") as connection:
            connection.execute(
                "CREATE TABLE t (i bigint, x double precision, price numeric(10, 2), s text,"
                " flag boolean, day date, moment timestamptz, tags text[], more jsonb)"
            )
            connection.execute(
                "INSERT INTO t SELECT i, i / 2.0, i * 0.25,"
                " CASE WHEN i % 2 = 0 THEN 'é' || i END, i % 3 = 0,"
                " date '2024-01-01' + (i % 100), timestamptz '2024-01-01 12:00+02',"
                " ARRAY['a', 'b'], jsonb_build_object('k', 1)"
                f" FROM generate_series(0, {ROWS - 1}) i"
            )
        yield Database("postgresql", cluster.port, cluster.process, lambda: cluster.connect("shop"))


@contextmanager
def mysql_server() -> Iterator[Database]:
    """Skips where the driver or the server is not installed."""
    pymysql = pytest.importorskip("pymysql", reason="install seedbed[mysql]")
    install = _program("mariadb-install-db")
    server = _program("/usr/sbin/mariadbd", "mariadbd")
    port = free_port()
    with _folder() as (folder, whom):
        data, line = folder / "data", folder / "socket"

        def connect() -> Any:
            return pymysql.connect(
                unix_socket=str(line), user="root", charset="utf8mb4", autocommit=True
            )

        making = [install, "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        making.append("--auth-root-authentication-method=normal")
        subprocess.run(making, check=True, capture_output=True, cwd=folder, **whom)
        command = [
            *(server, "--no-defaults", f"--datadir={data}", f"--port={port}"),
            *("--bind-address=127.0.0.1", f"--socket={line}", f"--pid-file={folder / 'pid'}"),
        ]
        with _process(command, folder, whom) as process:
            _until_connected(process, connect, pymysql.err.OperationalError)
            connection = connect()
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
                for host in ("127.0.0.1", "localhost"):
                    cursor.execute(f"CREATE USER reader@'{host}' IDENTIFIED BY '{PASSWORD}'")
                    cursor.execute(f"GRANT ALL ON *.* TO reader@'{host}'")
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
