"""A store in a fresh data directory, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed_server.store import Files, Store
from tests.shared_databases import new_database

KINDS = ("sqlite", "postgresql")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "data")
    files.create()
    return files


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, files: Files) -> str:
    """The address of a new database of each kind."""
    if request.param == "sqlite":
        return files.database_url
    return new_database(request.getfixturevalue("cluster"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    store.migrate()
    yield store
    store.close()
