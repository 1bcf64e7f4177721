"""A store in a fresh data directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed_server.store import Files, Store


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "data")
    files.create()
    return files


@pytest.fixture
def store(files: Files) -> Iterator[Store]:
    store = Store(files.database_url)
    store.migrate()
    yield store
    store.close()
