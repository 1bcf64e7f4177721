"""One server for the tests of the interface that do it no harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.harness import Harness, launch


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the server may read."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Harness]:
    """The server."""
    data_dir = tmp_path_factory.mktemp("api") / "data"
    with launch(data_dir, "--allow-root", str(root), "--workers", "2") as harness:
        yield harness


@pytest.fixture(scope="package")
def dataset(service: Harness, root: Path) -> str:
    """The name of a small table."""
    return service.dataset(root / "table.csv")
