"""Migrations, transactions, and what the database promises."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from seedbed_sdk.errors import ResourceExhausted
from seedbed_server.errors import StartupError
from seedbed_server.store import Files, Store, migrations, tables
from seedbed_server.store.database import Database
from tests.conftest import child_environment
from tests.shared_databases import change
from tests.store.values import a_dataset, with_job

OLD_TEXTS = ("project", "display_name", "task", "dataset", "target", "metric", "model")
OLD_TEXTS += ("dataset_fingerprint",)
OLD_OBJECTS = ("options", "budget", "search_space", "progress")


def test_the_migrations_make_the_tables(store: Store) -> None:
    with sa.create_engine(store.url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_opening_a_current_database_loads_no_alembic(store: Store) -> None:
    code = (
        "import sys; from seedbed_server.store import Store\n"
        f"Store({store.url!r}).migrate()\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=child_environment())


def test_a_database_of_a_newer_version_is_left_alone(store: Store) -> None:
    store.datasets.create(a_dataset())
    change(store.url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartupError, match="revision '9999', which this version"):
        Store(store.url).migrate()


def test_writes_are_whole_or_not_at_all(store: Store) -> None:
    with_job(store)
    with pytest.raises(ZeroDivisionError), store.jobs.writing("job1") as writer:
        writer.log("INFO", "never seen")
        writer.flush()
        raise ZeroDivisionError
    assert store.jobs.get("job1").last_sequence == 1
    assert len(store.events.after("job1", 0, 10)) == 1


def test_the_database_is_as_durable_as_it_says(files: Files) -> None:
    database = Database(files.database_url)
    for durable, synchronous in ((True, 2), (False, 1)):
        with database.writing(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_writers_wait_for_each_other_and_number_events_without_gaps(store: Store) -> None:
    with_job(store)

    def write() -> None:
        for _ in range(20):
            with store.jobs.writing("job1", durable=False) as writer:
                writer.log("INFO", "one")
                writer.log("INFO", "two")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    events = store.events.after("job1", 0, 1000)
    assert [e.sequence for e in events] == list(range(1, 162))
    assert store.jobs.last_sequences(["job1", "none"]) == {"job1": 161}


def test_a_full_disk_is_an_error_that_says_so(files: Files) -> None:
    database = Database(files.database_url)
    with (
        pytest.raises(ResourceExhausted, match="free some space"),
        database.writing() as connection,
    ):
        connection.exec_driver_sql("CREATE TABLE big (data BLOB)")
        # SQLite's own limit makes it fail just as a disk without space does.
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")
        connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(1000000))")
    database.close()


def test_what_the_jobs_of_an_earlier_version_took_is_kept(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sa.create_engine(files.database_url)
    with monkeypatch.context() as patched, engine.begin() as connection:
        patched.setattr(migrations, "HEAD", "0003")
        migrations.upgrade(connection)
    row = {**dict.fromkeys(OLD_TEXTS, ""), **dict.fromkeys(OLD_OBJECTS, "{}"), "findings": "[]"}
    row |= {"consumption": '{"trials": 3, "samples": 9}', "state": "SUCCEEDED", "id": "job1"}
    row |= dict.fromkeys(("seed", "stop_requested", "last_sequence", "attempt", "deaths"), 0)
    row |= {"create_time": 1, "update_time": 1, "start_time": 5_000_000, "end_time": 65_000_000}
    with engine.begin() as connection:
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(sa.text(f"INSERT INTO jobs ({names}) VALUES ({values})"), row)
    engine.dispose()
    store = Store(files.database_url)
    store.migrate()
    used = store.jobs.get("job1").consumption
    assert (used.trials, used.samples, used.seconds) == (3, 9, 60.0)
    assert store.jobs.get("job1").replay is None
    store.close()
