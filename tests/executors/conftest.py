"""One fork server for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from seedbed_server.executors.call_pool import CallPool
from seedbed_server.executors.processes import start_fork_server
from tests.executors.functions import CALLS


@pytest.fixture(scope="package", autouse=True)
def fork_server() -> None:
    start_fork_server(["tests.executors.light"])


@pytest.fixture
def pool() -> Iterator[CallPool]:
    pool = CallPool(CALLS)
    yield pool
    pool.close()
