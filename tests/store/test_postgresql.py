"""PostgreSQL as seedbed's own database: what it is asked at the start, what it keeps, outages."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from seedbed_sdk.errors import InvalidArgument, Unavailable
from seedbed_server.errors import StartupError
from seedbed_server.jobs.session import JobSession
from seedbed_server.jobs.values import EpochFinished, Log, Trial
from seedbed_server.store import Files, PageRequest, Store, holds_password, server_url
from seedbed_server.store.database import Database
from seedbed_server.store.outages import TryAgain
from tests.conftest import eventually
from tests.running_databases import PASSWORD, Cluster, free_port, postgresql_cluster
from tests.shared_databases import USER, address, change, name_of, new_database
from tests.store.values import a_job, with_job


@pytest.fixture
def url(cluster: Cluster) -> str:
    return new_database(cluster)


def refusal(url: str, files: Files) -> str:
    """What the server says when it does not start with this database."""
    store = Store(url)
    with pytest.raises(StartupError) as caught:
        store.open(files)
    store.close()
    assert PASSWORD not in caught.value.message
    assert "sqlalche.me" not in caught.value.message
    return caught.value.message


# The address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "is no address of a database; write postgresql+psycopg://"),
        ("postgresql://u:p@h:port/d", "is no address of a database"),
        ("mysql://u@h/d", "names a database of the kind 'mysql'; it takes postgresql+psycopg://"),
        ("sqlite:///x.db", "where it is not given, SQLite in the data directory is used"),
    ],
)
def test_an_address_that_will_not_do(text: str, says: str) -> None:
    with pytest.raises(StartupError) as caught:
        server_url(text)
    assert says in caught.value.message
    assert "--database (SEEDBED_DATABASE)" in caught.value.message


def test_an_address_is_completed_and_passwords_in_it_are_found() -> None:
    assert server_url("postgresql://u:p@h/d") == "postgresql+psycopg://u:p@h/d"
    assert server_url("postgresql+psycopg://") == "postgresql+psycopg://"
    assert holds_password("postgresql://u:p@h/d")
    assert holds_password("postgresql://u@h/d?password=p")
    assert not holds_password("postgresql://u@h/d")
    assert not holds_password("")


# The start


def test_what_cannot_be_reached(files: Files) -> None:
    said = refusal(f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/d", files)
    assert "the database 'd' at 127.0.0.1:" in said
    assert "cannot be reached: " in said and "refused" in said
    assert "host and port in --database (SEEDBED_DATABASE) are right" in said


def test_a_wrong_password(url: str, cluster: Cluster, files: Files) -> None:
    wrong = address(cluster, name_of(url), "wrong-" + PASSWORD)
    said = refusal(wrong, files)
    assert "turns seedbed away: connection failed: connection to server at " in said
    assert "password authentication failed" in said
    assert "the password comes from SEEDBED_DATABASE, PGPASSWORD or ~/.pgpass" in said


def test_the_password_may_come_from_the_environment_or_a_file(
    url: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = url.replace(f":{PASSWORD}@", "@")
    with pytest.raises(StartupError, match="no password supplied"):
        Store(bare).migrate()
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{cluster.port}:*:{USER}:{PASSWORD}\n")
    file.chmod(0o600)
    for variable, value in (("PGPASSFILE", str(file)), ("PGPASSWORD", PASSWORD)):
        with monkeypatch.context() as patched:
            patched.setenv(variable, value)
            store = Store(bare)
            store.migrate()
            store.close()
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(cluster.port))
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGDATABASE", name_of(url))
    store = Store(server_url("postgresql://"))
    assert store.jobs.ids() == set()
    store.close()


def test_a_database_that_is_not_there(cluster: Cluster, files: Files) -> None:
    said = refusal(address(cluster, "nowhere"), files)
    assert "the database 'nowhere' at 127.0.0.1:" in said
    assert "create it, or name another one in --database (SEEDBED_DATABASE)" in said


def test_a_database_of_something_else_is_left_alone(url: str, files: Files) -> None:
    change(url, "CREATE TABLE customers (id int)")
    said = refusal(url, files)
    assert "is none of seedbed's: it has tables such as 'customers'" in said
    change(url, "CREATE TABLE alembic_version (version_num text)")
    change(url, "INSERT INTO alembic_version VALUES ('1f3a')")
    assert "is none of seedbed's" in refusal(url, files)
    assert not files.database_id.exists()


def test_a_database_without_the_right_to_make_tables(cluster: Cluster, files: Files) -> None:
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE closed")
    said = refusal(address(cluster, "closed"), files)
    assert "permission denied for schema public" in said
    assert "GRANT CREATE ON SCHEMA public" in said


def test_a_database_that_does_not_hold_all_text(cluster: Cluster, files: Files) -> None:
    with cluster.connect() as connection:
        connection.execute(
            f"CREATE DATABASE latin OWNER {USER} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    assert "keeps text as LATIN1" in refusal(address(cluster, "latin"), files)


def test_servers_that_start_at_once_migrate_once(url: str, files: Files) -> None:
    problems: list[Exception] = []

    def start() -> None:
        store = Store(url)
        try:
            store.open(files)
        except Exception as error:  # noqa: BLE001 - whatever it is, there must be none
            problems.append(error)
        store.close()

    servers = [threading.Thread(target=start) for _ in range(4)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert problems == []
    store = Store(url)
    store.open(files)
    with_job(store)
    store.close()


# The data directory


def test_a_data_directory_belongs_to_one_database(
    url: str, cluster: Cluster, files: Files, tmp_path: Path
) -> None:
    store = Store(url)
    store.open(files)
    store.open(files)
    store.close()
    other = Files(tmp_path / "other")
    other.create()
    said = refusal(url, other)
    assert f"the data directory {other.root} is not that of the database" in said
    assert "it has no database.id" in said
    assert f"write {files.read_database_id()} into {other.database_id}" in said
    other.database_id.write_text("another\n")
    assert "it belongs to another one (another)" in refusal(url, other)
    assert "belongs to a database that is not given" in refusal(files.database_url, files)
    (files.models / "m").mkdir()
    said = refusal(new_database(cluster), files)
    assert "has files of another database, and the database 'seedbed_" in said
    assert "pass an empty folder with --data-dir" in said


def test_a_directory_with_a_database_of_its_own_is_not_taken(url: str, files: Files) -> None:
    store = Store(files.database_url)
    store.open(files)
    store.close()
    assert "has files of another database" in refusal(url, files)


# What it keeps


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url, patience=30.0)
    store.migrate()
    yield store
    store.close()


def test_what_is_no_number_and_no_text_elsewhere_is_kept(store: Store) -> None:
    with_job(store, options={"x": [math.inf, {"y": -math.inf}], "text": "a\0b\ud800c"})
    options = store.jobs.get("job1").options
    assert options == {"x": [math.inf, {"y": -math.inf}], "text": "a\0b\ud800c"}
    with store.jobs.writing("job1") as writer:
        writer.put_trial(Trial(0, "line", {}, validation_score=math.nan, reason="a\0b\ud800c"))
        writer.append(EpochFinished(0, 1, 2, math.nan, 3, math.nan))
    (trial,) = store.trials.list("job1")
    assert (trial.validation_score, trial.reason) == (None, "a\ufffdb\ufffdc")
    (event,) = store.events.after("job1", 1, 9)
    assert isinstance(event.body, EpochFinished) and math.isnan(event.body.validation_score)


def test_a_page_token_cannot_break_the_query(store: Store) -> None:
    with_job(store)
    from seedbed_server.store.pages import make_token

    query: tuple[Any, ...] = ("datasets", "default")
    token = make_token(query, (0, "a\0b"))
    assert store.datasets.list("default", PageRequest(1, token)).items == ()
    with pytest.raises(InvalidArgument):
        store.datasets.list("default", PageRequest(1, "x"))


# Outages


def cut_all(cluster: Cluster, url: str) -> None:
    """Ends every connection to the database."""
    with cluster.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name_of(url),),
        )


def test_a_transaction_that_was_cut_did_not_take_place(
    store: Store, cluster: Cluster, url: str
) -> None:
    with_job(store)
    with (
        pytest.raises(TryAgain, match="cannot be reached at the moment; try again") as caught,
        store.jobs.writing("job1") as writer,
    ):
        writer.log("INFO", "never seen")
        cut_all(cluster, url)
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "DATABASE_UNREACHABLE")
    assert store.jobs.get("job1").last_sequence == 1


def test_every_write_takes_place_once_however_often_connections_are_cut(
    store: Store, cluster: Cluster, url: str
) -> None:
    with_job(store)
    job = store.jobs.lease()
    assert job is not None
    session = JobSession(store, "job1", job.attempt)
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.02):
            cut_all(cluster, url)

    cutting = threading.Thread(target=cut)
    cutting.start()
    for number in range(60):
        session.log("INFO", str(number))
    done.set()
    cutting.join()
    events = store.events.after("job1", 0, 1000)
    assert [e.body.message for e in events if isinstance(e.body, Log)] == [
        str(number) for number in range(60)
    ]
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))


def test_a_commit_is_asked_about_when_its_answer_is_lost(
    store: Store, cluster: Cluster, url: str
) -> None:
    """Once it took place, and once it did not; the store says which."""
    with_job(store)
    for committed in (True, False):
        database = Database(url, patience=10.0)
        engine = database._durable

        @sa.event.listens_for(engine, "commit")
        def lose(connection: sa.Connection, committed: bool = committed) -> None:
            if committed:
                connection.connection.driver_connection.commit()  # type: ignore[union-attr]
            cut_all(cluster, url)

        def write(database: Database = database, committed: bool = committed) -> None:
            with database.writing() as connection:
                connection.exec_driver_sql(f"UPDATE jobs SET target = '{committed}'")

        if committed:
            write()
        else:
            with pytest.raises(TryAgain, match="during a commit, which did not take place"):
                write()
        database.close()
        assert store.jobs.get("job1").target == "True"


def test_waiting_for_a_server_that_is_gone(files: Files) -> None:
    with postgresql_cluster() as own:
        with own.connect() as connection:
            connection.execute(f"CREATE USER {USER} PASSWORD '{PASSWORD}'")
        url = new_database(own)
        patient, hasty = Store(url, patience=120.0), Store(url, patience=0.2)
        patient.migrate()
        hasty.jobs.ids()
        own.stop()
        with pytest.raises(Unavailable, match="cannot be reached at the moment; try again"):
            hasty.jobs.ids()
        waiting = threading.Thread(target=with_job, args=(patient,))
        waiting.start()
        own.start()
        waiting.join(120)
        assert hasty.jobs.ids() == {"job1"}
        patient.close()
        hasty.close()


def test_who_listens_hears_what_others_write_and_is_told_after_an_outage(
    store: Store, cluster: Cluster, url: str
) -> None:
    heard: list[tuple[str, str]] = []
    listener = store.listener(lambda channel, text: heard.append((channel, text)))
    assert listener is not None
    listener.start()
    assert eventually(lambda: listener.connected)
    assert heard == [("", "")]
    other = Store(url)
    with_job(other)
    assert eventually(lambda: ("seedbed_queue", "") in heard)
    with other.jobs.writing("job1") as writer:
        writer.log("INFO", "text")
    assert eventually(lambda: ("seedbed_events", "job1") in heard)
    other.close()
    cut_all(cluster, url)
    assert eventually(lambda: heard.count(("", "")) == 2, 20)
    listener.close()


def test_a_request_that_comes_twice_at_once_is_answered_once(store: Store) -> None:
    from seedbed_server.store import RequestKey

    with_job(store)
    key = RequestKey("default", "1", "CreateJob", "digest")
    made: list[str] = []

    def create(number: int) -> None:
        job = replace(a_job(f"new{number}"), dataset="data")
        made.append(store.jobs.create(job, key).id)

    callers = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(set(made)) == 1 and len(made) == 6
